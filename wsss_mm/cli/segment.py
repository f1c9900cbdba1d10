"""`wsss-mm segment`: slides in, folders of results out."""

import argparse
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm.errors import InputError

if TYPE_CHECKING:
    from wsss_mm.wsi.cluster import Outcome

logger = logging.getLogger(__name__)

_LEAST = {"window": 32, "batch_size": 1, "min_island": 0, "ray_cpus": 1, "ray_gpus": 0, "ray_retries": 0}


def add_parser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "segment",
        help="segment whole slides",
        description="Segment slides. Each gets a folder: segmentation.tif (pyramid), segmentation.geojson (QuPath), "
        "overlay.png and summary.json; index.html shows them all. A slide that fails is reported, the others are "
        "finished.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("slides", nargs="+", type=Path, metavar="SLIDE", help="whole-slide image that OpenSlide opens")
    parser.add_argument("--model", default="models/segmenter", help="folder of a segmenter, or models:/NAME@ALIAS")
    parser.add_argument("--out", type=Path, default=Path("results"), help="gets a folder for each slide")
    parser.add_argument("--mpp", type=float, help="um/px at level 0, for slides that do not say")
    parser.add_argument("--window", type=int, default=224, help="side of the sliding window, px")
    parser.add_argument("--overlap", type=float, default=0.5, help="of neighbouring windows, share of their side")
    parser.add_argument("--batch-size", type=int, default=16, help="windows a forward pass")
    parser.add_argument("--background-grey", type=int, default=210, help="brighter slide pixels are background")
    parser.add_argument("--min-island", type=float, default=500.0, help="um2, smaller regions stay out of the GeoJSON")
    parser.add_argument("--probabilities", action="store_true", help="write those of the classes too, uint8 channels")
    parser.add_argument("--force", action="store_true", help="segment again what is done already")
    cluster = parser.add_argument_group("many machines", "slides and --out lie on storage that all nodes share")
    cluster.add_argument("--ray", metavar="ADDRESS", help="of a Ray cluster, HOST:PORT or auto; a task for each slide")
    cluster.add_argument("--ray-cpus", type=int, default=1, help="cores that a slide takes of a node")
    cluster.add_argument("--ray-gpus", type=float, default=0, help="GPUs that a slide takes; 0.5: two slides share one")
    cluster.add_argument("--ray-retries", type=int, default=3, help="new starts of a slide whose node died")
    parser.set_defaults(handler=_segment)


def _segment(arguments: argparse.Namespace) -> int:
    from tqdm.contrib.logging import logging_redirect_tqdm

    from wsss_mm.wsi.viewer import write_overview

    _check(arguments)
    options = {
        "mpp_override": arguments.mpp,
        "window": arguments.window,
        "overlap": arguments.overlap,
        "batch_size": arguments.batch_size,
        "background_grey": arguments.background_grey,
        "min_island": arguments.min_island,
        "probabilities": arguments.probabilities,
        "skip_done": not arguments.force,
    }
    failed = 0
    with logging_redirect_tqdm():
        for outcome in (_on_cluster if arguments.ray else _here)(arguments, options):
            if outcome.summary is None:
                logger.error("%s", outcome.error)
                failed += 1
            else:
                folder = arguments.out / outcome.slide.stem
                logger.info("%s: %.2f mm2 of tissue", folder, outcome.summary["tissue_area_mm2"])
    write_overview(arguments.out)
    if failed:
        logger.error("%d of %d slides failed", failed, len(arguments.slides))
    return 1 if failed else 0


def _here(arguments: argparse.Namespace, options: dict[str, Any]) -> Iterator["Outcome"]:
    """One slide after the other on this machine."""
    from wsss_mm.wsi import SlideModel, segment_slide
    from wsss_mm.wsi.cluster import Outcome

    model = SlideModel.from_folder(_model_folder(arguments.model))
    for slide in arguments.slides:
        try:
            yield Outcome(slide, segment_slide(slide, model, arguments.out / slide.stem, **options))
        except (InputError, OSError) as error:
            if arguments.debug:
                raise
            yield Outcome(slide, None, str(error))


def _on_cluster(arguments: argparse.Namespace, options: dict[str, Any]) -> Iterator["Outcome"]:
    """As many slides at once as the cluster holds."""
    from tqdm import tqdm

    from wsss_mm.wsi.cluster import Demand, segment_on_cluster

    demand = Demand(arguments.ray_cpus, arguments.ray_gpus, arguments.ray_retries)
    folders = {slide: arguments.out / slide.stem for slide in arguments.slides}
    outcomes = segment_on_cluster(folders, _model_folder(arguments.model), arguments.ray, demand, options)
    yield from tqdm(outcomes, total=len(folders), unit="slide")


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what would fail for each slide, or make two slides share a folder."""
    for name, count in Counter(slide.stem for slide in arguments.slides).items():
        if count > 1:
            raise InputError(f"{name}: {count} slides of this name would share a folder; give them in separate runs")
    for option, least in _LEAST.items():
        if getattr(arguments, option) < least:
            raise InputError(f"--{option.replace('_', '-')} {getattr(arguments, option)}: must be at least {least}")
    if not 0 <= arguments.overlap < 1:
        raise InputError(f"--overlap {arguments.overlap}: must be at least 0 and below 1")
    if arguments.mpp is not None and not arguments.mpp > 0:
        raise InputError(f"--mpp {arguments.mpp}: must be above 0")


def _model_folder(name: str) -> Path:
    if name.startswith("models:/"):
        from wsss_mm.tracking import download_model

        return download_model(name)
    return Path(name)
