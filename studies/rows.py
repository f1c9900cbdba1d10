"""What the studies share: overrides of params.yaml, and results as one row of JSON a run."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from wsss_mm.choosing.tuning.values import with_values as changed
from wsss_mm.errors import InputError
from wsss_mm.files import rounded
from wsss_mm.settings import Params
from wsss_mm.yaml_places import YAMLError, parse


def with_values(params: Params, values: Iterable[str]) -> Params:
    """Params with values such as `segmenter.loss=ce` in place, checked as params.yaml is.

    Raises:
        InputError: a key does not exist or its value is wrong.
    """
    given, values = {}, list(values)
    for item in values:
        key, _, value = item.partition("=")
        try:
            given[key] = parse(value).content
        except YAMLError as error:
            raise InputError(f"{item}: not valid YAML: {' '.join(str(error).split())}") from None
    return changed(params, given, ", ".join(values))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON-lines file; none where there is no file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def add_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add one row in one write, so that a study that is stopped leaves whole rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(rounded(row), sort_keys=True) + "\n")
