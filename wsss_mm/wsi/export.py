"""What people open, made of a slide's map: label pyramid, annotations, figures and a picture. No network is asked."""

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from wsss_mm.errors import InputError
from wsss_mm.files import replace_folder, rounded
from wsss_mm.formats import DamagedError, OlderError, read_object, write_object
from wsss_mm.places import SLIDE_SUMMARY, SUMMARY
from wsss_mm.slide_parameters import Parameters, as_recorded
from wsss_mm.slides.artefacts import Artefacts, find_artefacts, is_affordable
from wsss_mm.slides.pyramid import RowMap
from wsss_mm.slides.roi import read_region
from wsss_mm.wsi.certainty import Sure
from wsss_mm.wsi.holes import fill_holes
from wsss_mm.wsi.job import Job
from wsss_mm.wsi.outputs import OUTPUTS, Export, check_outputs, write_outputs
from wsss_mm.wsi.partial import partial_folder
from wsss_mm.wsi.raster import Raster
from wsss_mm.wsi.rawmap import OnTissue, RawMap
from wsss_mm.wsi.runs import bands
from wsss_mm.wsi.slidemap import SlideMap, identity_of, opened, stored
from wsss_mm.wsi.summary import artefact_figures, tumour_stroma_ratio

logger = logging.getLogger(__name__)


def export_slide(job: Job, maps: Path, parameters: Parameters, *, skip_done: bool = False) -> dict[str, Any]:
    """Write what `wsss_mm.wsi.segment.segment_slide` writes, of a map that lies in `maps`, in a folder of its slide.

    Returns:
        The content of summary.json.

    Raises:
        InputError: there is no map, it is of another slide or of other parameters, the slide does not open, the disk is
            full, or another process is at work on the same folder.
    """
    check_outputs(parameters)
    with stored(maps / job.slide_id) as made, opened(job, made.identity["mpp"]) as raster:
        of_map = parameters.deciding("map")
        identity = identity_of(job, raster, made.identity["model"], of_map)
        known, said = rounded(identity), rounded(dict(made.identity))
        said["parameters"] = as_recorded(of_map, said["parameters"])
        if other := [key for key, value in said.items() if known[key] != value]:
            raise InputError(
                f"{maps / job.slide_id}: the map is of another {', '.join(other)}; make it again: dvc repro"
            )
        if skip_done and (done := finished(job.folder, identity, parameters)) is not None:
            logger.info("%s: done before, skipped", job.path)
            return done
        with partial_folder(job.folder) as work:
            with _unpacked(work, made) as unpacked:
                write_results(work, job, unpacked, raster, parameters)
            deliver(work, job.folder, parameters)
    return read_object(job.folder / SUMMARY, SLIDE_SUMMARY)


def finished(folder: Path, identity: Mapping[str, Any], parameters: Parameters) -> dict[str, Any] | None:
    """Summary of a complete folder made of the same things, none of which was unreadable: a good copy may have come."""
    if not all((folder / name).exists() for name in _files(parameters)):
        return None
    wanted = rounded(dict(identity) | {"parameters": parameters.recorded()})
    try:
        summary = read_object(folder / SUMMARY, SLIDE_SUMMARY)
        model = summary["model"]  # whose name in a registry does not matter
        found = {key: summary.get(key) for key in wanted} | {"model": {key: model.get(key) for key in wanted["model"]}}
        found["parameters"] = as_recorded(wanted["parameters"], summary["parameters"])
        if summary["unreadable_share"] > 0:
            return None
    except (DamagedError, OlderError, TypeError, KeyError, AttributeError):
        return None
    return summary if found == wanted else None


def write_results(
    work: Path,
    job: Job,
    made: SlideMap,
    raster: Raster,
    parameters: Parameters,
    *,
    registered: Mapping[str, str] | None = None,
) -> None:
    """Write all files of a slide's results.

    Args:
        work: the folder.
        job: the slide.
        made: its map, whose probabilities are taken by any rows.
        raster: the slide at the map's resolution.
        parameters: how.
        registered: what the registry calls the model (name, version, alias), for the summary.
    """
    artefacts = _artefacts(job)
    with _filled(work, made, parameters) as filled:
        shown = [OnTissue(item, filled) for item in made.probabilities]
        certainty = None if made.certainty is None else OnTissue(made.certainty, filled)
        labels = filled
        if parameters.unsure_below != "off" and made.certainty is not None:
            labels = Sure(filled, made.certainty, parameters.unsure_below)
        export = Export(made, filled, labels, shown, certainty, raster, parameters, artefacts, job.path)
        classes = write_outputs(work, export)
    tissue = int(export.counts.sum())
    if not tissue:
        name = made.identity["slide"]["file"]
        logger.warning("%s: no tissue below grey %d; the result is empty", name, parameters.background_grey)
    figures = {
        "classes": classes,
        "tissue_area_mm2": tissue * raster.mpp**2 / 1e6,
        "tumour_stroma_ratio": tumour_stroma_ratio(classes, made.vocabulary.classes),
        "unreadable_share": made.unreadable / labels.size,
        "appearance": made.appearance,
        "artefacts": None if artefacts is None else artefact_figures(_inside(job, artefacts, raster), parameters),
    }
    model = dict(made.identity["model"]) | dict(registered or {})
    own = {"model": model, "parameters": parameters.recorded()}
    write_object(work / SUMMARY, SLIDE_SUMMARY, dict(made.identity) | figures | own)
    logger.info("%s: %.2f mm2 of tissue", job.slide_id, figures["tissue_area_mm2"])


def _artefacts(job: Job) -> Artefacts | None:
    """Pen, folds and blur of a slide, None where a part of it cannot be decoded or it has no small level."""
    with job.open() as slide:
        try:
            if is_affordable(slide):
                return find_artefacts(slide)
            logger.warning("%s: has no small level; pen, folds and blur are not measured", job.path)
        except InputError as error:
            logger.warning("%s; pen, folds and blur are not measured", error)
    return None


def _inside(job: Job, artefacts: Artefacts, raster: Raster) -> dict[str, float]:
    """mm2 by cause, in the region of interest."""
    if job.roi is None:
        return artefacts.areas()
    height, width = artefacts.tissue.shape
    region = read_region(job.roi, raster.bounds[:2])
    return artefacts.areas(region.mask((0, 0), (width, height), artefacts.scale))


def deliver(work: Path, folder: Path, parameters: Parameters) -> None:
    """Move finished results to their place."""
    files = _files(parameters)
    for name in (SUMMARY, *(item.file for item in OUTPUTS if item.file not in files)):
        _remove(folder / name)
    for name in files:
        if (work / name).is_dir():
            replace_folder(folder / name, work / name)
        else:
            (work / name).replace(folder / name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _files(parameters: Parameters) -> tuple[str, ...]:
    """Names of what is written, the summary last."""
    return (*(item.file for item in OUTPUTS if item.wanted(parameters)), SUMMARY)


@contextmanager
def _unpacked(work: Path, made: SlideMap) -> Iterator[SlideMap]:
    """A stored map whose further planes are taken by any rows, and not from top to bottom alone."""
    with ExitStack() as stack:

        def unpacked(name: str | int, plane: RowMap) -> RawMap:
            raw = stack.enter_context(RawMap(work / f"{name}.raw", (plane.shape[0], plane.shape[1])))
            for top, band in bands(plane):
                raw.write(top, band)
            return raw

        planes = [unpacked(index, plane) for index, plane in enumerate(made.probabilities)]
        certainty = None if made.certainty is None else unpacked("confidence", made.certainty)
        yield replace(made, probabilities=planes, certainty=certainty)


@contextmanager
def _filled(work: Path, made: SlideMap, parameters: Parameters) -> Iterator[RawMap]:
    """The finished map without its small holes, in a file of its own: a kill leaves the rows as they were noted.

    A window that holds no tissue is not computed; what is as large as that may not have been seen, and is no hole.
    """
    largest = min(parameters.min_hole / made.identity["mpp"] ** 2, parameters.window**2)
    height, width = made.labels.shape
    with RawMap(work / "filled.raw", (height, width)) as filled:
        fill_holes(made.labels, filled, largest)
        yield filled
