"""`wsss-mm report`: one page on a run."""

import argparse
import sys
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "report",
        help="write one page of HTML on a run",
        description="Write a self-contained page on a run: pictures, how good it is and where it fails, the data it "
        "was made from. It opens in any browser without a server, and can be sent by mail.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "run",
        nargs="?",
        default="models:/segmenter@challenger",
        metavar="RUN",
        help="models:/NAME/VERSION, models:/NAME@ALIAS, a run id, or the name of a run or DVC experiment",
    )
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="file to write")
    parser.set_defaults(handler=_report)


def _report(arguments: argparse.Namespace) -> None:
    from wsss_mm.files import write_text
    from wsss_mm.tracking.report import find_run_of, render_report

    write_text(arguments.out, render_report(*find_run_of(arguments.run)))
    sys.stdout.write(f"{arguments.out}\n")
