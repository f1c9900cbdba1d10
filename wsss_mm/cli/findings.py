"""`wsss-mm findings`: pages on segmented slides that a pathologist reads and signs."""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.cli.results_options import add_results, slides_of
from wsss_mm.errors import InputError

if TYPE_CHECKING:
    from wsss_mm.findings import Asked
    from wsss_mm.findings.program import Program
    from wsss_mm.wsi.viewer.results import Result

logger = logging.getLogger(__name__)

_TABLE, _MODEL = places.COHORT / places.SLIDES_TABLE, places.SEGMENTER.as_posix()


def add_parser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "findings",
        help="write pages on segmented slides that a pathologist can sign",
        description="Write what was found on slides for people who sign it: a page of each slide and one of all, as "
        "HTML and as PDF, and areas.csv. With areas and their intervals, fields where the model was most and least "
        "certain, and what was left out. What is written already is skipped; a slide that fails is reported, the "
        "others are finished. Intervals and certainty take `wsss-mm segment --confidence`.",
        epilog="example: wsss-mm findings results --slide scans --table data/slides.csv",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_results(parser)
    parser.add_argument("--out", type=Path, default=places.FINDINGS, help="gets the pages")
    parser.add_argument(
        "--table",
        type=Path,
        metavar="CSV",
        help=f"slides.csv, which says patient_id, site and roi of each slide_id; {_TABLE} without, if it exists",
    )
    parser.add_argument(
        "--model", metavar="MODEL", help=f"what segmented them, a folder or models:/NAME@ALIAS; {_MODEL} without"
    )
    parser.add_argument("--force", action="store_true", help="write again what is written already")
    parser.set_defaults(handler=_findings)


def _findings(arguments: argparse.Namespace) -> int:
    from tqdm.contrib.logging import logging_redirect_tqdm

    from wsss_mm.findings import FindingsRun, write_findings
    from wsss_mm.findings.writing import readable
    from wsss_mm.wsi.viewer.results import failed_slides, read_all

    if arguments.out.exists() and not arguments.out.is_dir():
        raise InputError(f"--out {arguments.out}: is no folder; name another place")
    results = read_all(arguments.results)
    slides = slides_of(results, arguments.slide)
    for result in results:
        if result.name not in slides:
            logger.warning(
                "%s: slide %s not found, so no fields of it are shown; name it with --slide",
                result.name,
                result.slide_file,
            )
    if unsure := [result.name for result in results if not result.certain]:
        logger.warning(
            "%d of %d slides, the first %s, were segmented without confidence, so their areas have no intervals; for "
            "these: wsss-mm segment --confidence, or slides.confidence in %s",
            *(len(unsure), len(results), unsure[0], places.PARAMS_FILE),
        )
    names = {result.name for result in results}
    failed = failed_slides(arguments.results)
    run = FindingsRun(
        results,
        readable(slides, results),
        _asked(arguments.table, results),
        _program(arguments.model),
        {name: why for name, why in failed.items() if name not in names},
    )
    with logging_redirect_tqdm():
        bad = write_findings(run, arguments.out, anew=arguments.force, progress=not arguments.quiet)
    sys.stdout.write(f"{arguments.out / places.COHORT_FINDINGS_PAGE}\n")
    if bad:
        logger.error("%d of %d slides failed", len(bad), len(results))
    return 1 if bad else 0


def _asked(table: Path | None, results: Sequence["Result"]) -> Mapping[str, "Asked"]:
    """Whose slides they are, by the table that was named, else by the line's if there is one."""
    from wsss_mm.findings import Asked
    from wsss_mm.tables import read_table

    if table is None and not _TABLE.is_file():
        return {}
    rows = read_table(
        table or _TABLE,
        ("slide_id",),
        ("patient_id", "site", "roi"),
        absent="no such table of slides; correct --table",
        remedy="save it as CSV, in UTF-8",
        notes=True,
    )
    found = {
        row["slide_id"]: Asked(row["patient_id"], row["site"], _region(table or _TABLE, row["roi"]))
        for row in rows.to_dict("records")
    }
    missing = [result.name for result in results if result.name not in found]
    if missing and table is not None:
        logger.warning(
            "%s: has no row of %s%s, whose patient and site stay empty; slide_id is the name of the folder of results",
            table,
            ", ".join(missing[:5]),
            f" and {len(missing) - 5} more" if len(missing) > 5 else "",
        )
    return found


def _region(table: Path, name: str) -> Path | None:
    """The file of a region of interest, if it is still there: it only tells how much lies outside."""
    from wsss_mm.slides.table import resolve

    path = resolve(table, name) if name else None
    return path if path is not None and path.is_file() else None


def _program(name: str | None) -> "Program | None":
    """What is known of the model that was named, else of the line's if there is one."""
    from wsss_mm.findings.program import read_program

    if name is None:
        if not (places.SEGMENTER / places.DESCRIPTION).is_file():
            logger.warning("no %s here: nothing is said of the model; name it with --model", _MODEL)
            return None
        return read_program(places.SEGMENTER)
    if name.startswith("models:/"):
        from wsss_mm.tracking import download_model, resolve_uri

        return read_program(download_model("models:/{name}/{version}".format(**resolve_uri(name))))
    return read_program(Path(name))
