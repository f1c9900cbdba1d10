"""Log lines stay lines, whatever the names in them are."""

import copy
import logging
import sys
from pathlib import PurePath

from wsss_mm.errors import spelled_out


class OneLine(logging.Formatter):
    """Spells out what a terminal would not print as it is in the texts and paths that a message is filled with."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        if isinstance(record.args, tuple):
            record = copy.copy(record)
            record.args = tuple(spelled_out(str(a)) if isinstance(a, str | PurePath) else a for a in record.args)
        return super().format(record)


def log_to_stderr(level: int, layout: str) -> None:
    """Show log lines of this level and above on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(layout))
    logging.basicConfig(level=level, handlers=[handler])
