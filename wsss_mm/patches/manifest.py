"""The manifest: one row a patch, what every later stage reads instead of listing folders."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path
from wsss_mm.formats import read_rows, write_rows
from wsss_mm.names import is_plain_name
from wsss_mm.patches.shards import manifest_format
from wsss_mm.places import AFTER_CLASSES, BEFORE_CLASSES, PATCH_MANIFEST
from wsss_mm.places import LATER_COLUMNS as _NEWER
from wsss_mm.places import MANIFEST as FILE_NAME
from wsss_mm.vocabulary import SPLITS, Vocabulary

_TEXT = pa.string()
_KINDS = {"text": _TEXT, "integer": pa.int64(), "number": pa.float64()}
_BEFORE_LABELS = {name: _KINDS[kind] for name, kind in BEFORE_CLASSES.items()}
_AFTER_LABELS = {name: _KINDS[kind] for name, kind in AFTER_CLASSES.items()}
_NULLABLE = ("mask_path", "site", "unsure")
_SEPARATOR = ";"


def manifest_columns(codes: Iterable[str]) -> list[str]:
    """Columns of a manifest in order.

    Those of the class `codes` are bool, true where the class is in the label set. False means absent, unless `unsure`
    names the class: see `known_mask`.
    """
    return [*_BEFORE_LABELS, *codes, *_AFTER_LABELS]


def known_mask(frame: pd.DataFrame, codes: Iterable[str]) -> npt.NDArray[np.bool_]:
    """Where a label set says whether a patch holds a class: (N, C) bool, False for the classes in `unsure`."""
    order = {code: index for index, code in enumerate(codes)}
    known = np.ones((len(frame), len(order)), dtype=bool)
    if "unsure" in frame:
        texts = frame["unsure"].to_numpy(object)
        for text in {text for text in texts if isinstance(text, str)}:
            known[np.ix_(texts == text, [order[code] for code in unsure_classes(text) if code in order])] = False
    return known


def possible_labels(frame: pd.DataFrame, codes: Iterable[str]) -> npt.NDArray[np.bool_]:
    """The classes that pixels of a patch may be of: (N, C) bool, those it holds and those nobody is sure of.

    None of a patch that holds none: it would be taken whole for the one that somebody was unsure of.
    """
    codes = list(codes)
    held = frame[codes].to_numpy(bool)
    return held | (~known_mask(frame, codes) & held.any(axis=1, keepdims=True))


def label_sets(frame: pd.DataFrame, codes: Iterable[str]) -> list[str]:
    """Label sets as people read them: `TE;LYM?` holds TE, and nobody is sure of LYM."""
    codes = list(codes)
    rows, unsure = frame[codes].eq(True).to_numpy(), frame.get("unsure", [None] * len(frame))
    return [
        _SEPARATOR.join(
            code if held else f"{code}?"
            for code, held in zip(codes, row, strict=True)
            if held or code in unsure_classes(text)
        )
        for row, text in zip(rows, unsure, strict=True)
    ]


def unsure_text(codes: Iterable[str]) -> str | None:
    """What the column `unsure` says of these classes; None if there are none."""
    return _SEPARATOR.join(codes) or None


def unsure_classes(text: object) -> list[str]:
    """Codes of the classes that a cell of the column `unsure` names."""
    return text.split(_SEPARATOR) if isinstance(text, str) and text else []


def build_manifest(rows: Iterable[Mapping[str, Any]], vocabulary: Vocabulary, where: str) -> pd.DataFrame:
    """Make a manifest of rows, and check it.

    Args:
        rows: one mapping a patch, from every column to its value.
        vocabulary: the classes.
        where: what messages name as the place of a fault.

    Raises:
        InputError: there is no row, or `check_manifest` finds one wrong.
    """
    frame = pd.DataFrame(list(rows), columns=manifest_columns(vocabulary.codes))
    if frame.empty:
        raise InputError(f"{where}: gives no patches at all; label some (wsss-mm label), or lower patches.min_tissue")
    check_manifest(frame, vocabulary, where)
    return _tidy(frame)


def read_manifest(folder: Path | str, vocabulary: Vocabulary) -> pd.DataFrame:
    """Read and check `folder`/manifest.parquet.

    Returns:
        One row a patch, sorted by patch_id, columns as in `manifest_columns`; `mask_path`, `site` and `unsure` are
        None where there is none.

    Raises:
        InputError: there is no manifest, or `check_manifest` finds it wrong.

    Examples:
        A manifest of one patch, that holds tumour and of whose lymphocytes nobody is sure:

        >>> from wsss_mm.vocabulary import get_vocabulary
        >>> lung = get_vocabulary("lung")
        >>> row = dict.fromkeys(manifest_columns(lung.codes)) | dict.fromkeys(lung.codes, False)
        >>> row |= {"patch_id": "p", "slide_id": "s", "patient_id": "a", "split": "train", "path": "images/p.png"}
        >>> row |= {"x": 0, "y": 0, "mpp": 1.0, "size": 224, "sha256": "0", "tissue": 1.0, "TE": True, "unsure": "LYM"}
        >>> _ = write_manifest(build_manifest([row], lung, "the row"), "patches")
        >>> manifest = read_manifest("patches", lung)
        >>> label_sets(manifest, lung.codes)
        ['TE;LYM?']
    """
    path = Path(folder) / FILE_NAME
    frame = read_rows(path, PATCH_MANIFEST)
    check_manifest(frame, vocabulary, str(path))
    return _tidy(frame.reindex(columns=manifest_columns(vocabulary.codes)))


def write_manifest(frame: pd.DataFrame, folder: Path | str) -> Path:
    """Write `folder`/manifest.parquet: equal rows, in any order, give equal bytes.

    Every column that is not one of the schema is taken for a class and written as bool, in the frame's order.

    Returns:
        The path of the file.
    """
    codes = [name for name in frame.columns if name not in _BEFORE_LABELS and name not in _AFTER_LABELS]
    types = {**_BEFORE_LABELS, **dict.fromkeys(codes, pa.bool_()), **_AFTER_LABELS}
    schema = pa.schema(list(types.items()))
    rows = _tidy(frame.reindex(columns=manifest_columns(codes)))
    columns = [pa.array(rows[name].to_numpy(), type=kind, from_pandas=True) for name, kind in types.items()]
    path = Path(folder) / FILE_NAME
    with atomic_path(path) as temporary:
        of = manifest_format(PATCH_MANIFEST, [*rows["path"], *rows["mask_path"]])
        write_rows(temporary, of, pa.Table.from_arrays(columns, schema=schema))
    return path


def check_manifest(frame: pd.DataFrame, vocabulary: Vocabulary, where: str) -> None:
    """Check columns, ids, splits, label types and paths of a manifest.

    Args:
        frame: the manifest.
        vocabulary: the classes its label columns must be.
        where: what the messages name as the place of the fault, usually the file.

    Raises:
        InputError: the first fault, with its row and the remedy.
    """
    _check_columns(frame, vocabulary, where)
    _check_text(frame, where)
    _check_ids(frame, where)
    _check_values(frame, vocabulary, where)
    check_splits(frame, where)
    for column in ("path", "mask_path"):
        values = frame.loc[frame[column].notna(), ["patch_id", column]]
        for patch_id, value in values.itertuples(index=False):
            if not (isinstance(value, str) and is_inside(value)):
                raise InputError(
                    f"{where}: patch {patch_id}: {column} {value!r} leads outside its folder; make it relative"
                )


def check_splits(frame: pd.DataFrame, where: str) -> None:
    """Check that a table's `split` values are known and that no `patient_id` is in two splits.

    Raises:
        InputError: naming the row's split or the patient.
    """
    unknown = sorted(set(frame["split"].dropna().astype(str)) - set(SPLITS))
    if unknown or frame["split"].isna().any():
        name = repr(unknown[0]) if unknown else "an empty value"
        raise InputError(f"{where}: column split: {name} is no split; write one of {', '.join(SPLITS)}")
    splits = frame.groupby("patient_id")["split"].unique()
    shared = splits[splits.map(len) > 1]
    if len(shared):
        patient, where_in = shared.index[0], " and ".join(sorted(shared.iloc[0]))
        raise InputError(
            f"{where}: patient {patient} is in {where_in} ({len(shared)} such patients); "
            "results would be too good: give all slides of a patient the same split"
        )


def _check_columns(frame: pd.DataFrame, vocabulary: Vocabulary, where: str) -> None:
    expected = manifest_columns(vocabulary.codes)
    missing = [name for name in expected if name not in frame.columns and name not in _NEWER]
    if missing:
        raise InputError(
            f"{where}: column {', '.join(missing)} is missing (vocabulary {vocabulary.name!r}); "
            "check cohort.vocabulary in params.yaml and make it again: dvc repro patches"
        )
    found = [name for name in frame.columns if name in vocabulary.codes]
    if found != list(vocabulary.codes):  # values of masks are places in this order
        raise InputError(
            f"{where}: classes in the order {', '.join(found)}, and vocabulary {vocabulary.name!r} has them as "
            f"{', '.join(vocabulary.codes)}, which masks go by; make it again: dvc repro patches"
        )
    unknown = [name for name in frame.columns if name not in expected]
    if unknown:
        raise InputError(
            f"{where}: column {unknown[0]!r} is no class of vocabulary {vocabulary.name!r} "
            f"({', '.join(vocabulary.codes)}); remove it or change cohort.vocabulary in params.yaml"
        )


def _check_text(frame: pd.DataFrame, where: str) -> None:
    texts = [name for name, kind in (_BEFORE_LABELS | _AFTER_LABELS).items() if kind == _TEXT]
    for column in (name for name in texts if name in frame):
        odd = frame.loc[frame[column].notna(), column]
        odd = odd[~odd.map(lambda value: isinstance(value, str))]
        if len(odd):
            raise InputError(f"{where}: column {column}: {odd.iloc[0]!r} is no text; make it text")


def _check_ids(frame: pd.DataFrame, where: str) -> None:
    for column in ("patch_id", "slide_id", "patient_id", "path"):
        empty = frame[column].isna() | (frame[column].astype(str) == "")
        if empty.any():
            raise InputError(f"{where}: row {int(np.argmax(empty.to_numpy()))}: {column} is empty; fill it in")
    for column in ("patch_id", "slide_id"):
        odd = frame[column][~frame[column].map(is_plain_name)]
        if len(odd):
            raise InputError(
                f"{where}: {column} {str(odd.iloc[0])[:80]!r} cannot name a file; use letters, digits, dot, dash, _"
            )
    for column in ("patch_id", "path"):
        twice = frame[column].duplicated()
        if twice.any():
            raise InputError(f"{where}: {column} {frame[column][twice].iloc[0]!r} appears twice; keep one of the rows")


def _check_values(frame: pd.DataFrame, vocabulary: Vocabulary, where: str) -> None:
    for code in vocabulary.codes:
        if frame[code].dtype != bool:
            raise InputError(
                f"{where}: column {code} holds {frame[code].dtype}, not bool; write true or false in every row"
            )
    _check_unsure(frame, vocabulary, where)
    for column, low, high in (("mpp", 0.0, np.inf), ("size", 0, np.inf), ("tissue", -1e-9, 1 + 1e-9)):
        if not pd.api.types.is_numeric_dtype(frame[column]):
            raise InputError(
                f"{where}: column {column} holds {frame[column].dtype}, not numbers; make it again: dvc repro patches"
            )
        wrong = ~((frame[column] > low) & (frame[column] <= high))
        if wrong.any():
            row = frame[wrong].iloc[0]
            raise InputError(
                f"{where}: patch {row['patch_id']}: {column} is {row[column]}; make it again: dvc repro patches"
            )


def _check_unsure(frame: pd.DataFrame, vocabulary: Vocabulary, where: str) -> None:
    if "unsure" not in frame:
        return
    for text, rows in frame.groupby("unsure"):  # of few label sets, however many patches have them
        for code in unsure_classes(text):
            wrong = rows[rows[code]] if code in vocabulary.codes else rows
            if len(wrong):
                why = "is in the label set, too" if code in vocabulary.codes else "is no class"
                raise InputError(
                    f"{where}: patch {wrong['patch_id'].iloc[0]}: column unsure: {code!r} {why}; make it again: "
                    "dvc repro patches"
                )


def is_inside(value: str) -> bool:
    """Whether a path that a manifest names stays in the manifest's folder, on every system."""
    path = PurePosixPath(value)
    return not path.is_absolute() and ".." not in path.parts and not set(value) & set("\\:\0")


def _tidy(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.sort_values("patch_id", kind="stable", ignore_index=True)
    for column in _NULLABLE:
        values = [value if isinstance(value, str) and value else None for value in frame[column]]
        frame[column] = pd.Series(values, dtype=object, index=frame.index)
    return frame
