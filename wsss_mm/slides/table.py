"""slides.csv: which slides there are, whose they are, and where."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pandas as pd

from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path, is_file
from wsss_mm.names import is_plain_name, likeness
from wsss_mm.places import SLIDE_COLUMNS as COLUMNS
from wsss_mm.slides.resolution import MICROSCOPES, is_microscopes
from wsss_mm.tables import number, read_table
from wsss_mm.vocabulary import SPLITS

REQUIRED = ("slide_id", "patient_id", "path", "split")
OPTIONAL = tuple(name for name in COLUMNS if name not in REQUIRED)
_FILES = ("path", "roi", "annotation")
_MAX_NAME = 160  # a patch is called after its slide and its place there
_NAMES = (
    "must be of letters, digits, '.', '_' and '-', at most {most}, begin with none of '.' and '-', end in no '.', and"
    " be no name that is taken (such as con or index.html); it becomes part of file names"
)


def read_slide_table(path: Path | str, *, check_files: bool = True, for_training: bool = True) -> pd.DataFrame:
    """Read and check a table of slides.

    Args:
        path: a CSV with the columns slide_id, patient_id, path and split, and optionally site, mpp (um/px, wins over
            the file's), roi and annotation (GeoJSON); bytes and quickhash are those of stage `cohort`. Files are given
            relative to the table's folder.
        check_files: every named file must exist. An empty `path` is a slide of which only patches are known.
        for_training: patients and splits matter. If not, their columns need not be there, and are left empty.

    Returns:
        One row a slide, in the table's order, with all `COLUMNS`: text, empty where nothing is given, but `mpp` float
        or NaN. Paths stay as written; `resolve` makes them usable. The index is the line of each row.

    Raises:
        InputError: names the row and the remedy.
    """
    path = Path(path)
    table = read_table(
        path,
        REQUIRED if for_training else ("slide_id", "path"),
        OPTIONAL,
        absent="no such table of slides; see the README for its columns",
        remedy="save it as CSV, in UTF-8",
        notes=True,
    )
    if not for_training:
        table = table.assign(patient_id="", split="")[list(COLUMNS)]
    table = table[list(COLUMNS)]
    table["split"] = table["split"].str.lower()
    _check(path, table, for_training)
    if check_files:
        _check_files(path, table)
    table["mpp"] = [number(text) if text else math.nan for text in table["mpp"]]
    return table


def write_slide_table(table: pd.DataFrame, path: Path | str) -> None:
    """Write a table of slides, atomically; equal tables give equal bytes."""
    with atomic_path(path) as temporary:
        table.reindex(columns=COLUMNS).to_csv(temporary, index=False, lineterminator="\n")


def table_faults(path: Path) -> tuple[pd.DataFrame, dict[int, str]]:
    """A table of slides as text, and what is wrong with each row that `read_slide_table` would refuse, but for files.

    Returns:
        As of `read_slide_table`, but with `mpp` as text; and faults by line. What is wrong between two rows stands with
        the last of them.

    Raises:
        InputError: it is no table, or holds no slide.
    """
    table = read_table(
        path,
        REQUIRED,
        OPTIONAL,
        absent="no such table of slides; make it with: wsss-mm cohort add SLIDE...",
        remedy="save it as CSV, in UTF-8",
        notes=True,
    )[list(COLUMNS)]
    table["split"] = table["split"].str.lower()
    faults: dict[int, str] = {}
    if table.empty:
        _check(path, table, for_training=True)
    for line in table.index:
        try:
            _check(path, table.loc[[line]], for_training=True)
        except InputError as error:
            faults[int(line)] = str(error)
    slides: dict[str, int] = {}
    splits: dict[str, tuple[str, int]] = {}
    for line, slide_id, patient, split in table[["slide_id", "patient_id", "split"]].itertuples():
        first = slides.setdefault(slide_id, line)
        known, where = splits.setdefault(likeness(patient), (split, line))
        if first != line:
            faults.setdefault(line, f"line {line}: slide_id {slide_id!r} is on line {first} already; give it its own")
        if patient and {split, known} <= set(SPLITS) and split != known:
            said = f"line {line}: patient {patient!r} is in the split {split}, and on line {where} in {known}"
            faults.setdefault(line, f"{said}; put all slides of a patient in one split")
    return table, faults


def name_fault(name: str) -> str:
    """What is wrong with the id of a slide or patient, empty where nothing is."""
    return "" if is_plain_name(name) and len(name) <= _MAX_NAME else _NAMES.format(most=_MAX_NAME)


def resolve(table_path: Path | str, name: str) -> Path:
    """The file a table names: relative to the table's folder, or absolute."""
    return Path(table_path).parent / name


def _check(path: Path, table: pd.DataFrame, for_training: bool) -> None:
    if table.empty:
        raise InputError(f"{path}: holds no slide; add a row for each")
    for slide in cast("Iterator[Any]", table.itertuples()):
        where = f"{path}: line {slide.Index} ({slide.slide_id or 'no slide_id'})"
        for column in ("slide_id", "patient_id") if for_training else ("slide_id",):
            if why := name_fault(getattr(slide, column)):
                raise InputError(f"{where}: {column} {getattr(slide, column)!r} {why}")
        if for_training and slide.split not in SPLITS:
            if not slide.split:
                raise InputError(
                    f"{where}: has no split; give it there, or to all that have none: wsss-mm cohort split"
                )
            raise InputError(f"{where}: split {slide.split!r} is none of {', '.join(SPLITS)}")
        if slide.mpp and not _is_resolution(slide.mpp):
            raise InputError(
                f"{where}: mpp {slide.mpp!r} is no resolution of a slide; give um per pixel, {MICROSCOPES[0]:g} to "
                f"{MICROSCOPES[1]:g}, such as 0.25, or nothing"
            )
    repeated = table.index[table["slide_id"].duplicated()]
    if len(repeated):
        raise InputError(
            f"{path}: line {repeated[0]}: slide_id {table['slide_id'][repeated[0]]!r} is there twice;"
            " give every slide its own"
        )
    for patient, splits in table.groupby("patient_id", sort=False)["split"].unique().items():
        if len(splits) > 1:
            raise InputError(
                f"{path}: patient {patient!r} is in the splits {' and '.join(sorted(splits))};"
                " put all slides of a patient in one split"
            )


def _check_files(path: Path, table: pd.DataFrame) -> None:
    for slide in cast("Iterator[Any]", table.itertuples()):
        for column in _FILES:
            name = getattr(slide, column)
            if name and not is_file(resolve(path, name)):
                remedy = f"correct it (relative to {path.parent}) or remove the row"
                if slide.bytes:  # no table that people write
                    remedy = "put it back, or correct the table that cohort.source names, and run: dvc repro cohort"
                raise InputError(
                    f"{path}: line {slide.Index} ({slide.slide_id}): {column} {resolve(path, name)} does not exist;"
                    f" {remedy}"
                )


def _is_resolution(text: str) -> bool:
    value = number(text)
    return value is not None and is_microscopes(value)
