"""A slide becomes a folder: label pyramid, annotations, figures and a picture."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from wsss_mm.errors import InputError
from wsss_mm.files import digest, rounded
from wsss_mm.formats import DamagedError, OlderError, read_object, write_object
from wsss_mm.names import shown_name
from wsss_mm.places import PROBABILITIES, SLIDE_SUMMARY, SUMMARY
from wsss_mm.places import SLIDE_FILES as FILES
from wsss_mm.wsi.engine import segment_rows
from wsss_mm.wsi.geojson import write_geojson
from wsss_mm.wsi.holes import covered, fill_holes
from wsss_mm.wsi.journal import Journal
from wsss_mm.wsi.model import SlideModel
from wsss_mm.wsi.overlay import draw_overlay
from wsss_mm.wsi.parameters import Parameters, Weighting
from wsss_mm.wsi.raster import Raster
from wsss_mm.wsi.rawmap import OnTissue, RawMap, write_probabilities
from wsss_mm.wsi.summary import class_figures, polygon_figures, tumour_stroma_ratio
from wsss_mm.wsi.wanted import Wanted
from wsss_mm.wsi.workplace import workplace

logger = logging.getLogger(__name__)

_OVERLAY_SIDE = 1600
_LEAST_REGION = 100.0  # um2
_COUNTED = 1 << 21  # px; counting them takes eight bytes each


def segment_slide(
    slide_path: Path | str,
    model: SlideModel | Path | str,
    out_dir: Path | str,
    *,
    mpp_override: float | None = None,
    force_mpp: bool = True,
    window: int = Parameters.window,
    overlap: float = Parameters.overlap,
    weighting: Weighting = Parameters.weighting,
    batch_size: int | Literal["auto"] = "auto",
    readers: int = 2,
    background_grey: int = Parameters.background_grey,
    tissue_mask: bool = Parameters.tissue_mask,
    min_hole: float = Parameters.min_hole,
    min_island: float = Parameters.min_island,
    probabilities: bool = Parameters.probabilities,
    roi: Path | str | None = None,
    registered: Mapping[str, str] | None = None,
    skip_done: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Segment a slide (METHOD.md section 6) and write the result.

    `out_dir` gets segmentation.tif (pyramidal label map at the model's mpp), segmentation.geojson (QuPath),
    overlay.png and summary.json. They appear together when all is done; a slide without tissue gives a valid, empty
    result. The map covers the slide's bounds, as QuPath shows them.

    A call that was killed is taken up by the next with the same slide, model and parameters, at the row where it was:
    what is half done lies in a hidden folder of `out_dir`. A call that fails leaves nothing behind.

    Args:
        slide_path: any format OpenSlide opens.
        model: the segmenter, or its folder.
        out_dir: folder of this slide's results.
        mpp_override: um/px at level 0, for slides that do not say or say wrong.
        force_mpp: whether it stands where the slide says otherwise; if not, such a slide is refused.
        window: see `Parameters`, as are `overlap`, `weighting`, `background_grey`, `tissue_mask`, `min_hole`,
            `min_island` and `probabilities`.
        overlap: see `Parameters`.
        weighting: see `Parameters`.
        batch_size: windows a forward pass, or as many as fit into memory. On a CPU the result does not depend on it,
            on a GPU only within the network's rounding.
        readers: threads that read the slide ahead of the network; with 0 nothing runs ahead.
        background_grey: see `Parameters`.
        tissue_mask: see `Parameters`.
        min_hole: see `Parameters`.
        min_island: see `Parameters`.
        probabilities: see `Parameters`; probabilities.ome.tif then holds a channel for each class, uint8.
        roi: QuPath GeoJSON; what lies outside its polygons is not computed and is ignored in the map.
        registered: what the registry calls the model (name, version, alias), for the summary.
        skip_done: leave a folder as it is whose summary names the same slide, model and parameters.
        progress: show a progress bar.

    Returns:
        The content of summary.json.

    Raises:
        InputError: the slide does not open, says no mpp, would give too large a map, or is mostly unreadable; the model
            does not fit; the disk is full; or another process is at work on the same folder.
    """
    from wsss_mm.slides import open_slide

    slide_path, out_dir = Path(slide_path), Path(out_dir)
    name = shown_name(slide_path.name)
    model = model if isinstance(model, SlideModel) else SlideModel.from_folder(model)
    parameters = Parameters(
        window, overlap, weighting, background_grey, tissue_mask, min_hole, min_island, probabilities
    )
    raster = Raster(lambda: open_slide(slide_path, mpp_override, force=force_mpp), model.mpp, readers)
    try:
        raster.check_size(slide_path)
        identity = _identity(slide_path, raster, model, parameters, roi)
        if skip_done and (done := _finished(out_dir, identity)) is not None:
            logger.info("%s: done before, skipped", slide_path)
            return done
        raster.reach = window
        raster.wanted = _wanted(slide_path, raster, parameters, mpp_override, roi)
        with workplace(out_dir) as work:
            with _maps(work, raster, len(model.classes) if probabilities else 0) as (labels, of_classes):
                _write_map(
                    labels,
                    of_classes,
                    raster,
                    model,
                    parameters,
                    journal=Journal(work, identity),
                    batch_size=model.largest_batch(window) if batch_size == "auto" else batch_size,
                    ahead=2 if readers else 0,
                    name=name,
                    progress=progress,
                )
                with _filled(labels, parameters, model.mpp) as final:
                    shown = [OnTissue(item, final) for item in of_classes]
                    figures = _export(work, raster, model, parameters, labels=final, of_classes=shown, name=name)
            named = identity["model"] | dict(registered or {})
            write_object(work / SUMMARY, SLIDE_SUMMARY, identity | figures | {"model": named})
            _deliver(work, out_dir, parameters)
    finally:
        raster.close()
    return read_object(out_dir / SUMMARY, SLIDE_SUMMARY)


@contextmanager
def _maps(work: Path, raster: Raster, classes: int) -> Iterator[tuple[RawMap, list[RawMap]]]:
    """The label map and those of `classes` probabilities, open."""
    with ExitStack() as stack:
        labels, *of_classes = (
            stack.enter_context(RawMap(work / f"{item}.raw", raster.size[::-1])) for item in ("labels", *range(classes))
        )
        yield labels, of_classes


@contextmanager
def _filled(labels: RawMap, parameters: Parameters, mpp: float) -> Iterator[RawMap]:
    """The finished map without its small holes, in a file of its own: a kill leaves the rows as they were noted.

    A window that holds no tissue is not computed; what is as large as that may not have been seen, and is no hole.
    """
    if not parameters.min_hole:
        yield labels
        return
    with RawMap(labels.path.with_name("filled.raw"), labels.shape) as filled:
        fill_holes(labels, filled, min(parameters.min_hole / mpp**2, parameters.window**2))
        yield filled


def _wanted(
    slide_path: Path, raster: Raster, parameters: Parameters, mpp_override: float | None, roi: Path | str | None
) -> Wanted | None:
    """Where the slide is to be segmented, None for everywhere."""
    from wsss_mm.slides import open_slide
    from wsss_mm.slides.roi import read_region
    from wsss_mm.slides.tissue import find_work

    tissue, origin = None, raster.bounds[:2]
    if parameters.tissue_mask:
        with open_slide(slide_path, mpp_override) as slide:
            try:
                tissue = find_work(slide, parameters.background_grey)
            except InputError as error:  # the pixels themselves will tell
                logger.warning("%s; looking at every window instead", error)
    region = None if roi is None else read_region(roi, origin)
    if region is not None:
        area = region.share(raster.bounds)[0] * raster.bounds[2] * raster.bounds[3] * raster.slide_mpp**2
        if not area:
            raise InputError(f"{roi}: no polygon lies on {slide_path}; give the GeoJSON that was drawn on this slide")
        if area < _LEAST_REGION:
            message = "%s: what it outlines on %s is %.2g um2, less than a cell; are its coordinates level-0 px?"
            logger.warning(message, roi, slide_path.name, area)
    if tissue is None and region is None:
        return None
    return Wanted(raster.size, origin, raster.factor, tissue, region)


def _identity(
    slide_path: Path, raster: Raster, model: SlideModel, parameters: Parameters, roi: Path | str | None
) -> dict[str, Any]:
    """What the result depends on; no path and no time, so that equal work gives equal bytes."""
    return {
        "slide": {
            "file": shown_name(slide_path.name),
            "bytes": slide_path.stat().st_size,
            "quickhash": raster.quickhash,
            "mpp": raster.slide_mpp,
            "bounds": list(raster.bounds),
        },
        "mpp": model.mpp,
        "size": list(raster.size),
        "model": {
            "weights_md5": model.weights_md5,
            "digest": model.digest,
            "classes": [item.code for item in model.classes],
            "precision": model.precision,
        },
        "parameters": vars(parameters),
        "roi": None if roi is None else {"file": Path(roi).name, "sha256": _digest(Path(roi))},
    }


def _finished(out_dir: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Summary of a complete folder made of the same things, none of which was unreadable: a good copy may have come."""
    files = _files(identity["parameters"]["probabilities"])
    if not all((out_dir / name).is_file() for name in files):
        return None
    wanted = rounded(identity)
    try:
        summary = read_object(out_dir / SUMMARY, SLIDE_SUMMARY)
        model = summary["model"]  # whose name in a registry does not matter
        found = {key: summary.get(key) for key in wanted} | {"model": {key: model.get(key) for key in wanted["model"]}}
        if summary["unreadable_share"] > 0:
            return None
    except (DamagedError, OlderError, TypeError, KeyError, AttributeError):
        return None
    return summary if found == wanted else None


def _digest(path: Path) -> str:
    try:
        return digest(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a GeoJSON file that QuPath exported") from None


def _deliver(work: Path, out_dir: Path, parameters: Parameters) -> None:
    for name in (SUMMARY, PROBABILITIES):
        (out_dir / name).unlink(missing_ok=True)
    for name in _files(parameters.probabilities):
        (work / name).replace(out_dir / name)


def _files(probabilities: bool) -> tuple[str, ...]:
    return (PROBABILITIES, *FILES) if probabilities else FILES


def _write_map(
    labels: RawMap,
    of_classes: Sequence[RawMap],
    raster: Raster,
    model: SlideModel,
    parameters: Parameters,
    *,
    journal: Journal,
    batch_size: int,
    ahead: int,
    name: str,
    progress: bool,
) -> None:
    """Stream the label map, and the classes' probabilities if there are maps for them, to their files.

    Goes on where an earlier process was killed.
    """
    resume = None
    maps = [labels, *of_classes]
    if (noted := journal.read()) is not None and min(item.rows_written for item in maps) >= noted[0].row:
        resume, raster.lost = noted
        logger.info("%s: going on at row %d of %d", name, resume.row, raster.size[1])
    quiet = {} if progress else {"disable": True}  # `disable=False` would overrule TQDM_DISABLE
    done = resume.row if resume else 0
    with tqdm(total=raster.size[1], initial=done, desc=name, unit="row", **quiet) as bar:
        for rows in segment_rows(
            raster,
            model.predict,
            len(model.classes),
            window=parameters.window,
            overlap=parameters.overlap,
            weighting=parameters.weighting,
            batch_size=batch_size,
            full_batches=model.full_batches,
            background_grey=parameters.background_grey,
            ahead=ahead,
            at_once=model.at_once,
            resume=resume,
        ):
            labels.write(rows.start, covered(rows.labels, rows.beneath) if parameters.min_hole else rows.labels)
            if of_classes:
                write_probabilities(of_classes, rows)
            for item in maps:
                item.sync()
            journal.write(rows, dict(raster.lost))  # a thread that reads ahead adds to it
            bar.update(len(rows.labels))
    raster.check_readable(name)


def _export(
    work: Path,
    raster: Raster,
    model: SlideModel,
    parameters: Parameters,
    *,
    labels: RawMap,
    of_classes: Sequence[OnTissue],
    name: str,
) -> dict[str, Any]:
    """Write everything but the summary, and give back its figures."""
    from wsss_mm.slides.pyramid import write_label_pyramid, write_probability_pyramid

    with ThreadPoolExecutor(1, "outlines") as pool:
        outlines = pool.submit(
            write_geojson,
            work / "segmentation.geojson",
            labels,
            model.classes,
            factor=raster.factor,
            limits=raster.bounds[2:],
            min_area=parameters.min_island / model.mpp**2,
        )
        write_label_pyramid(work / "segmentation.tif", labels, model.mpp, model.vocabulary.palette)
        if of_classes:
            channels = [(item.name, item.color) for item in model.classes]
            write_probability_pyramid(work / PROBABILITIES, of_classes, model.mpp, channels)
        counts = _count(labels)[: len(model.classes)]
        if not counts.sum():
            logger.warning("%s: no tissue below grey %d; the result is empty", name, parameters.background_grey)
        figures = class_figures(counts, model.classes, model.mpp)
        _draw(work / "overlay.png", raster, model, labels, figures, title=Path(name).stem)
    for code, written in outlines.result().items():
        figures[code] |= polygon_figures(written, model.mpp)
    return {
        "classes": figures,
        "tissue_area_mm2": int(counts.sum()) * model.mpp**2 / 1e6,
        "tumour_stroma_ratio": tumour_stroma_ratio(figures, model.classes),
        "unreadable_share": raster.unreadable / labels.size,
    }


def _count(labels: RawMap) -> np.ndarray:
    """Pixels of each value, (256,)."""
    rows = max(1, _COUNTED // labels.shape[1])
    bands = (labels[top : top + rows] for top in range(0, labels.shape[0], rows))
    return sum(np.bincount(band.ravel(), minlength=256) for band in bands)


def _draw(
    path: Path, raster: Raster, model: SlideModel, labels: RawMap, figures: dict[str, dict[str, Any]], *, title: str
) -> None:
    picture = raster.overview(_OVERLAY_SIDE)
    mpp = model.mpp * raster.size[0] / picture.shape[1]
    overlay = draw_overlay(picture, labels, model.classes, figures, title, mpp=mpp)
    overlay.save(path, compress_level=1)  # a tenth larger, and several times as fast
