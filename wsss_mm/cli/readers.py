"""Who reads: names of journals, for the commands that write to them."""

import getpass

from wsss_mm.errors import InputError
from wsss_mm.names import is_plain_name, safe_name


def reader_named(name: str | None) -> str:
    """A reader's name, by default that of the account.

    Raises:
        InputError: it cannot be that of a journal.
    """
    name = name or safe_name(getpass.getuser())
    if not is_plain_name(name):
        raise InputError(f"--reader {name}: names a file of journals; use letters, digits, dot, dash, underscore")
    return name
