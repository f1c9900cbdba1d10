"""What the network sees on a slide, row by row: the map before small holes are filled.

Nothing that is made of a map (holes, polygons, pictures, figures) is decided here, so all of it can be made again
without the network.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from wsss_mm.errors import InputError
from wsss_mm.formats import read_object
from wsss_mm.places import MAP, SLIDE_MAP
from wsss_mm.places import MAP_NOTES as NOTES
from wsss_mm.slide_parameters import Parameters
from wsss_mm.slides import SlideReader
from wsss_mm.slides.artefacts import find_artefacts, is_affordable
from wsss_mm.slides.roi import read_region
from wsss_mm.slides.stain import recolour, stain_of_slide
from wsss_mm.slides.tissue import TissueMask, find_tissue, find_work
from wsss_mm.wsi.certainty import confidence
from wsss_mm.wsi.engine import Predict, Rows, segment_rows, well_filled
from wsss_mm.wsi.holes import MOST_CLASSES, covered
from wsss_mm.wsi.job import Job
from wsss_mm.wsi.journal import MapJournal
from wsss_mm.wsi.likeness import compare_slide
from wsss_mm.wsi.partial import partial_folder
from wsss_mm.wsi.raster import Raster
from wsss_mm.wsi.rawmap import RawMap, write_probabilities
from wsss_mm.wsi.slidemap import SlideMap, identity_of, opened, store, stored_already
from wsss_mm.wsi.work_mask import WorkMask

if TYPE_CHECKING:
    from wsss_mm.wsi.model import SlideModel

logger = logging.getLogger(__name__)

Progress = bool | Callable[[int, int], None]
"""Whether a bar is shown; or what is told, after each rows that are done, how many are and how many there are."""

_LEAST_REGION = 100.0  # um2


def named(model: "SlideModel") -> dict[str, Any]:
    """What tells a model from others, as the identity of a map has it."""
    return {
        "weights_md5": model.weights_md5,
        "digest": model.digest,
        "classes": list(model.vocabulary.codes),
        "precision": model.precision,
    }


@contextmanager
def computed(
    work: Path, job: Job, raster: Raster, model: "SlideModel", parameters: Parameters, *, progress: Progress = True
) -> Iterator[SlideMap]:
    """Compute a map, or what of it an earlier process that was killed has not.

    Args:
        work: folder of the half-finished map.
        job: the slide.
        raster: the slide, at the model's mpp.
        model: the segmenter.
        parameters: how.
        progress: see `Progress`.

    Raises:
        InputError: the slide is mostly unreadable, or the model does not fit.
    """
    if len(model.classes) > MOST_CLASSES:
        raise InputError(f"model: has {len(model.classes)} classes, of which a slide's map holds {MOST_CLASSES}")
    identity = identity_of(job, raster, named(model), parameters.deciding("map"))
    found = compare_slide(job, raster, model.appearance)
    if found is not None and found["warning"]:
        logger.warning("%s: %s", identity["slide"]["file"], found["warning"])
    with ExitStack() as stack:

        def raw(item: str | int) -> RawMap:
            return stack.enter_context(RawMap(work / f"{item}.raw", raster.size[::-1]))

        maps = _Maps(
            raw("labels"),
            [raw(index) for index in range(len(model.classes) if parameters.probabilities else 0)],
            raw("confidence") if parameters.confidence else None,
        )
        how = {"parameters": parameters, "identity": identity, "progress": progress}
        _write_map(work, maps, raster, model, predict=_predict(job, model), **how)
        yield SlideMap(
            maps.labels,
            maps.of_classes,
            model.vocabulary,
            identity,
            raster.unreadable,
            certainty=maps.certainty,
            appearance=found,
        )


def map_slide(
    job: Job, model: "SlideModel", parameters: Parameters, *, skip_done: bool = False, progress: Progress = True
) -> dict[str, Any]:
    """Store the map of a slide in the folder of the job, see `wsss_mm.wsi.slidemap.stored`.

    A call that was killed is taken up by the next, see `wsss_mm.wsi.segment.segment_slide`.

    Returns:
        The notes beside it.

    Raises:
        InputError: likewise.
    """
    job = replace(job, icc=model.icc)
    with opened(job, model.mpp, parameters.readers) as raster:
        identity = identity_of(job, raster, named(model), parameters.deciding("map"))
        if skip_done and (done := stored_already(job.folder, identity)) is not None:
            logger.info("%s: done before, skipped", job.path)
            return done
        choose_pixels(job, raster, parameters)
        with partial_folder(job.folder) as work:
            with computed(work, job, raster, model, parameters, progress=progress) as made:
                store(work, made)
            (job.folder / NOTES).unlink(missing_ok=True)
            for name in (MAP, NOTES):
                (work / name).replace(job.folder / name)
    return read_object(job.folder / NOTES, SLIDE_MAP)


def _predict(job: Job, model: "SlideModel") -> Predict:
    """The network, which is shown a slide as if it were stained as those it learnt from.

    How the slide is stained is told once, by its tissue, so that all its windows are changed alike.
    """
    if model.stain is None:
        return model.predict
    with job.open() as slide:
        source = stain_of_slide(slide, model.stain.method, model.mpp)
    if source is None:
        logger.warning("%s: has too little tissue to tell its stains, and is taken as it is", job.path.name)
        return model.predict
    change = recolour(source, model.stain)
    return lambda images: model.predict(change(images))


def choose_pixels(job: Job, raster: Raster, parameters: Parameters) -> None:
    """Tell a raster which of its pixels are to be segmented, by the tissue on a thumbnail and the region of interest.

    Raises:
        InputError: the region is none, or lies elsewhere.
    """
    raster.reach = parameters.window
    raster.wanted = _wanted(job, raster, parameters)


def _wanted(job: Job, raster: Raster, parameters: Parameters) -> WorkMask | None:
    """Where the slide is to be segmented, None for everywhere."""
    tissue, origin = None, raster.bounds[:2]
    if parameters.tissue_mask or parameters.left_out:
        with job.open() as slide:
            try:
                tissue = _worth_a_look(slide, parameters)
            except InputError as error:  # the pixels themselves will tell
                logger.warning("%s; looking at every window instead", error)
    region = None if job.roi is None else read_region(job.roi, origin)
    if region is not None:
        area = region.share(raster.bounds)[0] * raster.bounds[2] * raster.bounds[3] * raster.slide_mpp**2
        if not area:
            raise InputError(f"{job.roi}: no polygon lies on {job.path}; give the GeoJSON that was drawn on this slide")
        if area < _LEAST_REGION:
            message = "%s: what it outlines on %s is %.2g um2, less than a cell; are its coordinates level-0 px?"
            logger.warning(message, job.roi, job.path.name, area)
    if tissue is None and region is None:
        return None
    return WorkMask(raster.size, origin, raster.factor, tissue, region)


def _worth_a_look(slide: SlideReader, parameters: Parameters) -> TissueMask | None:
    """Where there may be tissue that is not left out, None for everywhere."""
    pen = parameters.leave_out_pen
    work = find_work(slide, parameters.background_grey, leave_out_pen=pen) if parameters.tissue_mask else None
    causes = parameters.left_out
    if work is None and causes and not is_affordable(slide):
        logger.warning("%s: has no small level; %s is not looked for and not left out", slide.path, ", ".join(causes))
        return None
    if causes == ("pen",):
        found = find_tissue(slide) if work is None else work
        out, scale = found.pen, found.scale
    elif causes:
        artefacts = find_artefacts(slide)
        out, scale = (
            np.logical_or.reduce([artefacts.masks[cause] for cause in causes]),
            (artefacts.scale, artefacts.scale),
        )
    else:
        return work
    if out is None or not out.any():
        return work
    return TissueMask(~out if work is None else work.mask & ~out, scale)


@dataclass(frozen=True)
class _Maps:
    """What is written of a slide as it is seen; further maps than the labels only if they are wanted."""

    labels: RawMap
    of_classes: Sequence[RawMap]
    certainty: RawMap | None

    @property
    def all(self) -> list[RawMap]:
        return [self.labels, *self.of_classes, *(() if self.certainty is None else (self.certainty,))]

    def write(self, rows: Rows, temperature: float) -> None:
        """Write finished rows, and wait until they are on the disk."""
        self.labels.write(rows.start, covered(rows.labels, rows.beneath))
        if self.of_classes:
            write_probabilities(self.of_classes, rows)
        if self.certainty is not None:
            self.certainty.write(rows.start, confidence(rows.probabilities, temperature))
        for item in self.all:
            item.sync()


def _write_map(
    work: Path,
    maps: _Maps,
    raster: Raster,
    model: "SlideModel",
    *,
    predict: Predict,
    parameters: Parameters,
    identity: dict[str, Any],
    progress: Progress,
) -> None:
    """Stream the label map, and what else there are maps for, to their files.

    Goes on where an earlier process was killed.
    """
    resume, name = None, identity["slide"]["file"]
    journal = MapJournal(work, identity)
    if (noted := journal.read()) is not None and min(item.rows_written for item in maps.all) >= noted[0].row:
        resume, raster.lost = noted
        logger.info("%s: going on at row %d of %d", name, resume.row, raster.size[1])
    quiet = {} if progress is True else {"disable": True}  # `disable=False` would overrule TQDM_DISABLE
    done = resume.row if resume else 0
    with tqdm(total=raster.size[1], initial=done, desc=name, unit="row", **quiet) as bar:
        for rows in segment_rows(
            raster,
            predict,
            len(model.classes),
            parameters,
            batch_size=_batch(model, raster, parameters),
            full_batches=model.full_batches,
            ahead=2 if parameters.readers else 0,
            at_once=model.at_once,
            resume=resume,
        ):
            maps.write(rows, model.temperature)
            journal.write(rows, dict(raster.lost))  # a thread that reads ahead adds to it
            bar.update(len(rows.labels))
            if callable(progress):
                progress(rows.stop, raster.size[1])
    raster.check_readable(name)


def _batch(model: "SlideModel", raster: Raster, parameters: Parameters) -> int:
    """Windows a forward pass: what is given, else what fits into memory and is filled well."""
    if parameters.batch_size != "auto":
        return parameters.batch_size
    largest = model.largest_batch(parameters.window)
    return well_filled(largest, raster.size[0], parameters) if model.full_batches else largest
