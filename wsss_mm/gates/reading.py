"""Reading a gate's artefacts: whatever is wrong with a file becomes one line that names it."""

import math
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from wsss_mm.errors import InputError
from wsss_mm.files import is_file, leads_outside, read_json
from wsss_mm.gates.checks import GateResult


def read_object(path: Path, remedy: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: it is missing, unreadable or no object.
    """
    if not path.is_file():
        raise InputError(f"{path}: not found; make it with: {remedy}")
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not valid JSON ({_one_line(error)}); make it again: {remedy}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a JSON object; make it again: {remedy}")
    return content


def read_report(path: Path) -> GateResult:
    """Read what a gate left.

    Raises:
        InputError: there is no report, or it is not one of this version.
    """
    try:
        return TypeAdapter(GateResult).validate_python(read_object(path, "dvc repro"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))[:80]
        raise InputError(f"{path}: not a gate's report ({where}: {first['msg']}); make it again: dvc repro") from None


def read_metrics(path: Path, remedy: str) -> dict[str, Any]:
    """Read a metrics file; nested objects become dotted keys, as `dvc metrics show` names them.

    Raises:
        InputError: see `read_object`.
    """
    return flat(read_object(path, remedy))


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
    try:
        return math.nan if value is None else float(value)
    except OverflowError:
        raise InputError(f"{path}: metric {key} is too large a number; make it again: {remedy}") from None


def gated_digest(root: Path, name: str) -> str:
    """What gate `patches` said it judged: the digest called `name` in its report.

    Raises:
        InputError: there is no report, or it names no such digest.
    """
    path = root / "reports/gates/patches.json"
    digests = read_object(path, "dvc repro -f gate@patches").get("digests")
    if not isinstance(digests, dict) or name not in digests:
        raise InputError(f"{path}: digest {name} is missing; make it again: dvc repro -f gate@patches")
    return str(digests[name])


def is_file_inside(folder: Path, relative: object) -> bool:
    """Whether `relative` names a file in `folder` and leads nowhere else."""
    if not isinstance(relative, str) or not relative:
        return False
    return is_file(folder / relative) and not leads_outside(folder / relative, folder)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
