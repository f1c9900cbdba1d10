"""The one error a user can mend, and the exit of a process that was asked to end."""

import signal

from wsss_mm.uris import shown


class InputError(Exception):
    """Something the user gave is wrong: a file, a row, a parameter.

    The message is one line that names the file or row and the remedy. The command line and the pipeline stages
    print it to stderr and exit with code 2; any other exception is a defect and keeps its traceback. Names from data
    are part of it, so what a terminal would not print as it is (line breaks, escape sequences) is spelled out, and URIs
    lose the secrets in them.
    """

    def __init__(self, message: str) -> None:
        super().__init__(spelled_out(shown(message)))


class BusyError(InputError):
    """Another process is at work on the same file or folder."""


def not_text(error: UnicodeEncodeError) -> InputError:
    """What to say where a name that is no UTF-8 comes to a place that takes text alone."""
    around = str(error.object)[max(0, error.start - 60) : error.end + 60]
    return InputError(f"{around}: not UTF-8; give the file or folder, or write the text, in UTF-8")


class Terminated(SystemExit):
    """The process was asked to end, by SIGTERM; it exits with code 143, as a shell says of such a process."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)

    def __str__(self) -> str:
        return "the process got SIGTERM (a scheduler, a shutdown, or kill)"


def spelled_out(text: str) -> str:
    """Text on one line that any terminal and file takes: line breaks, escape sequences and bytes that are no UTF-8."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def plain_lines(text: str) -> str:
    """Text from elsewhere for a terminal, each of its lines spelled out."""
    return "\n".join(spelled_out(line.replace("\t", "    ")) for line in text.split("\n"))
