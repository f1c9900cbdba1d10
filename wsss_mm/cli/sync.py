"""`wsss-mm sync`: send what MLflow's store did not take, mostly a server."""

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
    from wsss_mm.places import JOURNAL_OF_RUN
    from wsss_mm.tracking.copier import sync
    from wsss_mm.tracking.local import at_work, store_digest, unsent_folder, waiting
    from wsss_mm.tracking.store import allow_slow_requests

    folder = unsent_folder()
    if (folder / "mlflow.db").is_file():
        raise InputError(
            f"{folder}/mlflow.db: holds runs that an older release of wsss_mm did not send; send them with that one, "
            "or look at them (mlflow ui --backend-store-uri sqlite:///FILE), and move the file away"
        )
    with waiting() as runs:
        stores, count = {run.head.store for run in runs}, len(runs)
    if stores - {store_digest()} and not server_uri():
        raise InputError(f"{folder}: sent where? set MLFLOW_TRACKING_URI to the server's http address")
    busy = at_work()
    if busy:
        sys.stdout.write(f"{folder}: {busy} more at work at this moment, which send themselves\n")
    if not count:
        others = any(folder.glob(f"*/{JOURNAL_OF_RUN}"))  # at work, or damaged, of which a line was said
        sys.stdout.write(f"{folder}: nothing {'else ' if others else ''}is unsent\n")
        return
    allow_slow_requests()
    for sent in sync():
        count -= 1
        if sent.run_id:
            what = f"{sent.metrics} metrics and {sent.files} files sent"
            sys.stdout.write(f"{sent.experiment}: run {sent.run_id} is complete; {what}\n")
    if count > 0:
        sys.stdout.write(f"{folder}: another process sends {count} at this moment\n")
