"""`wsss-mm segment`: slides in, folders of results out."""

import argparse
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from wsss_mm.errors import InputError, spelled_out

if TYPE_CHECKING:
    from wsss_mm.wsi.cohort import Result

logger = logging.getLogger(__name__)

_LEAST = {
    **{"window": 32, "batch_size": 1, "readers": 0, "min_island": 0},
    **{"ray_cpus": 1, "ray_gpus": 0, "ray_retries": 0},
}


def add_parser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "segment",
        help="segment whole slides",
        description="Segment slides. Each gets a folder: segmentation.tif (pyramid), segmentation.geojson (QuPath), "
        "overlay.png and summary.json; index.html shows them all and slides.csv lists them. A slide that fails is "
        "reported, the others are finished. What was interrupted goes on where it was.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("slides", nargs="+", type=Path, metavar="SLIDE", help="whole-slide image that OpenSlide opens")
    parser.add_argument("--model", default="models/segmenter", help="folder of a segmenter, or models:/NAME@ALIAS")
    parser.add_argument("--out", type=Path, default=Path("results"), help="gets a folder for each slide")
    parser.add_argument("--mpp", type=float, help="um/px at level 0, for slides that do not say")
    parser.add_argument("--window", type=int, default=224, help="side of the sliding window, px")
    parser.add_argument("--overlap", type=float, default=0.5, help="of neighbouring windows, share of their side")
    parser.add_argument(
        "--roi", type=Path, metavar="GEOJSON", help="polygons of QuPath: only what is inside (one slide)"
    )
    parser.add_argument(
        "--weighting", choices=("uniform", "gaussian"), default="uniform", help="of a window's pixels in the average"
    )
    parser.add_argument(
        "--batch-size", type=_batch_size, default="auto", help="windows a forward pass; auto: what fits into memory"
    )
    parser.add_argument("--readers", type=int, default=2, help="threads that read ahead of the network")
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16", "fp16"),
        default="auto",
        help="auto: 16 bits on a GPU or AMX",
    )
    parser.add_argument(
        "--tissue-mask",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="pass over what is glass on a thumbnail",
    )
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


_OPTIONS = (
    *("window", "overlap", "weighting", "batch_size", "readers", "background_grey", "tissue_mask", "min_island"),
    "probabilities",
)


def _segment(arguments: argparse.Namespace) -> int:
    from tqdm.contrib.logging import logging_redirect_tqdm

    from wsss_mm.names import TABLE
    from wsss_mm.wsi.cohort import name_slides, write_table
    from wsss_mm.wsi.viewer import write_overview

    _check(arguments)
    folder, registered = _model(arguments.model)
    options = {name: getattr(arguments, name) for name in _OPTIONS} | {"skip_done": not arguments.force}
    options["registered"] = registered
    names, results = name_slides(arguments.slides)
    if results:
        write_table(arguments.out / TABLE, results, update=True)
    segmented = (_on_cluster if arguments.ray else _here)(arguments, names, folder, options) if names else ()
    with logging_redirect_tqdm():
        for result in segmented:
            results.append(result)
            write_table(arguments.out / TABLE, results, update=True)
    write_overview(arguments.out)
    _compare_precisions(results)
    failed = sum(bool(result.error) for result in results)
    if failed:
        logger.error("%d of %d slides failed", failed, len(results))
    return 1 if failed else 0


def _compare_precisions(results: Sequence["Result"]) -> None:
    """Maps of differing precision differ in a few pixels: say so where nodes of a cluster chose differently."""
    found = sorted({result.summary["model"]["precision"] for result in results if result.summary is not None})
    if len(found) > 1:
        logger.warning(
            "slides were segmented in differing precision (%s), which slides.csv does not tell apart; for the same in "
            "all: --precision %s",
            ", ".join(found),
            found[-1],
        )


def _here(
    arguments: argparse.Namespace, names: Mapping[Path, str], folder: Path, options: dict[str, Any]
) -> Iterator["Result"]:
    """One slide after the other on this machine."""
    from wsss_mm.wsi import SlideModel
    from wsss_mm.wsi.cohort import Job, segment_all

    model = SlideModel.from_folder(folder, precision=arguments.precision)
    jobs = [Job(name, slide, arguments.out / name, arguments.mpp, arguments.roi) for slide, name in names.items()]
    return segment_all(jobs, model, options)


def _on_cluster(
    arguments: argparse.Namespace, names: Mapping[Path, str], folder: Path, options: dict[str, Any]
) -> Iterator["Result"]:
    """As many slides at once as the cluster holds."""
    from tqdm import tqdm

    from wsss_mm.wsi.cluster import Demand, segment_on_cluster
    from wsss_mm.wsi.cohort import Result

    demand = Demand(arguments.ray_cpus, arguments.ray_gpus, arguments.ray_retries, arguments.precision)
    folders = {slide: arguments.out / name for slide, name in names.items()}
    options = options | {"mpp_override": arguments.mpp, "roi": arguments.roi and arguments.roi.absolute()}
    outcomes = segment_on_cluster(folders, folder, arguments.ray, demand, options)
    for outcome in tqdm(outcomes, total=len(folders), unit="slide"):
        if outcome.error:
            logger.error("%s", outcome.error)
        yield Result(names[outcome.slide], outcome.summary, spelled_out(outcome.error or ""))


def _batch_size(text: str) -> int | str:
    return text if text == "auto" else int(text)


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what would fail for each slide."""
    for option, least in _LEAST.items():
        if getattr(arguments, option) != "auto" and getattr(arguments, option) < least:
            raise InputError(f"--{option.replace('_', '-')} {getattr(arguments, option)}: must be at least {least}")
    if not 0 <= arguments.overlap < 1:
        raise InputError(f"--overlap {arguments.overlap}: must be at least 0 and below 1")
    if arguments.roi is not None and len(arguments.slides) > 1:
        raise InputError(f"--roi {arguments.roi}: polygons belong to one slide, but {len(arguments.slides)} are given")
    if arguments.mpp is not None and not arguments.mpp > 0:
        raise InputError(f"--mpp {arguments.mpp}: must be above 0")


def _model(name: str) -> tuple[Path, dict[str, str]]:
    """Folder of a model, and what the registry calls it if it comes from there."""
    if not name.startswith("models:/"):
        _compare_with_lock(Path(name))
        return Path(name), {}
    from wsss_mm.tracking import download_model, resolve_uri

    registered = resolve_uri(name)
    return download_model("models:/{name}/{version}".format(**registered)), registered


def _compare_with_lock(folder: Path) -> None:
    """Warn of a model of the line that is another one than dvc.lock names: edited, or trained by hand since."""
    from wsss_mm.tracking.evidence import locked_outs
    from wsss_mm.tracking.lineage import dvc_digest

    lock = Path("dvc.lock")
    if not lock.is_file() or not folder.is_dir():
        return
    with suppress(ValueError, yaml.YAMLError, AttributeError, TypeError, KeyError):  # a damaged lock is DVC's to tell
        place = folder.resolve().relative_to(Path.cwd().resolve()).as_posix()
        locked = locked_outs(lock.read_text(encoding="utf-8")).get(place)
        if locked and locked != dvc_digest(folder):
            logger.warning(
                "%s: is not the model that dvc.lock names; if it was not trained by hand: dvc checkout %s", place, place
            )
