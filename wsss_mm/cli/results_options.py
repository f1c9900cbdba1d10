"""What commands that look at segmented slides are told: the folder of results, and where the slides lie."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_mm import places

if TYPE_CHECKING:
    from wsss_mm.wsi.viewer.results import Result


def add_results(parser: argparse.ArgumentParser) -> None:
    """Add RESULTS and --slide."""
    parser.add_argument(
        "results",
        nargs="?",
        type=Path,
        default=places.ALL_RESULTS,
        metavar="RESULTS",
        help=f"folder of results; in {places.ALL_RESULTS} those of `wsss-mm segment` and, in {places.RESULTS}, the "
        "line's are found",
    )
    parser.add_argument(
        "--slide",
        nargs="+",
        type=Path,
        default=[],
        metavar="PATH",
        help=f"slides, or folders that hold them; what `wsss-mm segment` segmented from here is known, and "
        f"{places.COHORT} is looked through in any case, if it exists",
    )


def slides_of(results: Sequence["Result"], named: Sequence[Path]) -> dict[str, Path]:
    """The slides of results, by the results' names: those that were named, segmented from here, or of the cohort."""
    from wsss_mm.wsi.viewer.memory import remembered_slides
    from wsss_mm.wsi.viewer.results import find_slides

    cohort = [places.COHORT] if places.COHORT.is_dir() else []
    return find_slides(results, [*named, *remembered_slides(results), *cohort])
