"""Entry point of `wsss-mm`: parse, dispatch, and turn input errors into one line."""

import argparse
import io
import logging
import os
import select
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from wsss_mm import __version__
from wsss_mm.cli import (
    LINE,
    cohort,
    completion,
    data,
    doctor,
    encoders,
    findings,
    gates,
    imports,
    label,
    labels,
    models,
    profile,
    project,
    quarantine,
    report,
    reproduce,
    segment,
    serve,
    sync,
    tune,
    view,
    weights,
)
from wsss_mm.cli.help import THE_LINE, Parser
from wsss_mm.errors import InputError, not_text
from wsss_mm.extras import missing_extra
from wsss_mm.interrupts import interruptible, run_program
from wsss_mm.logs import log_to_stderr
from wsss_mm.outage import is_outage, needed
from wsss_mm.uris import shown


def build_parser() -> argparse.ArgumentParser:
    """The parser with all sub-commands."""
    parser = Parser(
        prog="wsss-mm",
        description="Weakly supervised tissue segmentation of H&E whole-slide images.",
        epilog=THE_LINE,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    _add_common(parser, default=False)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (
        segment,
        serve,
        label,
        view,
        findings,
        cohort,
        imports,
        project,
        profile,
        tune,
        labels,
        data,
        quarantine,
        gates,
        models,
        report,
        reproduce,
        sync,
        weights,
        encoders,
        doctor,
    ):
        command.add_parser(subparsers)
    completion.add_parser(subparsers, build_parser)
    for subparser in dict.fromkeys(
        subparsers.choices.values()
    ):  # an alias is no other; accepted before and after the command
        _add_common(subparser, default=argparse.SUPPRESS)
    return parser


def _add_common(parser: argparse.ArgumentParser, default: Any) -> None:
    parser.add_argument("--debug", action="store_true", default=default, help="show the traceback of an error")
    parser.add_argument("--quiet", action="store_true", default=default, help="no progress bars, warnings only")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; without, the process was started for this, and ends with it.

    Returns:
        0 on success, 1 when part of the work failed, 2 for wrong input, 130 after Ctrl-C, 141 where whoever read the
        output has gone, as a shell says of processes that SIGINT and SIGPIPE ended.
    """
    if sys.stdout is None:  # closed by the shell: >&-
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may be in no encoding
    if argv is None:
        run_program(partial(_told, None), LINE)
    return _told(argv)


def _told(argv: Sequence[str] | None) -> int:
    try:
        return _run(argv)
    except BrokenPipeError:  # what is left in the stream has no reader, nor has a message
        for stream in filter(_unread, (sys.stdout, sys.stderr)):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return 128 + signal.SIGPIPE


def _run(argv: Sequence[str] | None) -> int:
    try:
        arguments = build_parser().parse_args(argv)
    finally:
        _flush()  # what --help says
    if arguments.quiet:
        os.environ["TQDM_DISABLE"] = "1"
    log_to_stderr(logging.WARNING if arguments.quiet else logging.INFO, "%(levelname)s %(message)s")
    try:
        return interruptible(partial(_handle, arguments), LINE)
    except (InputError, OSError) as error:
        if arguments.debug or (isinstance(error, BrokenPipeError) and any(map(_unread, (sys.stdout, sys.stderr)))):
            raise
        sys.stderr.write(f"wsss-mm: error: {needed(error) if is_outage(error) else shown(str(error))}\n")
        return 2
    except Exception as error:
        told = _told_in_one_line(error)
        if arguments.debug or told is None:
            raise
        sys.stderr.write(f"wsss-mm: error: {told}\n")
        return 2


def _told_in_one_line(error: Exception) -> object:
    """What to say of an error that is nobody's fault here; None of a defect, which keeps its traceback."""
    if isinstance(error, UnicodeEncodeError):
        return not_text(error)
    return needed(error) if is_outage(error) else missing_extra(error)


def _handle(arguments: argparse.Namespace) -> int:
    code = arguments.handler(arguments) or 0
    _flush()
    return code


def _flush() -> None:
    """Meet a full disk or a reader who has gone here, and not when the interpreter ends."""
    sys.stdout.flush()


def _unread(stream: TextIO) -> bool:
    """Whether a stream is a pipe that nobody reads any more."""
    try:
        poll = select.poll()
        poll.register(stream, 0)
        return bool(poll.poll(0))
    except (OSError, ValueError, TypeError, AttributeError):  # none that the system knows
        return False


if __name__ == "__main__":
    sys.exit(main())
