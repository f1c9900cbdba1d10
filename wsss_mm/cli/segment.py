"""`wsss-mm segment`: slides in, folders of results out."""

import argparse
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.dvc_files import LOCK, locked_outs
from wsss_mm.errors import InputError, spelled_out
from wsss_mm.files import digest, read_json
from wsss_mm.slide_parameters import SETTINGS, TYPES, Parameters, choices_of, faults, number_of

if TYPE_CHECKING:
    from wsss_mm.cohort import Cohort, Slide
    from wsss_mm.encoders import Encoder
    from wsss_mm.wsi.job import Job, JobResult

logger = logging.getLogger(__name__)

_REGISTERED = places.REGISTERED
_LEAST = {"ray_cpus": 1, "ray_gpus": 0, "ray_retries": 0}


def add_parser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "segment",
        help="segment whole slides",
        description="Segment slides. Each gets a folder: segmentation.tif (pyramid), segmentation.geojson (QuPath), "
        "overlay.png and summary.json; index.html shows them all and slides.csv lists them. A slide that fails is "
        "reported, the others are finished. What was interrupted goes on where it was.",
        epilog="examples: wsss-mm segment scans/*.svs --out results; wsss-mm segment --table scans/slides.csv; "
        "wsss-mm segment scans/a*.svs --table scans/slides.csv",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("slides", nargs="*", type=Path, metavar="SLIDE", help="whole-slide image that OpenSlide opens")
    parser.add_argument(
        "--table",
        type=Path,
        metavar="CSV",
        help="slides.csv with the columns slide_id and path (relative to the table), and perhaps mpp and roi of each: "
        "all its slides, or of its rows those named",
    )
    parser.add_argument(
        "--model", default=places.SEGMENTER.as_posix(), help="folder of a segmenter, or models:/NAME@ALIAS"
    )
    parser.add_argument("--out", type=Path, default=places.ALL_RESULTS, help="gets a folder for each slide")
    parser.add_argument("--mpp", type=_number, help="um/px at level 0, for slides that do not say; 0.1 to 4")
    parser.add_argument("--force-mpp", action="store_true", help="--mpp is for slides that say otherwise, too")
    parser.add_argument(
        "--roi", type=Path, metavar="GEOJSON", help="polygons of QuPath: only what is inside (one slide)"
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16", "fp16"),
        default="auto",
        help="auto: 16 bits on a GPU or AMX",
    )
    parser.add_argument("--device", help="of torch, such as cpu or cuda:1; a GPU if there is one, without")
    _add_parameters(parser)
    parser.add_argument("--force", action="store_true", help="segment again what is done already")
    cluster = parser.add_argument_group("many machines", "slides and --out lie on storage that all nodes share")
    cluster.add_argument("--ray", metavar="ADDRESS", help="of a Ray cluster, HOST:PORT or auto; a task for each slide")
    cluster.add_argument("--ray-cpus", type=int, default=1, help="cores that a slide takes of a node")
    cluster.add_argument(
        "--ray-gpus", type=_number, default=0, help="GPUs that a slide takes; 0.5: two slides share one"
    )
    cluster.add_argument("--ray-retries", type=int, default=3, help="new starts of a slide whose node died")
    parser.set_defaults(handler=_segment)


@dataclass(frozen=True)
class _Untold:
    """Value of an option that was not given, where the model may know better."""

    value: Any

    def __str__(self) -> str:
        return f"{self.value}, unless the model was validated with another"


def _add_parameters(parser: argparse.ArgumentParser) -> None:
    """An option for each of `Parameters`."""
    for name, setting in SETTINGS.items():
        kind, default = TYPES[name], getattr(Parameters, name)
        options: dict[str, Any] = {"help": setting.help, "default": _Untold(default) if setting.carried else default}
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif (number := number_of(kind)) is None:
            options["choices"] = choices_of(kind)
        else:
            options["type"] = partial(_number_or_word, int if number is int else _number, choices_of(kind))
        parser.add_argument(_option(name), **options)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _number_or_word(number: Callable[[str], float], words: Sequence[str], text: str) -> float | str:
    if text in words:
        return text
    try:
        return number(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no {' or '.join(('number', *words))}") from None


def _parameters(arguments: argparse.Namespace, folder: Path) -> Parameters:
    """What was told on the command line, else what the model was validated with, else the defaults."""
    given = {name: getattr(arguments, name) for name in SETTINGS}
    untold = {name: option.value for name, option in given.items() if isinstance(option, _Untold)}
    encoder = _encoder(folder)
    stride = None if encoder is None else encoder.stride
    known = _validated(folder, stride)
    if untold:
        taken = ", ".join(f"{name} {(known or untold).get(name, value)}" for name, value in untold.items())
        why = "validated with" if known else "does not say what it was validated with; defaults are taken:"
        logger.info("%s: %s %s", folder, why, taken)
    chosen = Parameters(**given | untold | {name: value for name, value in known.items() if name in untold})
    for name, fault in faults(vars(chosen), stride):
        raise InputError(f"{_option(name)}: {fault}")
    if encoder is not None and (fault := encoder.sizes.fault(chosen.window)) is not None:
        raise InputError(f"{_option('window')}: {folder} is of encoder {encoder.name}, which {fault}")
    return chosen


def _encoder(folder: Path) -> "Encoder | None":
    """The encoder of a model, which knows how far windows must move and how large they may be; None for one's own."""
    from wsss_mm.encoders import DEFAULT, encoders
    from wsss_mm.models.description import DESCRIPTION, ENCODER, described

    if not (folder / DESCRIPTION).is_file():
        return encoders()[DEFAULT]  # where it is loaded, a missing model is told of
    info = described(folder)
    own = "backbone" in str(info.get("model")) and "ResNet38" not in str(info["model"])
    name = info.get(ENCODER, None if own else DEFAULT)  # older models say none: there was one
    return encoders().get(name) if isinstance(name, str) else None


def _validated(folder: Path, stride: int | None) -> dict[str, Any]:
    """What a model was validated with: model.json of a registered one, what stage register left of that of the line."""
    from wsss_mm.models.description import DESCRIPTION, VALIDATED, WEIGHTS, described

    path, known = folder / DESCRIPTION, None
    if path.is_file():
        known = described(folder).get(VALIDATED)
    if known is None and _REGISTERED.is_file() and (folder / WEIGHTS).is_file():
        with suppress(ValueError, AttributeError):  # damaged: the line's to tell
            registered = read_json(_REGISTERED)
            if registered.get("weights_md5") == digest(folder / WEIGHTS, "md5"):
                path, known = _REGISTERED, registered.get(VALIDATED)
    if known is None:
        return {}
    if not isinstance(known, dict):
        raise InputError(f"{path}: {VALIDATED} is no section; export the model again")
    for name, fault in faults(known, stride):
        raise InputError(f"{path}: {VALIDATED}.{name[:40]}: {fault}; export the model again, or update wsss_mm")
    return known


def _segment(arguments: argparse.Namespace) -> int:
    from tqdm.contrib.logging import logging_redirect_tqdm

    from wsss_mm.places import SLIDES_TABLE as TABLE
    from wsss_mm.wsi.cohort import write_table
    from wsss_mm.wsi.outputs import check_outputs
    from wsss_mm.wsi.viewer import write_overview
    from wsss_mm.wsi.viewer.memory import remember

    _check(arguments)
    folder, registered, digest = _model(arguments.model)
    parameters = _parameters(arguments, folder)
    check_outputs(parameters)
    more = {"registered": registered, "skip_done": not arguments.force}
    jobs, results = _jobs(arguments)
    remember({job.folder: job.path for job in jobs})
    if results:
        write_table(arguments.out / TABLE, results, update=True)
    segmented = (
        (_on_cluster if arguments.ray else _here)(arguments, jobs, (folder, digest), parameters, more) if jobs else ()
    )
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


def _compare_precisions(results: Sequence["JobResult"]) -> None:
    """Maps of differing precision differ in a few pixels: say so where nodes of a cluster chose differently."""
    found = sorted({result.summary["model"]["precision"] for result in results if result.summary is not None})
    if len(found) > 1:
        logger.warning(
            "slides were segmented in differing precision (%s), which slides.csv does not tell apart; for the same in "
            "all: --precision %s",
            ", ".join(found),
            found[-1],
        )


def _jobs(arguments: argparse.Namespace) -> tuple[list["Job"], list["JobResult"]]:
    """The slides to segment, and failed results for what is none."""
    from wsss_mm.wsi.cohort import name_slides
    from wsss_mm.wsi.job import Job

    if arguments.table is not None:
        return _table_jobs(arguments.table, arguments.out, arguments.slides)
    names, failed = name_slides(arguments.slides)
    if arguments.roi is None:
        _tell_of_regions(names)
    more = arguments.mpp, arguments.roi, arguments.force_mpp
    return [Job(name, slide, arguments.out / name, *more) for slide, name in names.items()], failed


def _tell_of_regions(slides: Iterable[Path]) -> None:
    """Warn of regions of interest in a table beside slides, which nobody said to take."""
    from wsss_mm.cohort import Cohort

    for table in sorted({slide.parent / places.SLIDES_TABLE for slide in slides}):
        with suppress(InputError, OSError, ValueError):  # none, or one of another kind: nobody asked for it
            rows = Cohort.read(table, check_files=False, for_training=False) if table.is_file() else ()
            drawn = {row.path.resolve() for row in rows if row.roi is not None and row.path is not None}
            if with_region := [slide for slide in slides if slide.resolve() in drawn]:
                logger.warning(
                    "%s: has a region of interest for %d of these slides, the first %s; all of each is segmented, and "
                    "the regions alone with --table %s",
                    table,
                    len(with_region),
                    with_region[0].name,
                    table,
                )


def _table_jobs(path: Path, out: Path, named: Sequence[Path] = ()) -> tuple[list["Job"], list["JobResult"]]:
    """The slides of a table, or those that are named too.

    Raises:
        InputError: a slide that is named has no row.
    """
    from wsss_mm.cohort import Cohort
    from wsss_mm.cohort.adopt import warn_of_overruled
    from wsss_mm.slides.patients import check_alike
    from wsss_mm.wsi.job import Job, JobResult

    jobs, failed = [], []
    cohort = Cohort.read(path, check_files=False, for_training=False)
    check_alike(cohort.frame, str(path))
    for slide in _rows_of(cohort, named) if named else cohort:
        if slide.path is None:
            error = f"{slide.where}: path is empty; name the slide's file"
            logger.error("%s", error)
            failed.append(JobResult(slide.slide_id, error=spelled_out(error)))
            continue
        jobs.append(Job(slide.slide_id, slide.path, out / slide.slide_id, slide.mpp, slide.roi))
        with suppress(InputError):  # what cannot be opened is told of when its turn comes
            if slide.mpp is not None:
                with slide.open() as reader:
                    warn_of_overruled(slide.where, reader)
    return jobs, failed


def _rows_of(cohort: "Cohort", named: Sequence[Path]) -> list["Slide"]:
    """Rows of the slides that are named, in the table's order; what belongs to a slide in several files is passed over.

    Raises:
        InputError: one of these has no row.
    """
    from wsss_mm.wsi.cohort import name_slides

    names, _ = name_slides(named)
    wanted = {slide.resolve(): slide for slide in names}
    rows = [row for row in cohort if row.path is not None and row.path.resolve() in wanted]
    if without := wanted.keys() - {row.path.resolve() for row in rows if row.path is not None}:
        first = next(slide for place, slide in wanted.items() if place in without)
        raise InputError(
            f"{first}: {cohort.table} has no row of this slide, and {len(without)} of those named have none; add it, "
            "or leave out --table"
        )
    return rows


def _here(
    arguments: argparse.Namespace,
    jobs: Sequence["Job"],
    model: tuple[Path, str | None],
    parameters: Parameters,
    more: dict[str, Any],
) -> Iterator["JobResult"]:
    """One slide after the other on this machine."""
    from wsss_mm.wsi import SlideModel
    from wsss_mm.wsi.cohort import in_turn
    from wsss_mm.wsi.segment import segment

    loaded = SlideModel.from_folder(model[0], arguments.device, arguments.precision, digest=model[1])
    return in_turn(jobs, lambda job: segment(job, loaded, parameters, **more))


def _on_cluster(
    arguments: argparse.Namespace,
    jobs: Sequence["Job"],
    model: tuple[Path, str | None],
    parameters: Parameters,
    more: dict[str, Any],
) -> Iterator["JobResult"]:
    """As many slides at once as the cluster holds."""
    from tqdm import tqdm

    from wsss_mm.wsi.cluster import SlideDemand, segment_on_cluster

    demand = SlideDemand(arguments.ray_cpus, arguments.ray_gpus, arguments.ray_retries, arguments.precision)
    done = segment_on_cluster(jobs, model[0], arguments.ray, demand, parameters, digest=model[1], **more)
    return iter(tqdm(done, total=len(jobs), unit="slide"))


def _number(text: str) -> float:
    from wsss_mm.tables import number

    value = number(text.strip())
    if value is None and text.strip("+-").lower() not in ("nan", "inf"):  # those are refused with the others
        raise argparse.ArgumentTypeError(f"{text!r} is no number, such as 0.25")
    return float(text) if value is None else value


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what would fail for each slide."""
    from wsss_mm.slides.resolution import MICROSCOPES, is_microscopes

    if not arguments.slides and arguments.table is None:
        raise InputError("segment: name slides, or a table of them with --table")
    for option in ("mpp", "roi"):
        if arguments.table is not None and getattr(arguments, option) is not None:
            raise InputError(f"--{option}: belongs into column {option} of {arguments.table}; leave it out")
    if arguments.ray and arguments.device:
        raise InputError(f"--device {arguments.device}: --ray-gpus says what a slide takes of a node; leave it out")
    if arguments.force_mpp and arguments.mpp is None:
        raise InputError("--force-mpp: there is no --mpp to force; give one, or leave it out")
    told = {name: value for name in SETTINGS if not isinstance(value := getattr(arguments, name), _Untold)}
    for name, fault in faults(told, stride=None):  # whether windows move is the model's to say, see `_parameters`
        raise InputError(f"{_option(name)} {told[name]}: {fault}")
    for name, least in _LEAST.items():
        value = getattr(arguments, name)
        if not least <= value < math.inf:
            raise InputError(f"{_option(name)} {value}: must be at least {least}")
    if arguments.roi is not None and len(arguments.slides) > 1:
        raise InputError(f"--roi {arguments.roi}: polygons belong to one slide, but {len(arguments.slides)} are given")
    there = next((place for place in (arguments.out, *arguments.out.parents) if os.path.lexists(place)), Path())
    if not there.is_dir():
        raise InputError(f"--out {arguments.out}: {there} is no folder; name another place")
    if arguments.mpp is not None and not is_microscopes(arguments.mpp):
        low, high = MICROSCOPES
        raise InputError(f"--mpp {arguments.mpp:g}: no slide has that; give um per pixel, {low:g} to {high:g}")


def _model(name: str) -> tuple[Path, dict[str, str], str | None]:
    """Folder of a model, what the registry calls it if it comes from there, and the digest it was registered with."""
    if not name.startswith("models:/"):
        _compare_with_lock(Path(name))
        return Path(name), {}, None
    from wsss_mm.tracking import download_model, resolve_uri
    from wsss_mm.tracking.registry import registered_digest

    registered = resolve_uri(name)
    pinned = "models:/{name}/{version}".format(**registered)
    return download_model(pinned), registered, registered_digest(pinned)


def _compare_with_lock(folder: Path) -> None:
    """Warn of a model of the line that is another one than dvc.lock names: edited, or trained by hand since."""
    from wsss_mm.tracking.lineage import dvc_digest

    lock = Path(LOCK)
    if not lock.is_file() or not folder.is_dir():
        return
    with suppress(ValueError, InputError):  # a damaged lock is DVC's to tell
        place = folder.resolve().relative_to(Path.cwd().resolve()).as_posix()
        locked = locked_outs(lock.read_bytes()).get(place)
        if locked and locked != dvc_digest(folder):
            logger.warning(
                "%s: is not the model that dvc.lock names; if it was not trained by hand: dvc checkout %s", place, place
            )
