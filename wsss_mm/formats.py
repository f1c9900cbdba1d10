"""Files that say the number of their format: an older one is read, a newer one refused, a damaged one named."""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import __version__
from wsss_mm.errors import InputError
from wsss_mm.files import read_json, write_json
from wsss_mm.places import Artefact

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

KEY = "format"
"""Of a JSON object."""
PARQUET_KEY = "wsss_mm.format"
"""Of the metadata of a parquet file."""

_LINE = "# wsss_mm format "
_NUMBER = re.compile(r"0|[1-9][0-9]{0,3}")
_MOST = 9999
_MAX_ROWS = 20_000_000
_SHOWN = 40  # characters of a number that is none


class NewerError(InputError):
    """A file is of a format that a later version of wsss_mm brought."""


class OlderError(InputError):
    """A file is of a format that is no longer read."""


class DamagedError(InputError):
    """A file is not what its name says."""


def check_format(number: object, of: Artefact, path: Path | str, again: str | None = None) -> int:
    """Whether a file of this format is read.

    Args:
        number: What the file says; 0 if it says nothing.
        of: What it ought to be.
        path: The file.
        again: What to do if it is damaged or too old, if not what the artefact says.

    Returns:
        The number.

    Raises:
        NewerError: a later version of wsss_mm wrote it.
        OlderError: it is no longer read.
        DamagedError: that is no number of a format.
    """
    again = again or of.again
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _MOST:
        shown = repr(number)[:_SHOWN]
        raise DamagedError(f"{path}: damaged: {shown} is no number of a format; {again}")
    if number > of.format:
        raise NewerError(
            f"{path}: newer than wsss_mm {__version__}: {of.what} of format {number}, and formats up to {of.format} "
            f"are read; {of.newer}"
        )
    if number < of.oldest:
        raise OlderError(
            f"{path}: older than what wsss_mm {__version__} reads: {of.what} of format {number}, and formats from "
            f"{of.oldest} are read; {again}"
        )
    return number


def numbered(content: Mapping[str, Any], of: Artefact) -> dict[str, Any]:
    """A JSON object that says its format."""
    return {**content, KEY: of.format}


def without_number(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a JSON object says besides its format."""
    return {key: value for key, value in content.items() if key != KEY}


def write_object(path: Path | str, of: Artefact, content: Mapping[str, Any], exact: Collection[str] = ()) -> None:
    """Write a JSON object with the number of its format, see `write_json`."""
    write_json(path, numbered(content, of), exact)


def read_object(path: Path | str, of: Artefact, *, remedy: str | None = None) -> dict[str, Any]:
    """Read a JSON object, with the number of its format if it says one.

    Args:
        path: The file.
        of: What it ought to be.
        remedy: The command that makes it, if not what the artefact says.

    Raises:
        InputError: there is none, or see `check_format`: text that is no JSON, and JSON that is no object, is damaged.
    """
    path, again = Path(path), f"make it again: {remedy}" if remedy else of.again
    if os.path.lexists(path) and not path.is_file() and not path.is_dir():  # a pipe would be waited for
        raise DamagedError(f"{path}: damaged: not a file; {again}")
    try:
        content = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: not found; {f'make it with: {remedy}' if remedy else of.absent}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); look at the file and its rights") from None
    except ValueError as error:
        raise DamagedError(f"{path}: damaged: not valid JSON ({_one_line(error)}); {again}") from None
    if not isinstance(content, dict):
        raise DamagedError(f"{path}: damaged: not a JSON object; {again}")
    check_format(content.get(KEY, 0), of, path, again)
    return content


def write_rows(path: Path | str, of: Artefact, table: "pa.Table") -> None:
    """Write a parquet table with the number of its format; equal rows give equal bytes.

    No other metadata: pandas' and Arrow's name versions of libraries, and the bytes shall depend on the rows alone.
    """
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, table.schema, compression="zstd", store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({PARQUET_KEY: str(of.format)})


def read_rows(
    path: Path | str, of: Artefact, *, remedy: str | None = None, columns: Sequence[str] | None = None
) -> "pd.DataFrame":
    """Read a parquet table; a few bytes of one can claim any number of rows, so they are counted first.

    Args:
        path: The file.
        of: What it ought to be.
        remedy: The command that makes it, if not what the artefact says.
        columns: Those that are needed; all if None.

    Raises:
        InputError: there is no such file, or see `check_format`: what is no parquet file, lacks a column or has too
            many rows is damaged.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    again = f"make it again: {remedy}" if remedy else of.again
    if not Path(path).is_file():
        raise InputError(f"{path}: not found; {f'make it with: {remedy}' if remedy else of.absent}")
    try:
        with pq.ParquetFile(path) as file:
            said = (file.metadata.metadata or {}).get(PARQUET_KEY.encode(), b"0").decode(errors="replace")
            check_format(_number(said), of, path, again)
            rows = file.metadata.num_rows
            if rows <= _MAX_ROWS:
                wanted = None if columns is None else list(columns)
                file.read(wanted).validate(full=True)  # pandas would find broken UTF-8 only where it is looked at
                return pd.read_parquet(path, columns=wanted)
    except (OSError, ValueError, KeyError, MemoryError, pa.ArrowException) as error:
        raise DamagedError(f"{path}: damaged: not a parquet file ({_one_line(error)}); {again}") from None
    raise DamagedError(f"{path}: damaged: claims {rows} rows, more than {_MAX_ROWS}; {again}")


def number_line(of: Artefact) -> str:
    """The line of a text file that says its format; to most tools it is a comment."""
    return f"{_LINE}{of.format}\n"


def read_lines(path: Path, of: Artefact) -> list[str]:
    """Lines of a text file but for the one that says its format; bytes that are no UTF-8 are replaced.

    Raises:
        FileNotFoundError: there is none.
        InputError: see `check_format`.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    said = [line.removeprefix(_LINE) for line in lines if line.startswith(_LINE)]
    for number in said:  # a file that is added to may say it twice
        check_format(_number(number), of, path)
    return [line for line in lines if not line.startswith(_LINE)]


def _number(text: str) -> int | str:
    return int(text) if _NUMBER.fullmatch(text) else text


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
