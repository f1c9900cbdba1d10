"""A user's own slides become a cohort: nothing is copied, everything is tried first."""

import os
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from wsss_mm.errors import InputError
from wsss_mm.slides.patients import check_alike
from wsss_mm.slides.reader import open_slide
from wsss_mm.slides.roi import read_annotations
from wsss_mm.slides.table import read_slide_table, resolve

_NAMED = 5  # failures spelled out in the message


def adopt_slides(source: Path | str, folder: Path | str) -> pd.DataFrame:
    """Check a table of slides and that all it names can be read; point its paths at the files from `folder`.

    Args:
        source: the table, or a folder that holds it as slides.csv.
        folder: where the new table will lie. Paths written as absolute stay so.

    Returns:
        The table, with `path`, `roi` and `annotation` relative to `folder`.

    Raises:
        InputError: the table is wrong, or slides cannot be read; names each of them (the first few of many).
    """
    source = Path(source)
    table_path = source / "slides.csv" if source.is_dir() else source
    table = read_slide_table(table_path)
    check_alike(table, str(table_path))
    failures = []
    for slide in tqdm(table.itertuples(), "checking slides", len(table), unit="slide"):
        try:
            _try(table_path, slide)
        except InputError as error:
            failures.append(f"line {slide.Index} ({slide.slide_id}): {error}")
    if failures:
        more = f"; and {len(failures) - _NAMED} more" if len(failures) > _NAMED else ""
        raise InputError(f"{table_path}: {'; '.join(failures[:_NAMED])}{more}")
    for column in ("path", "roi", "annotation"):
        table[column] = [_from(Path(folder), table_path, name) for name in table[column]]
    return table


def _try(table_path: Path, slide: object) -> None:
    if not slide.path:
        raise InputError("path is empty; name the slide's file or remove the row")
    with open_slide(resolve(table_path, slide.path), None if pd.isna(slide.mpp) else slide.mpp) as reader:
        for drawing in filter(None, (slide.roi, slide.annotation)):
            read_annotations(resolve(table_path, drawing), reader.bounds[:2], reader.bounds[2:])


def _from(folder: Path, table_path: Path, name: str) -> str:
    if not name or Path(name).is_absolute():
        return name
    return Path(os.path.relpath(resolve(table_path, name).resolve(), folder.resolve())).as_posix()
