"""`wsss-mm models`: what the registry holds."""

import argparse
import sys
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the sub-command and its actions."""
    parser = subparsers.add_parser("models", help="list registered models")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list", help="versions with aliases and metrics", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    listing.add_argument("--name", default="segmenter", help="registered model")
    listing.set_defaults(handler=_list)


def _list(arguments: argparse.Namespace) -> None:
    from wsss_mm.tracking import list_versions

    versions = list_versions(arguments.name)
    sys.stdout.write(versions.to_string(index=False) + "\n")
