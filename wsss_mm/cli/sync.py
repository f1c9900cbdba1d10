"""`wsss-mm sync`: send what the MLflow server did not take."""

import argparse
import sys
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "sync",
        help="send runs that the MLflow server did not take",
        description="Send to the MLflow server (MLFLOW_TRACKING_URI) what it did not take while it was down, from "
        "work_dirs/unsent. It may be broken off and repeated: nothing is sent twice, and nothing is removed here "
        "before the server has given it back.",
    )
    parser.set_defaults(handler=_sync)


def _sync(_: argparse.Namespace) -> None:
    from wsss_mm.errors import InputError
    from wsss_mm.outage import server_uri
    from wsss_mm.tracking.sync import all_for_this_store, sync
    from wsss_mm.tracking.unsent import anything_unsent, unsent_folder

    if not anything_unsent():
        sys.stdout.write(f"{unsent_folder()}: nothing is unsent\n")
        return
    if not server_uri() and not all_for_this_store():
        raise InputError(f"{unsent_folder()}: sent where? set MLFLOW_TRACKING_URI to the server's http address")
    for sent in sync():
        sys.stdout.write(
            f"{sent.experiment}: run {sent.run_id} is complete; {sent.metrics} metrics and {sent.files} files sent\n"
        )
