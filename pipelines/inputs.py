"""What DVC says a stage was given, looked at before and after: DVC records what is there when the stage has ended."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.settings import GATES_FILE, PARAMS_FILE
from wsss_mm.yaml_places import read

_REFERENCE = re.compile(r"\$\{([^}]+)\}")
_TEXT = {".csv", ".geojson", ".html", ".json", ".jsonl", ".md", ".py", ".toml", ".yaml", ".yml"}
_PASSED_OVER = {"__pycache__"}  # as .dvcignore does


@contextmanager
def unchanged_inputs(root: Path) -> Iterator[None]:
    """See that parameters and dependencies of the stage DVC runs are the same before and after the block.

    Parameters are compared by value, text files by content, all else by size and time of the last change.

    Raises:
        InputError: one of them cannot be read, or changed meanwhile; DVC does not record the stage, and runs it again.
    """
    stage = os.environ.get("DVC_STAGE")
    before = _read(root, stage, "cannot be read for stage {}") if stage else {}
    yield
    after = _read(root, stage, "changed while stage {} ran") if stage else {}
    changed = [name for name in before | after if before.get(name) != after.get(name)]  # parameters first
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise InputError(f"{changed[0]}{more} changed while stage {stage} ran: what it made may be of both; dvc repro")


def _read(root: Path, stage: str, trouble: str) -> dict[str, Any]:
    try:
        return _given(root, stage)
    except (InputError, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        why = f"{error}" if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(
            f"{PARAMS_FILE}, {GATES_FILE} or dvc.yaml {trouble.format(stage)} ({' '.join(why.split())}); dvc repro"
        ) from None


def _given(root: Path, stage: str) -> dict[str, Any]:
    """Parameters and files of a stage by name, with what tells whether they are the same."""
    pipeline = _content(root, places.PIPELINE)
    params = _content(root, PARAMS_FILE)
    name, _, key = stage.rpartition(":")[2].partition("@")
    entry, known = pipeline["stages"][name], params
    if "foreach" in entry:
        items = entry["foreach"]  # names of a list, which stands elsewhere, stand for themselves
        entry, known = entry["do"], params | {"key": key, "item": items[key] if isinstance(items, dict) else key}
    given: dict[str, Any] = {}
    for wanted in entry.get("params", ()):
        for file, keys in wanted.items() if isinstance(wanted, dict) else [(PARAMS_FILE, [wanted])]:
            content = params if file == PARAMS_FILE else _content(root, file)
            for parameter in [_filled(key, known) for key in keys or content]:
                given[f"{file}: {parameter}"] = _value(content, parameter)
    for wanted in entry.get("deps", ()):
        given |= _files(root, _filled(wanted, known))
    return given


def _content(root: Path, name: str) -> Any:
    return read(root / name, absent="restore it with git checkout").content


def _filled(text: str, known: Any) -> str:
    """A text of dvc.yaml with the values it refers to, such as `${item.beside[0]}`."""

    def value(found: re.Match[str]) -> str:
        given = str(_value(known, re.sub(r"\[(\d+)\]", r".\1", found[1])))
        return _filled(given, known) if found[1].startswith("item.") else given  # an item may refer to parameters

    return _REFERENCE.sub(value, text)


def _value(content: Any, place: str) -> Any:
    for part in place.split("."):
        content = content[int(part)] if isinstance(content, list) else (content or {}).get(part)
    return content


def _files(root: Path, name: str) -> Iterator[tuple[str, Any]]:
    path = root / name
    files = [path]
    if path.is_dir():
        files = [file for file in path.rglob("*") if not _PASSED_OVER.intersection(file.parts) and file.is_file()]
    for file in files:
        shown = name if file == path else f"{name}/{file.relative_to(path).as_posix()}"
        try:
            state = file.stat()
            yield shown, digest(file) if file.suffix in _TEXT else (state.st_size, state.st_mtime_ns)
        except OSError as error:
            yield shown, str(error.strerror)
