"""URIs that leave the process, in messages, pages, tags and files, lose the secrets in them."""

import re
from urllib.parse import urlsplit

_URI = re.compile(r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.\-]*://)(?P<rest>[^\s'\"<>`]*)")
_SECRET = re.compile(
    r"(?P<name>[?&;][^=&;#\s]*(?:pass|pwd|token|secret|key|sig|credential)[^=&;#\s]*=)[^&;#\s]*", re.IGNORECASE
)


def shown(text: str) -> str:
    """A text for people to read: URIs in it, of any scheme, have no user, no password, and no secret parameters.

    A password that is not escaped may hold `@`, `/` or `:`; what cannot be told from one goes, too.
    """
    return _SECRET.sub(r"\g<name>***", _URI.sub(_without_user, text))


def _without_user(found: re.Match[str]) -> str:
    before, at, after = found["rest"].rpartition("@")
    host = before.partition("/")[0]
    # An @ of a path is no user's: there is a / before it, and no colon before that but the one of a port.
    of_a_path = "/" in before and "@" not in host and re.fullmatch(r"[^:]*(:\d*)?|\[[^\]]*\](:\d*)?", host)
    return found[0] if not at or of_a_path else found["scheme"] + after


def is_private(uri: str) -> bool:
    """Whether what is sent to a URI can be read by nobody on the way: https, or plain http within this machine."""
    parts = urlsplit(uri)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1"))
