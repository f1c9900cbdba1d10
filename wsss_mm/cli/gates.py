"""`wsss-mm gates`: draw the page of the gates' reports, which git and DVC do not carry."""

import argparse
import sys
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "gates",
        help="draw the page of what the gates found",
        description="Draw reports/gates/index.html from the reports beside it, as each gate does when it has run: in a "
        "clone, git brings the reports and not the page. Pictures of rows need the data: dvc pull.",
    )
    parser.set_defaults(handler=_gates)


def _gates(_: argparse.Namespace) -> None:
    from wsss_mm.errors import InputError
    from wsss_mm.gates import GATES, report_path
    from wsss_mm.gates.page import write_page

    if not any(report_path(name).is_file() for name in GATES):
        raise InputError(f"{report_path(GATES[0]).parent}: no gate has a report here; make them: dvc repro")
    sys.stdout.write(f"{write_page(Path())}\n")
