"""Reading a gate's artefacts: whatever is wrong with a file becomes one line that names it."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import digest, rounded
from wsss_mm.formats import DamagedError, read_object, without_number
from wsss_mm.gates.checks import GateResult
from wsss_mm.places import FIGURES, GATE_REPORT
from wsss_mm.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

_DIGESTS = ("weights_md5", "test_split")  # what metrics are of, see `inputs` of the gates
_CLOSE = 1e-5  # figures are written to six decimals


def read_report(path: Path) -> GateResult:
    """Read what a gate left.

    Raises:
        InputError: there is no report, or it is not one of this version.
    """
    try:
        return TypeAdapter(GateResult).validate_python(read_object(path, GATE_REPORT))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))[:80]
        why = f"not a gate's report ({where}: {first['msg']})"
        raise DamagedError(f"{path}: damaged: {why}; {GATE_REPORT.again}") from None


def read_metrics(path: Path, remedy: str) -> dict[str, Any]:
    """Read a metrics file; nested objects become dotted keys, as `dvc metrics show` names them.

    Raises:
        InputError: see `read_object`.
    """
    return flat(without_number(read_object(path, FIGURES, remedy=remedy)))


def flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as one, with dotted keys."""
    items: dict[str, Any] = {}
    for key, value in content.items():
        items |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return items


def metric(metrics: dict[str, Any], key: str, path: Path, remedy: str) -> float:
    """A metric of the file, NaN where it is undefined.

    Raises:
        InputError: the file has no such key, or no number under it.
    """
    if key not in metrics:
        raise InputError(f"{path}: metric {key} is missing; make it again: {remedy}")
    value = metrics[key]
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise InputError(f"{path}: metric {key} is {value!r}, not a number; make it again: {remedy}")
    return math.nan if value is None else float(value)


def read_numbers(path: Path, names: Iterable[str], remedy: str) -> "pd.DataFrame":
    """Read a CSV of patches: `patch_id`, and columns of numbers; NaN where there is none.

    Raises:
        InputError: it is missing, no CSV, or lacks a column.
    """
    import pandas as pd

    cells = read_table(path, absent=f"not found; make it with: {remedy}", remedy=f"make it again: {remedy}")
    names = list(names)
    if missing := [name for name in ("patch_id", *names) if name not in cells]:
        raise InputError(f"{path}: column {', '.join(missing[:3])} is missing; make it again: {remedy}")
    return cells[["patch_id"]].assign(**cells[names].apply(pd.to_numeric, errors="coerce"))


def weights_md5(folder: Path, remedy: str) -> str:
    """What tells a model's weights apart.

    Raises:
        InputError: there are none.
    """
    path = folder / places.WEIGHTS
    if not path.is_file():
        raise InputError(f"{path}: not found; make it with: {remedy}")
    return digest(path, "md5")


def figures(path: Path, stated: Mapping[str, Any], recomputed: Mapping[str, Any]) -> "pd.DataFrame":
    """What a file states beside what it ought to: a row a figure, of `recomputed`, whose keys may be nested.

    Nothing but figures that can be computed again, and digests, may be stated.
    """
    import pandas as pd

    known = flat(rounded(dict(recomputed)))
    more = [key for key in stated if key not in known and key.split(".")[0] not in _DIGESTS]
    rows = [
        {
            "figure": f"{path.name}: {key}",
            "stated": _figure(stated.get(key, "missing"), value),
            "recomputed": str(value),
        }
        for key, value in (known | dict.fromkeys(more, "nothing")).items()
    ]
    return pd.DataFrame(rows, columns=["figure", "stated", "recomputed"], dtype=object)


def table_cells(frame: "pd.DataFrame", index: list[str]) -> dict[str, Any]:
    """The cells of a small table by the names of their row and column, and how many rows it has."""
    rows = frame.set_index(index).to_dict("index")
    named = {".".join(key) if isinstance(key, tuple) else str(key): row for key, row in rows.items()}
    return {"rows": len(frame), **flat(named)}


def _figure(stated: Any, recomputed: Any) -> str:
    """A figure as text: that of the recomputed one where they are close."""
    try:
        return str(recomputed if abs(float(stated) - float(recomputed)) <= _CLOSE else stated)
    except (TypeError, ValueError):
        return str(stated)


def gated_digest(root: Path, name: str, gate: str = "patches") -> str:
    """What a gate said it judged: the digest called `name` in its report.

    Raises:
        InputError: there is no report, or it names no such digest.
    """
    path, remedy = root / places.GATES / f"{gate}.json", f"dvc repro -f gate@{gate}"
    digests = read_object(path, GATE_REPORT, remedy=remedy).get("digests")
    if not isinstance(digests, dict) or name not in digests:
        raise InputError(f"{path}: digest {name} is missing; make it again: {remedy}")
    return str(digests[name])


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
