"""Measuring and judging once: nearly all that a gate looks at in a harmed project is as it is in the clean one.

What is remembered is remembered by all that it depends on, so that what a fault changes is measured and judged anew:
were anything left out, that fault would not be noticed.
"""

import copy
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from wsss_mm import places
from wsss_mm.evaluation import multilabel
from wsss_mm.features import shared
from wsss_mm.files import digest
from wsss_mm.gates import classifier, cohort, patches, pseudo_labels, segmenter
from wsss_mm.gates.checks import Check, Measured
from wsss_mm.gates.runner import _Validator
from wsss_mm.slides.table import resolve
from wsss_mm.wsi import agreement

_known: dict[str, Any] = {}
_batches: list[Any] = []


class Remembering(_Validator):
    """The gates' adaptor of Great Expectations, which asks that only what it has not been asked before."""

    @property
    def _batch(self) -> Any:
        """One for all gates."""
        if not _batches:
            _batches.append(super()._batch)
        return _batches[0]

    def _results(self, measured: Measured, checks: Sequence[Check], detail: str) -> dict[str, Any]:
        asked = {check.name: self._words(measured, check, detail) for check in checks}
        new = [check for check in checks if asked[check.name] not in _known]
        _known.update({asked[name]: said for name, said in super()._results(measured, new, detail).items()})
        return {check.name: _known[asked[check.name]] for check in checks}

    def _words(self, measured: Measured, check: Check, detail: str) -> str:
        """All that an answer depends on: the check with its limits, and the columns it looks at with their types."""
        limits = [self._thresholds.limit(limit) for limit in (check.low, check.high, check.but)]
        columns = [column for column in (measured.table.index, check.column, check.same_as) if column]
        rows = [(column, *_content(measured.frame, column)) for column in dict.fromkeys(columns)]
        return repr((detail, measured.table.name, check, limits, list(measured.frame.index), rows))


def _content(frame: Any, column: str) -> tuple[Any, ...]:
    return (frame[column].dtype, frame[column].tolist()) if column in frame else (None,)


def measures() -> Iterator[tuple[ModuleType, str, Callable]]:
    """What costs gates most: its module, its name, and the function that does it once for the same input."""
    from wsss_mm.cam import store
    from wsss_mm.models import members

    for module, name, depends_on in (
        (cohort, "_measure_slide", _on_slide_files),
        (patches, "_measure", _on_patch_files),
        (patches, "make_rows", _on_cohort),
        (shared, "_best", _on_arrays),
        (agreement, "on_slide", _on_results),
        (agreement, "compare_outlines", _on_outlines),
        (agreement, "explained_colors", _on_arrays),
        (store, "label_patches", _on_classifier),
        (members, "load_classifiers", _on_folder),
        (multilabel, "multilabel_metrics", _on_arrays),
        *((module, "read_manifest", _on_manifest) for module in (classifier, pseudo_labels, segmenter)),
    ):
        yield module, name, _once(getattr(module, name), depends_on)


def _once(function: Callable, depends_on: Callable) -> Callable:
    """`function`, whose results are remembered; an error is not, and is raised each time."""
    known: dict[str, Any] = {}

    @wraps(function)
    def remembering(*arguments: Any, **options: Any) -> Any:
        key = repr((depends_on(*arguments, **options), sorted(options.items())))
        if key not in known:
            found = function(*arguments, **options)
            known[key] = list(found) if isinstance(found, Iterator) else found
        return copy.copy(known[key])

    return remembering


def _bytes(*paths: Path) -> list[tuple[str, str, str]]:
    """Files, where they really lie, and their digests; in place of a folder all that lies in it."""
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return [(str(file), os.path.relpath(file.resolve()), digest(file) if file.is_file() else "") for file in files]


def _on_arrays(*arguments: Any, **options: Any) -> list[Any]:
    return [_of_arrays(item) for item in (*arguments, *options.values())]


def _of_arrays(item: Any) -> Any:
    """An array's shape, type and digest, in lists and tuples of them too."""
    if isinstance(item, np.ndarray):
        return item.shape, item.dtype, hashlib.sha256(np.ascontiguousarray(item)).hexdigest()
    return [_of_arrays(each) for each in item] if isinstance(item, list | tuple) else item


def _on_slide_files(cells: Any, table: Path, params: Any) -> Any:
    named = (getattr(cells, column, "") for column in ("path", *cohort._DRAWN))
    return cells, str(table), params, _bytes(*(resolve(table, cell) for cell in named if cell))


def _on_patch_files(row: dict[str, Any], folder: Path, codes: list[str], plain: float, **_: Any) -> Any:
    named = [folder / row[name] for name in ("path", "mask_path") if isinstance(row[name], str) and row[name]]
    return row, str(folder), codes, plain, _bytes(*(file for file in named if file.is_file()))


def _on_cohort(params: Any, root: Path, *_: Any, **__: Any) -> Any:
    return params, _bytes(root / places.COHORT)


def _on_results(level: Any, reader: Any, region: Any, vocabulary: Any, overlay: Path, **_: Any) -> Any:
    drawn = None if region is None else region.geometry.wkt
    return level.shape, reader.mpp, drawn, vocabulary, _bytes(reader.path, overlay.parent / places.LABEL_MAP, overlay)


def _on_outlines(path: Path, level: Any, vocabulary: Any, written: Any, **_: Any) -> Any:
    folder = path if path.is_dir() else path.parent
    return path, level.shape, vocabulary, written, _bytes(folder / places.LABEL_MAP, path)


def _on_folder(folder: Path, *further: Any, **_: Any) -> Any:
    return further, _bytes(folder)


def _on_manifest(folder: Path, vocabulary: Any) -> Any:
    return vocabulary, _bytes(Path(folder) / places.MANIFEST)


def _on_classifier(labeller: Any, rows: Any, folder: Path, vocabulary: Any, *, among: Any) -> Any:
    root = folder.parents[1]
    return (
        rows.to_json(),
        among.to_json(),
        vocabulary,
        _bytes(root / places.CLASSIFIER, root / places.CHOICE_FILE, folder),
    )
