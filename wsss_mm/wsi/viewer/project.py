"""What a project knows of a segmented slide beside its map: which slide of the cohort it is, its truth, what was drawn.

What a project has comes from its own files, named in its table of slides; nothing of it is named by a request.
"""

import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsss_mm import places
from wsss_mm.cohort import Cohort, Slide
from wsss_mm.labelling.drawings import drawing_path
from wsss_mm.slides.labels import read_label_tiff
from wsss_mm.slides.roi import rasterise, read_annotations
from wsss_mm.vocabulary import Vocabulary
from wsss_mm.wsi.viewer.labels import LabelTiles, Named, cut_of_map
from wsss_mm.wsi.viewer.results import Result

logger = logging.getLogger(__name__)

TRUTH, DRAWN = "truth", "drawn"
"""Layers that a project has: pixel truth of the whole slide, and annotations."""

_HELD = 2  # truth lies in memory
_NO_CLASS = Named("no class of the project", (110, 110, 110))


@dataclass(frozen=True)
class _Grid:
    """The grid of a slide's map: where it begins and its size, level-0 px a pixel of it, and what labels mean."""

    origin: tuple[int, int]
    scale: float
    size: tuple[int, int]
    names: tuple[Named, ...]


class Project:
    """The cohort of a project, and its classes. All methods may be called from several threads at once.

    Attributes:
        cohort: its slides.
        vocabulary: the classes of the project, which may be others than those of a result.
        labels: the folder of journals and of what people drew.
    """

    def __init__(self, cohort: Cohort, vocabulary: Vocabulary, labels: Path = places.LABELS_FOLDER) -> None:
        """Take a cohort, its classes, and the folder of what people say and draw."""
        self.cohort, self.vocabulary, self.labels = cohort, vocabulary, labels
        self._slides = {(slide.bytes, slide.quickhash): slide for slide in cohort.with_files()[::-1] if slide.quickhash}
        self._truth = lru_cache(maxsize=_HELD)(_read_truth)
        self._drawn = lru_cache(maxsize=_HELD)(self._read_drawn)

    def slide_of(self, result: Result) -> Slide | None:
        """The slide of the cohort that was segmented; None where it is none."""
        return self._slides.get((result.slide_bytes, result.quickhash or ""))

    def layers(self, result: Result) -> list[str]:
        """Which layers there are of a result."""
        return [kind for kind in (TRUTH, DRAWN) if self._file(result, kind) is not None]

    def tiles(self, result: Result, kind: str) -> LabelTiles | None:
        """A layer; None where there is none.

        Raises:
            InputError: its file is damaged.
        """
        slide, path = self.slide_of(result), self._file(result, kind)
        if slide is None or path is None:
            return None
        shown = {item.code: item.color for item in result.classes}  # each class has the colour that it has in the map
        names = tuple(Named(item.name, shown.get(item.code, item.color)) for item in self.vocabulary.classes)
        grid = _Grid(result.bounds[:2], result.mpp / result.slide_mpp, result.size, names)
        changed = path.stat().st_mtime_ns
        return self._truth(path, changed, slide, grid) if kind == TRUTH else self._drawn(path, changed, grid)

    def _file(self, result: Result, kind: str) -> Path | None:
        slide = self.slide_of(result)
        if slide is None:
            return None
        if kind == TRUTH:
            return slide.truth if slide.truth.is_file() else None
        drawn = drawing_path("masks", slide.slide_id, self.labels), slide.annotation  # the former is the newer
        return next((path for path in drawn if path is not None and path.is_file()), None)

    def _read_drawn(self, path: Path, _: int, grid: _Grid) -> LabelTiles:
        areas = []
        for area in read_annotations(path):
            found = (self.vocabulary.find(name) for name in (area.name, *area.names))
            areas.append((area.geometry, next((index for index in found if index is not None), len(grid.names))))

        def cut(corner: tuple[float, float], size: tuple[int, int], step: float) -> NDArray[np.uint8]:
            return rasterise(areas, (corner[0] * grid.scale, corner[1] * grid.scale), size, step * grid.scale)

        return LabelTiles(cut, grid.size, [*grid.names, _NO_CLASS])


def _read_truth(path: Path, _: int, slide: Slide, grid: _Grid) -> LabelTiles:
    labels = read_label_tiff(path)
    with slide.open() as reader:
        step = labels.shape[1] / reader.size[0]  # px of truth a level-0 px
    left, top = grid.origin
    return LabelTiles(cut_of_map(labels, grid.scale * step, (left * step, top * step)), grid.size, grid.names)
