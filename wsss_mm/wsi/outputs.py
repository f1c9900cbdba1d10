"""The files that are made of a slide's map: one row of `OUTPUTS` each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from wsss_mm.places import (
    CONFIDENCE,
    DICOM_SEG,
    LABEL_MAP,
    LABELS_ZARR,
    OUTLINES,
    OUTLINES_GZ,
    OVERLAY,
    POLYGONS,
    PROBABILITIES,
    SUMMARY,
)
from wsss_mm.slide_parameters import Parameters
from wsss_mm.slides.artefacts import Artefacts
from wsss_mm.slides.pyramid import write_label_pyramid, write_probability_pyramid
from wsss_mm.wsi.certainty import NONE, Sure, ramp, share_of
from wsss_mm.wsi.dicom_seg import check_can_write, write_dicom_seg
from wsss_mm.wsi.geojson import write_geojson
from wsss_mm.wsi.geoparquet import write_geoparquet
from wsss_mm.wsi.omezarr import write_ome_zarr
from wsss_mm.wsi.overlay import artefacts_on, draw_overlay
from wsss_mm.wsi.raster import Raster
from wsss_mm.wsi.rawmap import OnTissue, RawMap
from wsss_mm.wsi.slidemap import SlideMap
from wsss_mm.wsi.summary import class_figures, polygon_figures

_OVERLAY_SIDE = 1600
_COUNTED = 1 << 21  # px; counting them takes eight bytes each

Figures = dict[str, dict[str, Any]]
"""By code of a class: figures by name, for the summary."""


@dataclass(frozen=True)
class Export:
    """A slide whose files are written.

    Attributes:
        made: its map, as the network saw it.
        filled: the finished map: class codes, `IGNORE` in the background.
        labels: the same, `IGNORE` also where the network was not sure enough, if that is asked for.
        probabilities: of each class, on the tissue; empty if not wanted.
        certainty: of the network, on the tissue; None if not wanted.
        raster: the slide at the map's resolution.
        parameters: how.
        artefacts: pen, folds and blur of the slide; None where they could not be measured.
        slide: the slide's file.
    """

    made: SlideMap
    filled: RawMap
    labels: RawMap | Sure
    probabilities: Sequence[OnTissue]
    certainty: OnTissue | None
    raster: Raster
    parameters: Parameters
    artefacts: Artefacts | None = None
    slide: Path = Path()

    @cached_property
    def counts(self) -> np.ndarray:
        """Pixels of each class, (C,)."""
        return self._counted(self.labels)

    def _counted(self, labels: RawMap | Sure) -> np.ndarray:
        parts = (labels[rows] for rows in self.bands())
        counts = sum((np.bincount(part.ravel(), minlength=256) for part in parts), start=np.zeros(256, np.int64))
        return counts[: len(self.made.vocabulary.classes)]

    def bands(self) -> Iterator[slice]:
        """Rows of the map, as many at a time as are counted at once."""
        rows = max(1, _COUNTED // self.labels.shape[1])
        return (slice(top, top + rows) for top in range(0, self.labels.shape[0], rows))

    def figures(self) -> Figures:
        """Areas and shares of the classes; what of each was left out as unsure, where that was asked for."""
        figures = class_figures(self.counts, self.made.vocabulary.classes, self.raster.mpp)
        if self.labels is not self.filled:
            unsure = (self._counted(self.filled) - self.counts) * self.raster.mpp**2 / 1e6
            for values, area in zip(figures.values(), unsure.tolist(), strict=True):
                values["unsure_area_mm2"] = area
        return figures


@dataclass(frozen=True)
class Output:
    """A file among a slide's results, or a folder that is opened as one.

    Attributes:
        file: its name, which `wsss_mm.places.SLIDE_FILES` lists unless it is written on request.
        write: makes it at a path; it may give further figures of the classes for the summary.
        wanted: whether it is written with these parameters.
        aside: whether it takes long and is written beside the others, in a thread of its own.
        check: refuses, before any work on a slide, what cannot be written here, such as for want of a library.
    """

    file: str
    write: Callable[[Path, Export], Figures | None]
    wanted: Callable[[Parameters], bool] = lambda parameters: True
    aside: bool = False
    check: Callable[[], None] = lambda: None


def files_of(parameters: Parameters) -> tuple[str, ...]:
    """The files of a slide's results with these parameters; the summary, last, is written when all are there."""
    return (*(item.file for item in OUTPUTS if item.wanted(parameters)), SUMMARY)


def check_outputs(parameters: Parameters) -> None:
    """Refuse what is wanted with these parameters and cannot be written here.

    Raises:
        InputError: names the parameter, and what is missing.
    """
    for item in OUTPUTS:
        if item.wanted(parameters):
            item.check()


def write_outputs(work: Path, export: Export) -> Mapping[str, Mapping[str, Any]]:
    """Write the files that are wanted into a folder, and give back the figures of the classes."""
    wanted = [item for item in OUTPUTS if item.wanted(export.parameters)]
    with ThreadPoolExecutor(1, "outputs") as pool:
        aside: list[Future[Figures | None]] = [
            pool.submit(item.write, work / item.file, export) for item in wanted if item.aside
        ]
        found = [item.write(work / item.file, export) for item in wanted if not item.aside]
    figures = export.figures()
    for further in (*found, *(item.result() for item in aside)):
        for code, values in (further or {}).items():
            figures[code] |= values
    return figures


def _outlines(path: Path, export: Export) -> Figures:
    written = write_geojson(path, export.labels, export.made.vocabulary.classes, **_how_outlined(export))
    return {code: polygon_figures(item, export.raster.mpp) for code, item in written.items()}


def _how_outlined(export: Export) -> dict[str, Any]:
    """How regions become polygons: the same in all files that have them."""
    raster, parameters = export.raster, export.parameters
    return {
        "factor": raster.factor,
        "limits": raster.bounds[2:],
        "min_area": parameters.min_island / raster.mpp**2,
        "tolerance": parameters.simplify_um / raster.mpp,
    }


def _polygons(path: Path, export: Export) -> None:
    classes, mpp = export.made.vocabulary.classes, export.raster.mpp
    write_geoparquet(path, export.labels, classes, mpp=mpp, **_how_outlined(export))


def _ome_zarr(path: Path, export: Export) -> None:
    picture, name = export.raster.overview(_OVERLAY_SIDE), Path(export.made.identity["slide"]["file"]).stem
    classes = export.made.vocabulary.classes
    write_ome_zarr(path, export.labels, export.raster.mpp, classes, picture=picture, name=name)


def _dicom_seg(path: Path, export: Export) -> None:
    made = export.made
    said = {"slide": made.identity["slide"], "mpp": export.raster.mpp}
    model = str(made.identity["model"].get("digest") or made.identity["model"].get("weights_md5", ""))
    write_dicom_seg(path, export.labels, made.vocabulary, slide=export.slide, identity=said, model=model)


def _label_map(path: Path, export: Export) -> None:
    write_label_pyramid(path, export.labels, export.raster.mpp, export.made.vocabulary.palette)


def _probabilities(path: Path, export: Export) -> None:
    channels = [(item.name, item.color) for item in export.made.vocabulary.classes]
    write_probability_pyramid(path, export.probabilities, export.raster.mpp, channels)


def _confidence(path: Path, export: Export) -> Figures:
    """Write the band, and give back its mean over each class, 0..1, None of a class that is nowhere."""
    if export.certainty is None:
        raise ValueError("a map without confidence")
    write_label_pyramid(path, export.certainty, export.raster.mpp, ramp(), "Confidence")
    codes = export.made.vocabulary.codes
    counts, sums = np.zeros((2, 256))
    for rows in export.bands():
        labels, values = export.labels[rows].ravel(), export.certainty[rows].ravel()
        counts += np.bincount(labels, minlength=256)
        sums += np.bincount(labels, share_of(np.maximum(values, NONE + 1).astype(np.float64)), 256)
    means = [sums[index] / counts[index] if counts[index] else None for index in range(len(codes))]
    return {code: {"confidence": mean} for code, mean in zip(codes, means, strict=True)}


def _overlay(path: Path, export: Export) -> None:
    raster, title = export.raster, Path(export.made.identity["slide"]["file"]).stem
    picture = raster.overview(_OVERLAY_SIDE)
    mpp = raster.mpp * raster.size[0] / picture.shape[1]
    shown = export.made.vocabulary.classes, export.figures(), title
    warning = (export.made.appearance or {}).get("warning")
    marks = {} if export.artefacts is None else artefacts_on(picture.shape[:2], export.artefacts, raster.bounds)
    overlay = draw_overlay(picture, export.labels, *shown, mpp=mpp, warning=warning, marks=marks)
    overlay.save(path, compress_level=1)  # a tenth larger, and several times as fast


OUTPUTS = (
    Output(OUTLINES, _outlines, wanted=lambda parameters: parameters.geojson == "plain", aside=True),
    Output(OUTLINES_GZ, _outlines, wanted=lambda parameters: parameters.geojson == "gz", aside=True),
    Output(POLYGONS, _polygons, wanted=lambda parameters: parameters.geoparquet, aside=True),
    Output(LABELS_ZARR, _ome_zarr, wanted=lambda parameters: parameters.ome_zarr),
    Output(DICOM_SEG, _dicom_seg, wanted=lambda parameters: parameters.dicom_seg, check=check_can_write),
    Output(LABEL_MAP, _label_map),
    Output(PROBABILITIES, _probabilities, wanted=lambda parameters: parameters.probabilities),
    Output(CONFIDENCE, _confidence, wanted=lambda parameters: parameters.confidence),
    Output(OVERLAY, _overlay),
)
