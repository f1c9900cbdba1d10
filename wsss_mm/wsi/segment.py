"""A slide becomes a folder: label pyramid, annotations, figures and a picture."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from wsss_mm.files import read_json, rounded, write_json
from wsss_mm.patches.vocabulary import IGNORE_COLOR, TissueClass
from wsss_mm.wsi.engine import segment_rows
from wsss_mm.wsi.geojson import write_geojson
from wsss_mm.wsi.model import SlideModel
from wsss_mm.wsi.overlay import draw_overlay
from wsss_mm.wsi.raster import Raster
from wsss_mm.wsi.rawmap import RawMap, write_probabilities
from wsss_mm.wsi.summary import class_figures, tumour_stroma_ratio

logger = logging.getLogger(__name__)

SUMMARY = "summary.json"
FILES = ("segmentation.tif", "segmentation.geojson", "overlay.png", SUMMARY)
"""What a finished folder holds; the summary is written last, so a folder that has it is complete."""
PROBABILITIES = "probabilities.ome.tif"
"""What it holds besides if `Parameters.probabilities`."""

_OVERLAY_SIDE = 1600
_BAND = 256


@dataclass(frozen=True)
class Parameters:
    """How a slide is segmented; part of its summary.

    Attributes:
        window: side of the sliding window, px at the model's mpp.
        overlap: of neighbouring windows, share of their side, 0 <= overlap < 1.
        background_grey: slide pixels whose grey value exceeds it are background.
        min_island: um2, smaller regions stay in the map but not in the GeoJSON.
        probabilities: whether the probabilities of the classes are written too.
    """

    window: int = 224
    overlap: float = 0.5
    background_grey: int = 210
    min_island: float = 500.0
    probabilities: bool = False


def segment_slide(
    slide_path: Path | str,
    model: SlideModel | Path | str,
    out_dir: Path | str,
    *,
    mpp_override: float | None = None,
    window: int = 224,
    overlap: float = 0.5,
    batch_size: int = 16,
    background_grey: int = 210,
    min_island: float = 500.0,
    probabilities: bool = False,
    skip_done: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Segment a slide (METHOD.md section 6) and write the result.

    `out_dir` gets segmentation.tif (pyramidal label map at the model's mpp), segmentation.geojson (QuPath),
    overlay.png and summary.json. They appear together when all is done; a slide without tissue gives a valid, empty
    result. The map covers the slide's bounds, as QuPath shows them.

    Args:
        slide_path: any format OpenSlide opens.
        model: the segmenter, or its folder.
        out_dir: folder of this slide's results.
        mpp_override: um/px at level 0, for slides that do not say or say wrong.
        window: see `Parameters`, as are `overlap`, `background_grey`, `min_island` and `probabilities`.
        overlap: see `Parameters`.
        batch_size: windows a forward pass; the result does not depend on it.
        background_grey: see `Parameters`.
        min_island: see `Parameters`.
        probabilities: see `Parameters`; probabilities.ome.tif then holds a channel for each class, uint8.
        skip_done: leave a folder as it is whose summary names the same slide, model and parameters.
        progress: show a progress bar.

    Returns:
        The content of summary.json.

    Raises:
        InputError: the slide does not open, says no mpp, or is mostly unreadable; or the model does not fit.
    """
    from wsss_mm.slides import open_slide

    slide_path, out_dir = Path(slide_path), Path(out_dir)
    name = slide_path.name
    model = model if isinstance(model, SlideModel) else SlideModel.from_folder(model)
    parameters = Parameters(window, overlap, background_grey, min_island, probabilities)
    raster = Raster(lambda: open_slide(slide_path, mpp_override), model.mpp)
    try:
        identity = _identity(slide_path, raster, model, parameters)
        if skip_done and (done := _finished(out_dir, identity)) is not None:
            logger.info("%s: done before, skipped", slide_path)
            return done
        with _workplace(out_dir) as work:
            with ExitStack() as stack:
                labels, *of_classes = (
                    stack.enter_context(RawMap(work / f"{item}.raw", raster.size[::-1]))
                    for item in ("labels", *(range(len(model.classes)) if probabilities else ()))
                )
                _write_map(
                    labels, of_classes, raster, model, parameters, batch_size=batch_size, name=name, progress=progress
                )
                figures = _export(work, raster, model, parameters, labels=labels, of_classes=of_classes, name=name)
            write_json(work / SUMMARY, identity | figures)
            _deliver(work, out_dir, parameters)
    finally:
        raster.close()
    return read_json(out_dir / SUMMARY)


def _identity(slide_path: Path, raster: Raster, model: SlideModel, parameters: Parameters) -> dict[str, Any]:
    """What the result depends on; no path and no time, so that equal work gives equal bytes."""
    return {
        "slide": {
            "file": slide_path.name,
            "bytes": slide_path.stat().st_size,
            "mpp": raster.slide_mpp,
            "bounds": list(raster.bounds),
        },
        "mpp": model.mpp,
        "size": list(raster.size),
        "model": {"weights_md5": model.weights_md5, "classes": [item.code for item in model.classes]},
        "parameters": vars(parameters),
    }


def _finished(out_dir: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Summary of a complete folder made of the same things."""
    files = _files(identity["parameters"]["probabilities"])
    if not all((out_dir / name).is_file() for name in files):
        return None
    wanted = rounded(identity)
    try:
        summary = read_json(out_dir / SUMMARY)
    except ValueError:
        return None
    return summary if {key: summary.get(key) for key in wanted} == wanted else None


@contextmanager
def _workplace(out_dir: Path) -> Iterator[Path]:
    """A temporary folder inside `out_dir`; on failure nothing of it, nor an empty `out_dir`, stays behind."""
    existed = out_dir.exists()
    out_dir.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=out_dir, prefix=".partial-") as folder:
            yield Path(folder)
    except BaseException:
        if not existed and not any(out_dir.iterdir()):
            out_dir.rmdir()
        raise


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
    batch_size: int,
    name: str,
    progress: bool,
) -> None:
    """Stream the label map, and the classes' probabilities if there are maps for them, to their files."""
    quiet = {} if progress else {"disable": True}  # `disable=False` would overrule TQDM_DISABLE
    with tqdm(total=raster.size[1], desc=name, unit="row", **quiet) as bar:
        for rows in segment_rows(
            raster,
            model.predict,
            len(model.classes),
            window=parameters.window,
            overlap=parameters.overlap,
            batch_size=batch_size,
            background_grey=parameters.background_grey,
        ):
            labels.write(rows.start, rows.labels)
            if of_classes:
                write_probabilities(of_classes, rows)
            bar.update(len(rows.labels))
    raster.check_readable(name)


def _export(
    work: Path,
    raster: Raster,
    model: SlideModel,
    parameters: Parameters,
    *,
    labels: RawMap,
    of_classes: Sequence[RawMap],
    name: str,
) -> dict[str, Any]:
    """Write everything but the summary, and give back its figures."""
    from wsss_mm.slides.pyramid import write_label_pyramid, write_probability_pyramid

    write_label_pyramid(work / "segmentation.tif", labels, model.mpp, _palette(model.classes))
    if of_classes:
        channels = [(item.name, item.color) for item in model.classes]
        write_probability_pyramid(work / PROBABILITIES, of_classes, model.mpp, channels)
    written = write_geojson(
        work / "segmentation.geojson",
        labels,
        model.classes,
        factor=raster.factor,
        limits=raster.bounds[2:],
        min_area=parameters.min_island / model.mpp**2,
    )
    counts = sum(
        np.bincount(labels[top : top + _BAND].ravel(), minlength=256) for top in range(0, labels.shape[0], _BAND)
    )[: len(model.classes)]
    figures = class_figures(counts, model.classes, model.mpp, written)
    if not counts.sum():
        logger.warning("%s: no tissue below grey %d; the result is empty", name, parameters.background_grey)
    picture = raster.overview(_OVERLAY_SIDE)
    overview_mpp = model.mpp * raster.size[0] / picture.shape[1]
    draw_overlay(picture, labels, model.classes, figures, Path(name).stem, mpp=overview_mpp).save(work / "overlay.png")
    return {
        "classes": figures,
        "tissue_area_mm2": int(counts.sum()) * model.mpp**2 / 1e6,
        "tumour_stroma_ratio": tumour_stroma_ratio(figures),
        "unreadable_share": raster.unreadable / labels.size,
    }


def _palette(classes: tuple[TissueClass, ...]) -> list[int]:
    colors = [channel for item in classes for channel in item.color]
    return colors + list(IGNORE_COLOR) * (256 - len(classes))
