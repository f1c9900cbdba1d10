"""What a process says on stderr: log records without the secrets of URIs, and how it ends when it is interrupted."""

import logging
import signal
import sys

from wsss_mm.uris import shown

INTERRUPTED = 128 + signal.SIGINT
"""Exit code of a process that Ctrl-C ended, as a shell says of it."""


def log_to_stderr(level: int, style: str) -> None:
    """Send log records of this level and above to stderr, unless somebody has set up logging before."""
    logging.basicConfig(level=level, format=style, stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        without_secrets(handler)


def without_secrets(handler: logging.Handler) -> None:
    """Let a handler write URIs without their users, passwords and secret parameters."""
    handler.addFilter(_show)


def _show(record: logging.LogRecord) -> bool:
    record.msg, record.args = shown(record.getMessage()), None
    return True
