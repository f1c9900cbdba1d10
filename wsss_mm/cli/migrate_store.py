"""`wsss-mm migrate-store`: from mlflow.db in a project to the server of a team."""

import argparse
import sys
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "migrate-store",
        help="copy a project's own MLflow store to a server",
        description="Copy the runs and registered models of an mlflow.db, with all they hold, to the server that "
        "MLFLOW_TRACKING_URI names. The local store stays as it is; run again, it copies what is new or was "
        "interrupted. An alias that the server has already, such as champion, stays where it is there.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("database", nargs="?", type=Path, default=Path("mlflow.db"), help="the store to copy")
    parser.add_argument("--to", metavar="URI", help="another target than MLFLOW_TRACKING_URI")
    parser.set_defaults(handler=_migrate)


def _migrate(arguments: argparse.Namespace) -> None:
    from wsss_mm.tracking.migration import migrate_store

    done = migrate_store(arguments.database, arguments.to)
    sys.stdout.write(f"{arguments.database}: {done.runs} runs and {done.versions} model versions are on the server\n")
