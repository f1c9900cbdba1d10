"""Ctrl-C is one line on stderr and exit code 130, from the first import to the last."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

INTERRUPTED = 128 + signal.SIGINT
"""Exit code of a process that Ctrl-C ended, as a shell says of it."""


def say_when_interrupted(line: str) -> None:
    """A Ctrl-C that nobody catches, as long as a program is being imported, becomes a line without a traceback."""
    others = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.stderr.write(f"{line}\n")
            sys.exit(INTERRUPTED)
        others(kind, error, trace)

    sys.excepthook = hook


@contextmanager
def deaf_children() -> Iterator[None]:
    """Processes that begin in the block do not hear the terminal's Ctrl-C: who began them hears it, and ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def ended_children() -> Iterator[None]:
    """Processes that begin in the block are ended by an error or Ctrl-C in it, in the midst of their work.

    Inside the block of a pool of processes, which would wait for what they are at.
    """
    from multiprocessing import active_children

    before = set(active_children())
    try:
        yield
    except BaseException:
        for child in set(active_children()) - before:
            child.terminate()
        raise
