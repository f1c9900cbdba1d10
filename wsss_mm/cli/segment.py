"""`wsss-mm segment`: slides in, folders of results out."""

import argparse
import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from wsss_mm.errors import InputError, spelled_out
from wsss_mm.wsi.parameters import WEIGHTINGS, Parameters

if TYPE_CHECKING:
    from wsss_mm.wsi.cohort import Job, Result

logger = logging.getLogger(__name__)

_LEAST = {
    **{"window": 32, "batch_size": 1, "readers": 0, "min_hole": 0, "min_island": 0},
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
        epilog="examples: wsss-mm segment scans/*.svs --out results; wsss-mm segment --table scans/slides.csv, where "
        "slides.csv has the columns slide_id and path (relative to the table) and may have mpp and roi",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("slides", nargs="*", type=Path, metavar="SLIDE", help="whole-slide image that OpenSlide opens")
    parser.add_argument(
        "--table", type=Path, metavar="CSV", help="slides.csv in place of slides: gives each its mpp and ROI"
    )
    parser.add_argument("--model", default="models/segmenter", help="folder of a segmenter, or models:/NAME@ALIAS")
    parser.add_argument("--out", type=Path, default=Path("results"), help="gets a folder for each slide")
    parser.add_argument("--mpp", type=_number, help="um/px at level 0, for slides that do not say; 0.1 to 4")
    parser.add_argument("--force-mpp", action="store_true", help="--mpp is for slides that say otherwise, too")
    parser.add_argument("--window", type=int, default=Parameters.window, help="side of the sliding window, px")
    parser.add_argument(
        "--overlap", type=_number, default=Parameters.overlap, help="of neighbouring windows, share of their side"
    )
    parser.add_argument(
        "--roi", type=Path, metavar="GEOJSON", help="polygons of QuPath: only what is inside (one slide)"
    )
    parser.add_argument(
        "--weighting",
        choices=WEIGHTINGS,
        default=Parameters.weighting,
        help="of a window's pixels in the average; uniform, as published, leaves the window grid in the map",
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
        default=Parameters.tissue_mask,
        help="pass over what is glass on a thumbnail",
    )
    parser.add_argument(
        "--background-grey", type=int, default=Parameters.background_grey, help="brighter slide pixels are background"
    )
    parser.add_argument(
        "--min-hole",
        type=_number,
        default=Parameters.min_hole,
        help="um2, smaller holes of background in the tissue are filled with what the network sees there",
    )
    parser.add_argument(
        "--min-island",
        type=_number,
        default=Parameters.min_island,
        help="um2, smaller regions stay out of the GeoJSON",
    )
    parser.add_argument("--probabilities", action="store_true", help="write those of the classes too, uint8 channels")
    parser.add_argument("--force", action="store_true", help="segment again what is done already")
    cluster = parser.add_argument_group("many machines", "slides and --out lie on storage that all nodes share")
    cluster.add_argument("--ray", metavar="ADDRESS", help="of a Ray cluster, HOST:PORT or auto; a task for each slide")
    cluster.add_argument("--ray-cpus", type=int, default=1, help="cores that a slide takes of a node")
    cluster.add_argument(
        "--ray-gpus", type=_number, default=0, help="GPUs that a slide takes; 0.5: two slides share one"
    )
    cluster.add_argument("--ray-retries", type=int, default=3, help="new starts of a slide whose node died")
    parser.set_defaults(handler=_segment)


_OPTIONS = (
    *("window", "overlap", "weighting", "batch_size", "readers", "background_grey", "tissue_mask", "min_hole"),
    *("min_island", "probabilities"),
)


def _segment(arguments: argparse.Namespace) -> int:
    from tqdm.contrib.logging import logging_redirect_tqdm

    from wsss_mm.names import TABLE
    from wsss_mm.wsi.cohort import write_table
    from wsss_mm.wsi.viewer import write_overview

    _check(arguments)
    folder, registered = _model(arguments.model)
    options = {name: getattr(arguments, name) for name in _OPTIONS} | {"skip_done": not arguments.force}
    options["registered"] = registered
    options["force_mpp"] = arguments.force_mpp or arguments.table is not None
    jobs, results = _jobs(arguments)
    if results:
        write_table(arguments.out / TABLE, results, update=True)
    segmented = (_on_cluster if arguments.ray else _here)(arguments, jobs, folder, options) if jobs else ()
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


def _jobs(arguments: argparse.Namespace) -> tuple[list["Job"], list["Result"]]:
    """The slides to segment, and failed results for what is none."""
    from wsss_mm.wsi.cohort import Job, name_slides

    if arguments.table is not None:
        return _table_jobs(arguments.table, arguments.out)
    names, failed = name_slides(arguments.slides)
    return [
        Job(name, slide, arguments.out / name, arguments.mpp, arguments.roi) for slide, name in names.items()
    ], failed


def _table_jobs(path: Path, out: Path) -> tuple[list["Job"], list["Result"]]:
    from wsss_mm.cohort import Cohort
    from wsss_mm.cohort.adopt import warn_of_overruled
    from wsss_mm.slides.patients import check_alike
    from wsss_mm.wsi.cohort import Job, Result

    jobs, failed = [], []
    cohort = Cohort.read(path, check_files=False, for_training=False)
    check_alike(cohort.frame, str(path))
    for slide in cohort:
        if slide.path is None:
            error = f"{slide.where}: path is empty; name the slide's file"
            logger.error("%s", error)
            failed.append(Result(slide.slide_id, error=spelled_out(error)))
            continue
        jobs.append(Job(slide.slide_id, slide.path, out / slide.slide_id, slide.mpp, slide.roi))
        with suppress(InputError):  # what cannot be opened is told of when its turn comes
            if slide.mpp is not None:
                with slide.open() as reader:
                    warn_of_overruled(slide.where, reader)
    return jobs, failed


def _here(
    arguments: argparse.Namespace, jobs: Sequence["Job"], folder: Path, options: dict[str, Any]
) -> Iterator["Result"]:
    """One slide after the other on this machine."""
    from wsss_mm.wsi import SlideModel
    from wsss_mm.wsi.cohort import segment_all

    return segment_all(jobs, SlideModel.from_folder(folder, precision=arguments.precision), options)


def _on_cluster(
    arguments: argparse.Namespace, jobs: Sequence["Job"], folder: Path, options: dict[str, Any]
) -> Iterator["Result"]:
    """As many slides at once as the cluster holds."""
    from tqdm import tqdm

    from wsss_mm.wsi.cluster import Demand, segment_on_cluster
    from wsss_mm.wsi.cohort import Result

    demand = Demand(arguments.ray_cpus, arguments.ray_gpus, arguments.ray_retries, arguments.precision)
    outcomes = segment_on_cluster(jobs, folder, arguments.ray, demand, options)
    for outcome in tqdm(outcomes, total=len(jobs), unit="slide"):
        if outcome.error:
            logger.error("%s", outcome.error)
        yield Result(outcome.job.slide_id, outcome.summary, spelled_out(outcome.error or ""))


def _number(text: str) -> float:
    from wsss_mm.tables import number

    value = number(text.strip())
    if value is None and text.strip("+-").lower() not in ("nan", "inf"):  # those are refused with the others
        raise argparse.ArgumentTypeError(f"{text!r} is no number, such as 0.25")
    return float(text) if value is None else value


def _batch_size(text: str) -> int | str:
    return text if text == "auto" else int(text)


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what would fail for each slide."""
    from wsss_mm.slides.resolution import MICROSCOPES, is_microscopes

    if bool(arguments.slides) == (arguments.table is not None):
        raise InputError("segment: name slides, or a table of them with --table, and not both")
    for option in ("mpp", "roi"):
        if arguments.table is not None and getattr(arguments, option) is not None:
            raise InputError(f"--{option}: belongs into column {option} of {arguments.table}; leave it out")
    if arguments.force_mpp and arguments.mpp is None:
        raise InputError("--force-mpp: there is no --mpp to force; give one, or leave it out")
    for option, least in _LEAST.items():
        value = getattr(arguments, option)
        if value != "auto" and not least <= value < math.inf:
            raise InputError(f"--{option.replace('_', '-')} {value}: must be at least {least}")
    if not 0 <= arguments.overlap < 1:
        raise InputError(f"--overlap {arguments.overlap}: must be at least 0 and below 1")
    if arguments.roi is not None and len(arguments.slides) > 1:
        raise InputError(f"--roi {arguments.roi}: polygons belong to one slide, but {len(arguments.slides)} are given")
    there = next((place for place in (arguments.out, *arguments.out.parents) if os.path.lexists(place)), Path())
    if not there.is_dir():
        raise InputError(f"--out {arguments.out}: {there} is no folder; name another place")
    if arguments.mpp is not None and not is_microscopes(arguments.mpp):
        low, high = MICROSCOPES
        raise InputError(f"--mpp {arguments.mpp:g}: no slide has that; give um per pixel, {low:g} to {high:g}")


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
