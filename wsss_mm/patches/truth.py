"""What is known of the tissues of a slide: exact truth, drawn annotations, or a table of labelled patches."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from wsss_mm.errors import InputError
from wsss_mm.patches.manifest import unsure_text
from wsss_mm.places import LABEL_COLUMNS, MADE_LABEL_COLUMNS
from wsss_mm.slides import SlideReader
from wsss_mm.slides.labels import label_values, read_label_tiff, resample_labels
from wsss_mm.slides.roi import Annotation, rasterise, read_annotations
from wsss_mm.slides.tissue import TissueMask, find_tissue
from wsss_mm.tables import nearest_name, read_table
from wsss_mm.vocabulary import IGNORE, Vocabulary

logger = logging.getLogger(__name__)

_ROUGH = 16.0  # um/px, to see whether outlines lie on tissue at all
_LEAST_TISSUE = 0.25  # of what is outlined; outlines in um, or of another slide, lie on glass as often as not


class Truth(Protocol):
    """Pixel truth of a slide."""

    def mask(self, x: int, y: int, size: int, mpp: float) -> npt.NDArray[np.uint8]:
        """(size, size) uint8 at `mpp` um/px with its corner at level-0 px x, y: 0..C-1 and `IGNORE`."""


@dataclass(frozen=True)
class MapTruth:
    """A label map of the whole slide, on any grid that spans it."""

    labels: npt.NDArray[np.uint8]  # (H, W)
    step: float  # level-0 px per px of the map
    slide_mpp: float

    def mask(self, x: int, y: int, size: int, mpp: float) -> npt.NDArray[np.uint8]:
        """See `Truth.mask`."""
        return resample_labels(self.labels, x / self.step, y / self.step, size, mpp / self.slide_mpp / self.step)


@dataclass(frozen=True)
class DrawnTruth:
    """Polygons with classes; what none covers is `IGNORE`, and where they overlap the later one counts."""

    areas: Sequence[tuple[BaseGeometry, int]]  # geometry in level-0 px, class index
    slide_mpp: float

    def mask(self, x: int, y: int, size: int, mpp: float) -> npt.NDArray[np.uint8]:
        """See `Truth.mask`."""
        return rasterise(self.areas, (x, y), (size, size), mpp / self.slide_mpp, fill=IGNORE)


def class_shares(mask: npt.NDArray[np.uint8], classes: int) -> npt.NDArray[np.float64]:
    """Share of a mask's pixels, 0..1, that each of the classes has; ignored pixels count in the whole."""
    return np.bincount(mask.ravel(), minlength=256)[:classes] / mask.size


def classes_in(mask: npt.NDArray[np.uint8], classes: int, least: float) -> npt.NDArray[np.bool_]:
    """Which classes a patch holds, by its mask: those with at least the share `least` of its pixels, and one pixel.

    Whatever the mask comes from. Who labels a patch says it by eye, and no mask overrules that.
    """
    shares = class_shares(mask, classes)
    return (shares > 0) & (shares >= least)


def read_map_truth(path: Path, slide: SlideReader, vocabulary: Vocabulary) -> MapTruth:
    """Read a slide's label map.

    Raises:
        InputError: it is no label map, has values that are no class, or does not have the slide's proportions.
    """
    labels = read_label_tiff(path)
    height, width = labels.shape
    step = slide.size[0] / width
    if abs(slide.size[1] / step - height) > 1:
        raise InputError(
            f"{path}: {width} x {height} px do not span the slide's {slide.size[0]} x {slide.size[1]}; make it again"
        )
    unknown = set(label_values(labels)) - {*range(len(vocabulary)), IGNORE}
    if unknown:
        raise InputError(
            f"{path}: value {min(unknown)} is no class of vocabulary {vocabulary.name!r} (0..{len(vocabulary) - 1}) "
            f"nor {IGNORE}; change cohort.vocabulary in params.yaml or make it again"
        )
    return MapTruth(labels, step, slide.mpp)


def read_drawn_truth(
    path: Path, slide: SlideReader, vocabulary: Vocabulary, *, leave_out_pen: bool = True
) -> DrawnTruth:
    """Read annotations drawn in QuPath; a class is given by code, name or alias, in any case.

    A derived class (QuPath 0.4 and later: `TE: Positive` as a list) is the class of the vocabulary that is called so,
    or else the one among its names. Areas without a class, and those whose class QuPath itself ignores (its name ends
    in `*`), are left out, but for `Ignore*`: what it is drawn over is `IGNORE`.

    Raises:
        InputError: no area, none on the slide, or one of an unknown class.
    """
    found = read_annotations(path, slide.bounds[:2], slide.bounds[2:])
    drawn = [area for area in found if area.names and (_is_ignored(area) or not area.names[0].endswith("*"))]
    if all(map(_is_ignored, drawn)):
        raise InputError(
            f"{path}: no area has a class; set one of {', '.join(vocabulary.codes)} in QuPath and export again"
        )
    nameless = [area.place for area in found if not area.names]
    if nameless:
        message = "%s: %d of %d areas have no class and are left out, the first: %s"
        logger.warning(message, path, len(nameless), len(found), nameless[0])
    classes = [_drawn_class(area, vocabulary, f"{path}: {area.place}") for area in drawn]
    _warn_of_covered(path, drawn, classes)
    truth = DrawnTruth([(area.geometry, index) for area, index in zip(drawn, classes, strict=True)], slide.mpp)
    _warn_of_glass(path, truth, slide, find_tissue(slide, _ROUGH, leave_out_pen=leave_out_pen))
    return truth


def read_patch_labels(path: Path, slide_ids: Sequence[str], vocabulary: Vocabulary) -> pd.DataFrame:
    """Read a table of labelled patches: slide_id, x, y (level-0 px of the patch's corner), labels such as `TE;TAS`.

    A class is absent where `labels` lacks it, unless the column `unsure`, which may be missing, names it.

    Args:
        path: the CSV.
        slide_ids: the slides there are.
        vocabulary: classes are given by code, name or alias, in any case, separated by semicolons or commas.

    Returns:
        slide_id, x, y (int), one bool column per class code and `unsure` as in the manifest, in the file's order. The
        index is the line of each row.

    Raises:
        InputError: names the line and the remedy.
    """
    table = read_label_table(path)
    known, rows, seen = set(slide_ids), [], {}
    for line, slide_id, *place, labels, unsure, _ in table.itertuples():
        where = f"{path}: line {line}"
        if slide_id not in known:
            near = nearest_name(slide_id, slide_ids)
            hint = f" ({near} is)" if near else ""
            raise InputError(
                f"{where}: slide_id {slide_id!r} is not in slides.csv{hint}; add the slide or remove the line"
            )
        x, y = (coordinate(value, name, where) for name, value in zip("xy", place, strict=True))
        if (slide_id, x, y) in seen:
            raise InputError(f"{where}: the patch of line {seen[slide_id, x, y]} again; keep one of them")
        seen[slide_id, x, y] = line
        present, doubted = (_classes_of(text, vocabulary, where) for text in (labels, unsure))
        if not present:
            raise InputError(
                f"{where}: no label; give one or more of {', '.join(vocabulary.codes)}, or remove the line"
            )
        if both := present & doubted:
            raise InputError(f"{where}: {vocabulary.codes[min(both)]} is in labels and in unsure; keep one of them")
        states = (index in present for index in range(len(vocabulary)))
        rows.append((slide_id, x, y, *states, unsure_text(vocabulary.codes[index] for index in sorted(doubted))))
    frame = pd.DataFrame(rows, columns=["slide_id", "x", "y", *vocabulary.codes, "unsure"], index=table.index)
    return frame.assign(unsure=pd.Series([row[-1] for row in rows], frame.index, dtype=object))


def read_label_table(path: Path) -> pd.DataFrame:
    """The cells of a table of labelled patches: `LABEL_COLUMNS` and `MADE_LABEL_COLUMNS`, by line.

    Raises:
        InputError: there is none, or it is no such table.
    """
    remedy = "save it as CSV, in UTF-8"
    return read_table(path, LABEL_COLUMNS, MADE_LABEL_COLUMNS, absent="no such table of labels", remedy=remedy)


def _classes_of(text: str, vocabulary: Vocabulary, where: str) -> set[int]:
    names = [name.strip() for name in re.split(r"[;,\r\n]", text) if name.strip()]
    return {_class_index(name, vocabulary, where) for name in names}


def coordinate(text: str, name: str, where: str) -> int:
    """A whole number, also as 448.0; 1.000 is none: it may be a thousand."""
    if not re.fullmatch(r"[0-9]{1,9}([.,](0{0,2}|0{4,}))?", text):
        raise InputError(
            f"{where}: {name} {text!r} is no position; give whole level-0 px of the patch's corner, such as 12000"
        )
    return int(re.split("[.,]", text)[0])


def _is_ignored(area: Annotation) -> bool:
    return area.names[0].casefold() == "ignore*"


def _drawn_class(area: Annotation, vocabulary: Vocabulary, where: str) -> int:
    if _is_ignored(area):
        return IGNORE
    if (whole := vocabulary.find(area.name)) is not None:
        return whole
    known = {index for name in area.names if (index := vocabulary.find(name)) is not None}
    if len(known) > 1:
        raise InputError(f"{where}: {area.name!r} names {len(known)} classes; give an area one of them")
    return known.pop() if known else _class_index(area.name, vocabulary, where)


def _warn_of_covered(path: Path, drawn: Sequence[Annotation], classes: Sequence[int]) -> None:
    """Name areas of which nothing is left, since one of another class was drawn over them."""
    geometries = [area.geometry for area in drawn]
    pairs = shapely.STRtree(geometries).query(geometries, predicate="covers").T.tolist()
    covered = {below: above for above, below in pairs if below < above and classes[below] != classes[above]}
    for below, above in sorted(covered.items())[:1]:
        message = (
            "%s: %s (%s) lies whole under %s (%s) and counts for nothing, one of %d such; export it after that one"
        )
        under, over = drawn[below], drawn[above]
        logger.warning(message, path, under.place, under.name, over.place, over.name, len(covered))


def _warn_of_glass(path: Path, truth: DrawnTruth, slide: SlideReader, tissue: TissueMask) -> None:
    drawn = rasterise(truth.areas, (0, 0), tissue.mask.shape[::-1], tissue.scale[0], fill=IGNORE) != IGNORE
    if drawn.any() and (share := tissue.mask[drawn].mean()) < _LEAST_TISSUE:
        message = "%s: %.0f%% of what is outlined is tissue; was it drawn on %s, and are its coordinates pixels?"
        logger.warning(message, path, 100 * share, slide.path.name)


def _class_index(name: str, vocabulary: Vocabulary, where: str) -> int:
    index = vocabulary.find(name)
    if index is None:
        raise InputError(
            f"{where}: {name!r} is no class of vocabulary {vocabulary.name!r} ({', '.join(vocabulary.codes)});"
            " correct it"
        )
    return index
