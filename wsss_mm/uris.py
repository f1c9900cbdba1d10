"""URIs that leave the process, in messages, pages, tags and files, lose the secrets in them."""

import re

_URI = re.compile(r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.\-]*://)(?P<rest>[^\s'\"<>`]*)")
_SECRET = re.compile(
    r"(?P<name>[?&;#][^=&;#\s]*(?:pass|pwd|token|secret|key|sig|credential|auth(?!or))[^=&;#\s]*=)[^&;#\s]*",
    re.IGNORECASE,
)
_PAIR = re.compile(  # of a connection string, an environment, or a header
    r"(?P<name>\b[\w-]*(?:password|passwd|pwd|secret|token|(?:access|account|secret|api)_?key)\s?=\s?|"
    r"\bauthorization:\s*\w+\s+)[^&;#\s'\",]+",
    re.IGNORECASE,
)


def shown(text: str) -> str:
    """A text for people to read: URIs in it, of any scheme, have no user, no password, and no secret parameters.

    A password that is not escaped may hold `@`, `/` or `:`; what cannot be told from one goes, too. So do the values of
    `password=...` and the like, as drivers of databases and clouds say them.
    """
    return _PAIR.sub(r"\g<name>***", _SECRET.sub(r"\g<name>***", _URI.sub(_without_user, text)))


def _without_user(found: re.Match[str]) -> str:
    before, at, after = found["rest"].rpartition("@")
    host = before.partition("/")[0]
    # An @ of a path is no user's: there is a / before it, and no colon before that but the one of a port.
    of_a_path = "/" in before and "@" not in host and re.fullmatch(r"[^:]*(:\d*)?|\[[^\]]*\](:\d*)?", host)
    return found[0] if not at or of_a_path else found["scheme"] + after
