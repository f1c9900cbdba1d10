"""URIs that leave the process, in messages, pages, tags and files, lose the secrets in them."""

import re

_HIDDEN = "***"
_PORT = r"(?!\d*(?:[\s/?#,;:)\]'\"<>`]|$))"  # a colon is followed by no port
_UNSPACED, _SPACED = r"(?:(?!://)\S){1,512}", r"(?:(?!://)[^\n\r@]){1,512}"
_PLACES = re.compile(
    # A URI. A password that is not escaped may hold spaces, quotes, and more @; no other URI begins in it.
    rf"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.\-]{{0,63}}://)"
    rf"(?P<rest>(?:[^\s/@:?&;#'\"<>`\[\]]*:{_PORT}(?:{_UNSPACED}|{_SPACED})@(?=[\w\[]))?[^\s'\"<>`]*)"
    # A path with a query, as libraries name what they asked a server for.
    r"|(?P<path>(?<![^\s'\"(=:])/[^\s'\"<>`?]{0,2000})(?P<query>\?[\w.\-\[\]%]{1,64}=[^\s'\"<>`]*)"
    # What an scp-like address or one without its scheme has before its host.
    r"|(?<![\w@/.+\-])(?!(?:models|runs|file|dbfs|sqlite|mlflow-artifacts|[A-Za-z]):[/\\]|mailto:)"
    r"[A-Za-z_][\w.+\-]{0,63}:[^\s'\"<>`]{1,512}@"
    r"(?=(?:[A-Za-z][\w.\-]*|[\d.]+|\[[\da-fA-F:.]+\])[:/][^\s:'\"<>`]"
    r"|localhost\b|(?:[\w\-]+\.)+[A-Za-z][\w\-]*(?![\w\-@]))(?!sha\d+:)"
    # A query or a form on its own.
    r"|(?<![\w.\-%&=])(?P<form>[\w.\-%\[\]]{1,64}=[^\s&'\"<>`]{0,2000}(?:&[\w.\-%\[\]]{1,64}=[^\s&'\"<>`]*)+)"
)
_KEY = r"(?:access|account|secret|shared|private|api)[_\-]?key"
_NAME = rf"[\w.\-]*(?:pass(?:word|wd|phrase)|pwd|secret|token|credentials?|{_KEY})"
_QUOTED = r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\""
_PAIR = re.compile(  # of a connection string, an environment, a call, a command line, a header, or JSON
    rf"(?P<name>(?<![\w.\-]){_NAME}\s?=\s?|['\"](?:{_NAME}|authorization|cookie)['\"]\s?:\s?"
    rf"|(?<![\w.\-])--{_NAME}(?:[ \t]+|['\"],\s?))(?P<quoted>{_QUOTED})"
    rf"|(?P<bare>(?<![\w.\-]){_NAME}\s?=\s?|\bauthorization:\s*\w+\s+|(?<![\w.\-])--{_NAME}[ \t]+(?!-))"
    r"(?!\*\*\*|['\"])[^;\s]*[^;\s,.)\]'\"]",
    re.IGNORECASE,
)
_SECRET = re.compile(
    r"(?P<name>[?&;#][^=&;#\s]*(?:pass|pwd|token|secret|key|sig|credential|auth(?!or))[^=&;#\s]*=)(?!\*\*\*)[^&;#\s]+",
    re.IGNORECASE,
)
_IS_NAME = re.compile(r"[A-Za-z][\w.\-\[\]]{0,63}")
_HARMLESS = {  # what may stand in a query for all to see: how to connect, and which run is asked for
    *("sslmode", "charset", "driver", "timeout", "connect_timeout", "application_name", "check_same_thread"),
    *("region", "versionid", "version", "page", "max_results", "run_id", "run_uuid", "experiment_id", "view_type"),
}


def shown(text: str) -> str:
    """A text for people to read, whose URIs, of any scheme, have no user, no password, and no value that may be secret.

    Of queries, fragments and forms the values are hidden, but those of a few names. A password that is not escaped may
    hold `@`, `/` or `:`; what cannot be told from one goes, too. So do `user:password@` before a host without a scheme,
    and the values of `password=...` and the like, as drivers of databases and clouds say them, and of options such as
    `--token ...` of a command line. A secret that is a part of a path looks like any name, and stays.
    """
    return _PAIR.sub(_without_value, _SECRET.sub(rf"\g<name>{_HIDDEN}", _PLACES.sub(_without_secrets, text)))


def _without_secrets(found: re.Match[str]) -> str:
    if found["scheme"]:
        return found["scheme"] + _without_values(_without_user(found["rest"]))
    if found["query"]:
        return found["path"] + _without_values(found["query"])
    return _without_values("?" + found["form"])[1:] if found["form"] else ""


def _without_user(rest: str) -> str:
    before, at, after = rest.rpartition("@")
    host = re.split("[/?#;]", before)[0]
    # An @ of a path is no user's: there is a / before it, and no colon before that but the one of a port. A host with
    # a port may as well be a user with a password, unless no user has such a name.
    of_a_path = host != before and re.fullmatch(r"[^:@]*|(localhost|[\d.]+|\[[^\]@]*\])(:\d*)?", host)
    return rest if not at or of_a_path else after


def _without_values(rest: str) -> str:
    """Of `host/path?name=value&...#name=value`: a piece without a name is a value, but at the beginning of # or ;."""
    path, *pieces = re.split(r"([?&;#])", rest)
    if not any(mark != "&" for mark in pieces[::2]):
        return rest
    result, in_query = path, False
    for mark, piece in zip(pieces[::2], pieces[1::2], strict=True):
        name, equals, value = piece.partition("=")
        in_query |= mark in "?&"
        no_value = not equals and (not in_query or not re.search(r"\w", piece))
        if no_value or (name.lower() in _HARMLESS and re.fullmatch(r"[\w.,:+\-)\]]*", value)):
            result += mark + piece
        elif equals and value.strip("=") and _IS_NAME.fullmatch(name):
            result += f"{mark}{name}={_HIDDEN}"
        else:
            result += mark + _HIDDEN
    return result


def _without_value(found: re.Match[str]) -> str:
    if found["quoted"]:
        return f"{found['name']}{found['quoted'][0]}{_HIDDEN}{found['quoted'][-1]}"
    return found["bare"] + _HIDDEN
