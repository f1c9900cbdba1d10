"""What is known of the slides of a table, for people: what the files say, labels, and splits."""

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tqdm import tqdm

from wsss_mm.cohort.adopt import Memory
from wsss_mm.cohort.assign import SlideFacts
from wsss_mm.cohort.cohort import Slide
from wsss_mm.cohort.editing import Rows
from wsss_mm.errors import InputError, spelled_out
from wsss_mm.files import is_file
from wsss_mm.slides.reader import open_slide
from wsss_mm.slides.roi import read_annotations
from wsss_mm.slides.table import COLUMNS, resolve
from wsss_mm.tables import read_table
from wsss_mm.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

_TEN = 10.0  # um/px times magnification, as of most scanners: 0.5 is 20x


@dataclass(frozen=True)
class SlideLabels:
    """What people said of a slide: of how many patches, and how many of these hold each class."""

    patches: int
    classes: Mapping[str, int]


def labels_of_table(path: Path, vocabulary: Vocabulary | None) -> dict[str, SlideLabels]:
    """Labels of a table such as data/labels.csv, by slide_id; nothing is checked but that it is one.

    Args:
        path: the table; none is no labels.
        vocabulary: gives classes their codes; without one, or where it does not know a name, names stay as written.
    """
    if not is_file(path):
        return {}
    table = read_table(path, ("slide_id", "labels"), absent="no such table", remedy="save it as CSV, in UTF-8")
    found: dict[str, SlideLabels] = {}
    for slide_id, cells in table.groupby("slide_id")["labels"]:
        patches = [{_code(name, vocabulary) for name in re.split(r"[;,\r\n]", cell) if name.strip()} for cell in cells]
        found[str(slide_id)] = SlideLabels(len(patches), Counter(code for codes in patches for code in codes))
    return found


def facts_of(
    rows: Rows, table: Path, labels: Mapping[str, SlideLabels], vocabulary: Vocabulary | None
) -> list[SlideFacts]:
    """What splits are decided on; classes are those of labels and of outlines."""
    facts = []
    for line, row in rows.items():
        slide_id, drawn = row["slide_id"], row.get("annotation", "")
        if not row["patient_id"]:
            raise InputError(f"{table}: line {line} ({slide_id}): patient_id is empty; say whose slide it is")
        codes = set(labels[slide_id].classes) if slide_id in labels else set()
        if drawn:
            codes |= _outlined(resolve(table, drawn), vocabulary)
        split = row["split"].lower()
        facts.append(SlideFacts(slide_id, row["patient_id"], row.get("site", ""), split, frozenset(codes), bool(drawn)))
    return facts


def describe_slides(
    rows: Rows, table: Path, labels: Mapping[str, SlideLabels], seen: Path | None = None
) -> list[dict[str, Any]]:
    """Slides with what their files say; those that are as they were at the last look are not opened again.

    Args:
        rows: of the table.
        table: where it lies.
        labels: by slide_id.
        seen: file that keeps what was found, for the next time.

    Returns:
        For each slide slide_id, patient_id, site, split, mpp (um/px), size ([width, height], px), magnification,
        labels (patches), path, and problem, which is None unless the file cannot be used; then the three before labels
        are None.
    """
    memory, listed = Memory(seen), []
    for line, row in tqdm(rows.items(), "opening slides", unit="slide", leave=False, delay=1):
        found: dict[str, Any] = {"mpp": None, "size": None, "magnification": None}
        slide, problem = None, None
        try:
            slide = replace(_slide(line, row, table), roi=None, annotation=None)
            kept = memory.of(slide) if slide.path is not None else None
            found |= kept if kept is not None else memory.keep(slide, _stated(slide))
        except (InputError, OSError, ValueError) as error:
            problem = str(error)
        listed.append(
            {
                **{name: row.get(name, "") for name in ("slide_id", "patient_id", "site", "split")},
                **found,
                "labels": labels[row["slide_id"]].patches if row["slide_id"] in labels else 0,
                "path": (slide.path.as_posix() if slide and slide.path else row["path"]),
                "problem": problem,
            }
        )
    memory.write()
    return listed


def aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Rows of text as lines with columns below each other.

    Args:
        rows: the first may be headings; cells are spelled out on one line.
        right: columns that end below each other, such as numbers.
    """
    cells = [[spelled_out(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def _slide(line: int, row: Mapping[str, str], table: Path) -> Slide:
    cells = {name: row.get(name, "") for name in COLUMNS}
    cells["mpp"] = cells["mpp"].replace(",", ".")
    return Slide.of_row(SimpleNamespace(**cells, Index=line), table)


def _stated(slide: Slide) -> dict[str, Any]:
    if slide.path is None:
        raise InputError(f"{slide.where}: path is empty; name the slide's file")
    with open_slide(slide.path, slide.mpp) as reader:
        power = reader.power or _TEN / reader.mpp
        return {"mpp": reader.mpp, "size": list(reader.size), "magnification": round(power, 1)}


def _outlined(path: Path, vocabulary: Vocabulary | None) -> set[str]:
    """Classes of the outlines in a file, as far as they are ones of the vocabulary."""
    names = {name for area in read_annotations(path) for name in area.names}
    if vocabulary is None:
        return {name for name in names if not name.endswith("*")}
    return {vocabulary.codes[index] for name in names if (index := vocabulary.find(name)) is not None}


def _code(name: str, vocabulary: Vocabulary | None) -> str:
    index = None if vocabulary is None else vocabulary.find(name.strip())
    return name.strip() if vocabulary is None or index is None else vocabulary.codes[index]
