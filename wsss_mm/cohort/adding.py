"""Slides for a table: named, opened, and held against what the table has already."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import openslide
from tqdm import tqdm

from wsss_mm.cohort.files import is_same
from wsss_mm.cohort.finding import FoundFile
from wsss_mm.cohort.naming import NamePattern
from wsss_mm.errors import InputError
from wsss_mm.files import is_file
from wsss_mm.names import safe_name
from wsss_mm.slides.reader import open_slide
from wsss_mm.slides.resolution import are_same
from wsss_mm.slides.roi import read_annotations
from wsss_mm.slides.table import name_fault
from wsss_mm.sources import of_barcode
from wsss_mm.vocabulary import SPLITS

logger = logging.getLogger(__name__)

_NAMED = 5  # files spelled out in a message


@dataclass(frozen=True)
class NewSlide:
    """A slide for the table.

    Attributes:
        path: its file.
        named: whether it was named itself, and is no file of a folder that was.
        cells: slide_id, patient_id, site and split; what is not known is empty.
        only_of_patient: whether nothing says whose it is, so that it is taken for the only slide of its patient.
        mpp: um/px for the table; empty where the file's own counts.
        drawn: GeoJSON files by column, `roi` and `annotation`.
    """

    path: Path
    named: bool
    cells: Mapping[str, str]
    only_of_patient: bool = False
    mpp: str = ""
    drawn: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class GivenCells:
    """What people say of all the slides they add; what is empty, names of files may say.

    Attributes:
        cells: slide_id, patient_id, site and split.
        pattern: of file names.
        mpp: um/px of files that say none.
        force_mpp: and of those that say another.
        drawn: GeoJSON files by column; `{slide}` in a name stands for the slide_id.
    """

    cells: Mapping[str, str] = field(default_factory=dict)
    pattern: NamePattern | None = None
    mpp: float | None = None
    force_mpp: bool = False
    drawn: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Looked:
    """What came of opening files: slides; of folders files that are none, and slides that are of no use, with why."""

    slides: list[NewSlide]
    others: list[Path]
    failed: list[tuple[Path, str]]


def named_slides(files: Sequence[FoundFile], given: GivenCells) -> list[NewSlide]:
    """Say of each file whose slide it is, before any is opened.

    A TCGA barcode tells patient and site, where nothing else does.

    Raises:
        InputError: a file that was named is none of the pattern, a name cannot be used, or two say different things.
    """
    told = {column: cell for column, cell in given.cells.items() if cell}
    twice = sorted(told.keys() & given.pattern.columns) if given.pattern else []
    if twice:
        raise InputError(f"--pattern names {', '.join(twice)}, and so does an option; leave one of them out")
    if "slide_id" in told and len(files) > 1:
        raise InputError(f"--slide-id {told['slide_id']}: is the name of one slide, but {len(files)} are given")
    for column, value in given.drawn.items():
        if len(files) > 1 and "{slide}" not in value:
            raise InputError(
                f"--{column} {value}: polygons belong to one slide, but {len(files)} are given; "
                f"write {{slide}} for the slide_id, such as drawn/{{slide}}.geojson"
            )
    slides, strange = [], []
    for file in files:
        cells = {} if given.pattern is None else given.pattern.cells(file.path)
        if cells is None:
            if file.named or _may_be_slide(file.path):
                strange.append(file.path)
            continue
        slides.append(_named(file, {**cells, **told}))
    if strange:
        text = given.pattern.text if given.pattern else ""
        raise InputError(
            f"--pattern {text}: does not fit {_listed(strange)}; correct it, or name the slides that it is for"
        )
    return slides


def open_slides(slides: Sequence[NewSlide], given: GivenCells) -> Looked:
    """Open each slide, and read what is drawn on it.

    Raises:
        InputError: one that was named itself cannot be used, or a drawing is none of its slide.
    """
    looked, refused, seen = Looked([], [], []), [], dict[str, Path]()
    for slide in tqdm(slides, "opening slides", unit="slide"):
        if not slide.named and not _may_be_slide(slide.path):
            looked.others.append(slide.path)
            continue
        try:
            found, hash_ = _opened(slide, given)
        except (InputError, OSError) as error:
            why = str(error).removeprefix(f"{slide.path}: ")
            if slide.named:
                refused.append(f"{slide.path}: {why}")
            else:
                looked.failed.append((slide.path, why))
            continue
        first = seen.setdefault(hash_, slide.path)
        if first == slide.path or slide.named:
            looked.slides.append(found)
        if first != slide.path and not is_same(first, slide.path):
            end = "one of them will have to go" if slide.named else "passed over"
            logger.warning("%s: shows the same as %s; %s", slide.path, first, end)
    if refused:
        more = f"; and {len(refused) - _NAMED} more" if len(refused) > _NAMED else ""
        raise InputError(f"{'; '.join(refused[:_NAMED])}{more}")
    return looked


def _named(file: FoundFile, cells: Mapping[str, str]) -> NewSlide:
    stem = file.path.stem
    barcode = of_barcode(cells.get("slide_id", stem))
    slide_id = cells.get("slide_id") or safe_name(stem)
    patient = cells.get("patient_id") or (barcode[0] if barcode else slide_id)
    site, split = cells.get("site") or (barcode[1] if barcode else ""), cells.get("split", "").lower()
    for column, value in (("slide_id", slide_id), ("patient_id", patient)):
        if why := name_fault(value):
            raise InputError(f"{file.path}: {column} {value!r} {why}")
    if split and split not in SPLITS:
        raise InputError(f"{file.path}: split {split!r} is none of {', '.join(SPLITS)}")
    named = {"slide_id": slide_id, "patient_id": patient, "site": site, "split": split}
    return NewSlide(file.path, file.named, named, only_of_patient=not (cells.get("patient_id") or barcode))


def _opened(slide: NewSlide, given: GivenCells) -> tuple[NewSlide, str]:
    """A slide with its mpp and drawings, and its quickhash."""
    drawn = {}
    with open_slide(slide.path, given.mpp, force=given.force_mpp) as reader:
        own = reader.stated_mpp
        mpp = "" if given.mpp is None or (own is not None and are_same(own, given.mpp)) else f"{given.mpp:g}"
        for column, value in given.drawn.items():
            path = Path(value.replace("{slide}", slide.cells["slide_id"]))
            if "{slide}" in value and not is_file(path):
                logger.info("%s: no %s %s", slide.path, column, path)
                continue
            read_annotations(path, reader.bounds[:2], reader.bounds[2:])
            drawn[column] = path
        return NewSlide(slide.path, slide.named, slide.cells, slide.only_of_patient, mpp, drawn), reader.quickhash


def _may_be_slide(path: Path) -> bool:
    """Whether OpenSlide knows the format, or the name says that it should."""
    if path.suffix.lower() in _SUFFIXES:
        return True
    try:
        return openslide.OpenSlide.detect_format(path) is not None
    except (openslide.OpenSlideError, OSError):
        return False


_SUFFIXES = frozenset({".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide"})
"""Of files that are slides and nothing else."""


def _listed(paths: Iterable[Path]) -> str:
    names = list(map(str, paths))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
