"""Entry point of `wsss-mm`: parse, dispatch, and turn input errors into one line."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from wsss_mm import __version__
from wsss_mm.cli import (
    data,
    doctor,
    migrate_store,
    models,
    profile,
    quarantine,
    report,
    reproduce,
    segment,
    sync,
    view,
    weights,
)
from wsss_mm.errors import InputError
from wsss_mm.logs import INTERRUPTED, log_to_stderr
from wsss_mm.outage import is_outage, needed
from wsss_mm.uris import shown


def build_parser() -> argparse.ArgumentParser:
    """The parser with all sub-commands."""
    parser = argparse.ArgumentParser(
        prog="wsss-mm",
        description="Weakly supervised tissue segmentation of H&E whole-slide images.",
        epilog="The line itself is run by `make repro` or `dvc repro`.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    _add_common(parser, default=False)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (
        segment,
        view,
        profile,
        data,
        quarantine,
        models,
        migrate_store,
        report,
        reproduce,
        sync,
        weights,
        doctor,
    ):
        command.add_parser(subparsers)
    for subparser in subparsers.choices.values():  # accepted before and after the command
        _add_common(subparser, default=argparse.SUPPRESS)
    return parser


def _add_common(parser: argparse.ArgumentParser, default: Any) -> None:
    parser.add_argument("--debug", action="store_true", default=default, help="show the traceback of an error")
    parser.add_argument("--quiet", action="store_true", default=default, help="no progress bars, warnings only")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0 on success, 1 when part of the work failed, 2 for wrong input, 130 after Ctrl-C.
    """
    arguments = build_parser().parse_args(argv)
    if arguments.quiet:
        os.environ["TQDM_DISABLE"] = "1"
    level = logging.WARNING if arguments.quiet else logging.INFO
    log_to_stderr(level, "%(levelname)s %(message)s")
    try:
        return arguments.handler(arguments) or 0
    except (InputError, OSError) as error:
        if arguments.debug:
            raise
        sys.stderr.write(f"wsss-mm: error: {needed(error) if is_outage(error) else shown(str(error))}\n")
        return 2
    except KeyboardInterrupt:
        if arguments.debug:
            raise
        sys.stderr.write("wsss-mm: interrupted; the same command goes on where it stopped\n")
        return INTERRUPTED
    except Exception as error:
        if arguments.debug or not is_outage(error):
            raise
        sys.stderr.write(f"wsss-mm: error: {needed(error)}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
