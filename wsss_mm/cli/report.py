"""`wsss-mm report`: one page on a run."""

import argparse
import sys
from pathlib import Path
from typing import Any

from wsss_mm import places


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
        metavar="RUN",
        help="models:/NAME/VERSION, models:/NAME@ALIAS, a run id, or the name of a run or DVC experiment; default: the "
        "challenger of register.model_name in params.yaml, or the run that trained models/segmenter if that is null",
    )
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="file to write")
    parser.set_defaults(handler=_report)


def _default() -> str:
    from wsss_mm.cli.models import registered_name
    from wsss_mm.errors import InputError
    from wsss_mm.settings import load_params
    from wsss_mm.tracking import find_run

    weights = places.SEGMENTER / places.WEIGHTS
    if Path(places.PARAMS_FILE).is_file() and load_params().register_.model_name is None and weights.is_file():
        run = find_run(weights)
        if run is None:
            raise InputError(f"{weights}: the run that made it is not in this store; name a run: make ui shows them")
        return str(run.info.run_id)
    return f"models:/{registered_name()}@challenger"


def _report(arguments: argparse.Namespace) -> None:
    from wsss_mm.files import write_text
    from wsss_mm.tracking.report import find_run_of, render_report

    write_text(arguments.out, render_report(*find_run_of(arguments.run or _default())))
    sys.stdout.write(f"{arguments.out}\n")
