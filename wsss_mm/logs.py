"""What a process says on stderr: log lines stay lines, whatever the names in them are, and show no secrets of URIs."""

import copy
import logging
import sys
import threading
import traceback
from pathlib import PurePath
from types import TracebackType

from wsss_mm.errors import spelled_out
from wsss_mm.uris import shown


class OneLine(logging.Formatter):
    """Spells out what a terminal would not print as it is in the texts and paths that a message is filled with.

    URIs, those of a traceback too, lose their users, passwords and secret parameters.
    """

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        args = record.args
        if isinstance(args, tuple):
            record = copy.copy(record)
            record.args = tuple(spelled_out(str(a)) if isinstance(a, str | PurePath) else a for a in args)
        return shown(super().format(record))


def log_to_stderr(level: int, layout: str) -> None:
    """Show log lines of this level and above on stderr; what nobody catches loses the secrets of URIs, too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(layout))
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("torch").setLevel(max(level, logging.WARNING))  # it says figures of its caches at the very end
    interrupted = sys.excepthook  # see `wsss_mm.interrupts`

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        (interrupted if issubclass(kind, KeyboardInterrupt) else _show_traceback)(kind, error, trace)

    sys.excepthook = hook
    threading.excepthook = lambda args: _show_traceback(args.exc_type, args.exc_value, args.exc_traceback)


def _show_traceback(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if not issubclass(kind, SystemExit):  # which ends a thread without a word
        sys.stderr.write(shown("".join(traceback.format_exception(kind, error, trace))))
