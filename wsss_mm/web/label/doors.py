"""Who asks: the readers, by name on this machine, and by a secret of their own from elsewhere."""

import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path, locked, read_json
from wsss_mm.labelling.entries import CORRECTION

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

DRAWN = ("random", "useful", "slide", "clusters", "similar", "doubtful", "settlement", "search", CORRECTION)
"""How a patch came to a reader, as journals say it."""
_KEY, _READERS = "key", "readers.json"
_REMEMBERED = 180 * 86400  # s that a browser knows its reader


class Doors:
    """Secrets of the server, kept in a folder that only its user reads, so that open pages outlive a restart.

    Attributes:
        readers: whose pages there are.
        guarded: whether each needs the reader's secret.
        cookie: what the browser's note of its reader is called, as servers on one machine share cookies.
    """

    def __init__(self, readers: Sequence[str], folder: Path, *, guarded: bool) -> None:
        self.readers, self.guarded = tuple(readers), guarded
        self._folder = folder
        with locked(folder / _KEY):
            self._key = _kept_key(folder / _KEY)
        self._hashes = self._kept_hashes()
        self.cookie = f"wsss-reader-{self._sign('cookie')[:8]}"

    def new_secrets(self, *, anew: bool = False) -> dict[str, str]:
        """Make secrets for the readers who have none, or for all anew; what is kept of them is a digest."""
        with locked(self._folder / _READERS):
            self._hashes = self._kept_hashes()
            made = {name: secrets.token_urlsafe(32) for name in self.readers if anew or name not in self._hashes}
            if made:
                self._hashes |= {name: _digest(secret) for name, secret in made.items()}
                _write_private(self._folder / _READERS, _as_json(self._hashes))
        return made

    def reader_of(self, cookie: str | None) -> str | None:
        """The reader whose cookie this is; None for a stranger."""
        if not cookie:
            return self.readers[0] if len(self.readers) == 1 and not self.guarded else None
        if not self.guarded:
            return cookie if cookie in self.readers else None
        return self.reader_with(cookie)

    def reader_with(self, secret: str) -> str | None:
        """The reader whose secret this is."""
        given = _digest(secret)
        found = None
        for name in self.readers:  # all of them, however early one fits
            if hmac.compare_digest(self._hashes.get(name, ""), given):
                found = name
        return found

    def token(self, reader: str, version: str) -> str:
        """What a page sends with each change: of which rows it speaks, and whose it is."""
        return f"{version}.{self._sign('page', reader, version)}.{reader}"

    def is_ours(self, token: str) -> bool:
        """Whether this server gave a page its token."""
        version, _, reader = token_parts(token)
        return hmac.compare_digest(self.token(reader, version).encode(), token.encode())

    def ticket(self, reader: str, row: int, drawn: str, *, repeat: bool) -> str:
        """What a queue says of a patch that the page is not told."""
        return self._sign("ticket", reader, str(row), drawn, str(int(repeat)))[:24]

    def told(self, reader: str, row: int, ticket: object) -> tuple[str, bool] | None:
        """How a patch was drawn, and whether it is a second reading; None if no queue of this server says so."""
        if not (isinstance(ticket, str) and ticket.isascii() and len(ticket) == 24):
            return None
        for drawn, repeat in product(DRAWN, (False, True)):
            if hmac.compare_digest(self.ticket(reader, row, drawn, repeat=repeat).encode(), ticket.encode()):
                return drawn, repeat
        return None

    def _sign(self, *parts: str) -> str:
        return hmac.new(self._key, "\0".join(parts).encode(), hashlib.sha256).hexdigest()

    def _kept_hashes(self) -> dict[str, str]:
        path = self._folder / _READERS
        if not path.exists():
            return {}
        _check_ours(path)
        try:
            content = read_json(path)
            kept = {name: text for name, text in content["readers"].items() if isinstance(text, str)}
        except (ValueError, OSError, KeyError, TypeError, AttributeError):
            raise InputError(f"{path}: damaged; delete it, and give the readers new links") from None
        return kept


def remembered(doors: Doors, value: str, *, secure: bool) -> "Response":
    """Leads to the start, and has the browser remember who reads there.

    Args:
        doors: whose cookie it is.
        value: of the cookie.
        secure: whether it is sent over TLS alone.
    """
    from flask import redirect, request

    response = redirect(f"{request.script_root}/")
    response.set_cookie(doors.cookie, value, httponly=True, samesite="Lax", secure=secure, max_age=_REMEMBERED)
    return response


def token_parts(token: str) -> tuple[str, str, str]:
    """Version of the rows, signature and reader of a token, which may be any text."""
    version, _, rest = token.partition(".")
    signature, _, reader = rest.partition(".")
    return version, signature, reader


def _check_ours(path: Path) -> None:
    """Secrets of one account are no other's, in a folder that several share, too."""
    if not os.access(path, os.R_OK):
        raise InputError(
            f"{path}: is of the account that serves the page here; ask for a link of yours, or work in your own clone"
        )


def _kept_key(path: Path) -> bytes:
    if path.is_file():
        _check_ours(path)
        key = path.read_bytes()
        if len(key) == 32:
            path.chmod(0o600)
            return key
    key = secrets.token_bytes(32)
    _write_private(path, key)
    return key


def _write_private(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.chmod(0o600)
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())


def _as_json(hashes: dict[str, str]) -> bytes:
    import json

    return (json.dumps({"format": 1, "readers": hashes}, indent=2, sort_keys=True) + "\n").encode()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
