"""What pages post about patches, as far as all pages say it alike; nothing of it is taken for what it says before."""

from collections.abc import Mapping
from typing import Any

from wsss_mm.errors import InputError
from wsss_mm.labelling.entries import is_id

_LONGEST = 24 * 3600.0  # s


def request_id(body: Mapping[str, Any]) -> str:
    """The page's name of a request.

    Raises:
        InputError: it has none.
    """
    name: Any = body.get("id")
    if not is_id(name):
        raise InputError("id is not 32 hexadecimal digits; reload the page")
    return name


def seconds_of(body: Mapping[str, Any]) -> float | None:
    """How long a reader took, s; at most a day. None where the page does not say.

    Raises:
        InputError: it is no time.
    """
    seconds = body.get("seconds")
    if seconds is None:
        return None
    if type(seconds) not in (int, float) or not seconds >= 0:
        raise InputError("seconds is no time; reload the page")
    return round(float(min(seconds, _LONGEST)), 2)
