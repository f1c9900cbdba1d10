"""A slide becomes a folder: label pyramid, annotations, figures and a picture."""

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt
import tifffile

from wsss_mm.formats import read_object
from wsss_mm.places import LABEL_MAP, SLIDE_SUMMARY, SUMMARY
from wsss_mm.slide_parameters import Parameters
from wsss_mm.wsi.export import deliver, finished, write_results
from wsss_mm.wsi.job import Job
from wsss_mm.wsi.mapping import Progress, choose_pixels, computed, named
from wsss_mm.wsi.model import SlideModel
from wsss_mm.wsi.outputs import check_outputs
from wsss_mm.wsi.partial import partial_folder
from wsss_mm.wsi.slidemap import identity_of, opened

logger = logging.getLogger(__name__)


Labels = npt.NDArray[np.uint8]


@overload
def segment_slide(
    slide_path: Path | str,
    model: SlideModel | Path | str,
    out_dir: Path | str | None = None,
    *,
    return_map: Literal[False] = False,
    **options: Any,
) -> dict[str, Any]: ...


@overload
def segment_slide(
    slide_path: Path | str,
    model: SlideModel | Path | str,
    out_dir: Path | str | None = None,
    *,
    return_map: Literal[True],
    **options: Any,
) -> tuple[dict[str, Any], Labels]: ...


def segment_slide(
    slide_path: Path | str,
    model: SlideModel | Path | str,
    out_dir: Path | str | None = None,
    *,
    mpp_override: float | None = None,
    force_mpp: bool = True,
    roi: Path | str | None = None,
    registered: Mapping[str, str] | None = None,
    skip_done: bool = False,
    progress: Progress = True,
    return_map: bool = False,
    **parameters: Any,
) -> dict[str, Any] | tuple[dict[str, Any], Labels]:
    """Segment a slide (METHOD.md section 6) and write the result.

    `out_dir` gets segmentation.tif (pyramidal label map at the model's mpp), segmentation.geojson (QuPath),
    overlay.png and summary.json, and what else `parameters` ask for, see `wsss_mm.wsi.outputs`: with `probabilities`
    probabilities.ome.tif, a channel for each class, uint8. They appear together when all is done; a slide without
    tissue gives a valid, empty result. The map covers the slide's bounds, as QuPath shows them.

    A call that was killed is taken up by the next with the same slide, model and parameters of the map, at the row
    where it was: what is half done lies in a hidden folder of `out_dir`. A call that fails leaves nothing behind.

    Args:
        slide_path: any format OpenSlide opens.
        model: the segmenter, or its folder.
        out_dir: folder of this slide's results; without one they are written into a temporary folder and removed.
        mpp_override: um/px at level 0, for slides that do not say or say wrong.
        force_mpp: whether it stands where the slide says otherwise; if not, such a slide is refused.
        roi: QuPath GeoJSON; what lies outside its polygons is not computed and is ignored in the map.
        registered: what the registry calls the model (name, version, alias), for the summary.
        skip_done: leave a folder as it is whose summary names the same slide, model and parameters.
        progress: whether a bar is shown; or a function of two numbers, the rows of the map that are done and all of
            them, called in this thread as rows are done. What it raises ends the call.
        return_map: give the label map back, too.
        **parameters: any of `Parameters`, such as `window=512`.

    Returns:
        The content of summary.json. With `return_map` that and the label map at the model's mpp, (rows, columns) uint8:
        0..C-1 in the order of the classes and 255, `wsss_mm.vocabulary.IGNORE`, for background. It is what
        segmentation.tif holds, a byte a pixel.

    Raises:
        InputError: the slide does not open, says no mpp, would give too large a map, or is mostly unreadable; the model
            does not fit; the disk is full; or another process is at work on the same folder.

    Examples:
        With a function of one's own instead of a model that was trained: what is dark is the first class. Plain colours
        would be taken for pen.

        >>> import numpy as np
        >>> from wsss_mm.slides.phantom.aperio import write_aperio
        >>> from wsss_mm.vocabulary import get_vocabulary
        >>> slide = np.full((512, 512, 3), (225, 160, 200), np.uint8)
        >>> slide[:, :256] = (120, 50, 130)
        >>> write_aperio(Path("slide.tif"), slide, mpp=1.0, magnification=10)
        >>> def predict(windows):
        ...     dark = (windows.mean(axis=3) < 150).astype(np.float32)
        ...     return np.stack([dark, 1 - dark, 0 * dark, 0 * dark], axis=1)
        >>> model = SlideModel(predict, get_vocabulary("lung"), mpp=1.0, weights_md5="")
        >>> summary = segment_slide("slide.tif", model, "results", progress=False, leave_out_pen=False)
        >>> {code: round(found["share"], 2) for code, found in summary["classes"].items()}
        {'LYM': 0.0, 'NEC': 0.5, 'TAS': 0.0, 'TE': 0.5}
    """
    slide = Path(slide_path)
    loaded = model if isinstance(model, SlideModel) else SlideModel.from_folder(model)
    with _results(out_dir) as folder:
        job = Job(slide.stem, slide, folder, mpp_override, None if roi is None else Path(roi), force_mpp)
        more = {"registered": registered, "skip_done": skip_done, "progress": progress}
        summary = segment(job, loaded, Parameters(**parameters), **more)
        return (summary, tifffile.imread(folder / LABEL_MAP, key=0)) if return_map else summary


@contextmanager
def _results(out_dir: Path | str | None) -> Iterator[Path]:
    """The folder of a slide's results, or one that is there for this block alone."""
    if out_dir is not None:
        yield Path(out_dir)
        return
    with tempfile.TemporaryDirectory(prefix="wsss_mm-") as folder:
        yield Path(folder) / "slide"


def segment(
    job: Job,
    model: SlideModel,
    parameters: Parameters,
    *,
    registered: Mapping[str, str] | None = None,
    skip_done: bool = False,
    progress: Progress = True,
) -> dict[str, Any]:
    """See `segment_slide`; the map goes into the results without being stored by itself."""
    check_outputs(parameters)
    job = replace(job, icc=model.icc)  # as the slides that the model learnt from
    with opened(job, model.mpp, parameters.readers) as raster:
        identity = identity_of(job, raster, named(model), parameters.deciding("map"))
        if skip_done and (done := finished(job.folder, identity, parameters)) is not None:
            logger.info("%s: done before, skipped", job.path)
            return done
        choose_pixels(job, raster, parameters)
        with partial_folder(job.folder) as work:
            with computed(work, job, raster, model, parameters, progress=progress) as made:
                write_results(work, job, made, raster, parameters, registered=registered)
            deliver(work, job.folder, parameters)
    return read_object(job.folder / SUMMARY, SLIDE_SUMMARY)
