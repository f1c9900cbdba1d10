"""`wsss-mm profile`: write params.yaml and gates.yaml for a cohort or a scale."""

import argparse
import sys
from pathlib import Path
from typing import Any

from wsss_mm.settings import profile_names, write_profile


def add_parser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "profile",
        help="write params.yaml and gates.yaml for another cohort or scale",
        description="Write params.yaml and gates.yaml for another cohort or scale; `dvc params diff` then shows what "
        "changed.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("name", choices=profile_names(), help="which profile")
    parser.add_argument("--source", type=Path, help="folder of patches or table of slides, instead of the profile's")
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="the file to write, with gates.yaml beside it"
    )
    parser.set_defaults(handler=_handle)


def _handle(arguments: argparse.Namespace) -> None:
    params = write_profile(arguments.name, arguments.params, arguments.source)
    where = f"{arguments.params} and gates.yaml"
    sys.stdout.write(f"{where}: profile {arguments.name}, source {params.cohort.source}\n")
    sys.stdout.write("See what changed with `dvc params diff`, then run `make repro`.\n")
