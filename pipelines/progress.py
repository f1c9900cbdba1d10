"""Where a run of the whole line is: which stage of how many this is, and how long it will take from here.

`make repro` names in the environment the stages that DVC will look at (scripts/whole_line.py). A stage that begins says
which of them it is; under a plain `dvc repro` it says nothing. How long it took is kept either way, for the next time.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import locked, read_json, write_json

SECONDS, ENDED = "seconds", "ended"
_MINUTE, _SHORT = 60, 90  # s
_MINUTES = 60  # of an hour

logger = logging.getLogger(__name__)


@contextmanager
def timed_stage() -> Iterator[None]:
    """Say which stage begins, and keep how long it took once it has ended well."""
    stage = os.environ.get("DVC_STAGE", "").rpartition(":")[2]
    if stage and (said := whereabouts(stage, _line(), known_times())):
        sys.stderr.write(said + "\n")
        sys.stderr.flush()
    began = time.monotonic()
    yield
    if stage:
        _keep(stage, time.monotonic() - began)


def whereabouts(stage: str, line: Mapping[str, Sequence[str]], times: Mapping[str, float]) -> str | None:
    """One line such as "stage 5 of 20, about 9 min to the end: train_classifier".

    What builds on this stage is taken to run, too, as long as it did last time; what does not build on it, not.

    Args:
        stage: The one that begins.
        line: See `wsss_mm.places.STAGES_VARIABLE`; empty where nobody knows.
        times: Seconds that stages took last time; none of those that never ran to their end.
    """
    if stage not in line:
        return None
    names = list(line)
    ahead = [stage, *(name for name in names if name in line[stage])]
    known = [times[name] for name in ahead if name in times]
    new = len(ahead) - len(known)
    if not new:
        left = f", about {duration(sum(known))} to the end"
    elif known:
        left = f", {duration(sum(known))} to the end, and what {new} stages take that never ran here"
    else:
        left = "; how long it takes is known after the first run"
    return f"stage {names.index(stage) + 1} of {len(names)}{left}: {stage}"


def duration(seconds: float) -> str:
    """Such as "40 s", "9 min" or "1 h 20 min"."""
    seconds = max(1, round(seconds))
    if seconds < _SHORT:
        return f"{seconds} s"
    hours, minutes = divmod(int(seconds / _MINUTE + 0.5), _MINUTES)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def known_times() -> dict[str, float]:
    """Seconds that each stage took when it last ran to its end."""
    return {name: float(row[SECONDS]) for name, row in _rows().items()}


def ended_since(moment: float) -> list[str]:
    """Stages that have run to their end since a moment (s since 1970), in no order."""
    return [name for name, row in _rows().items() if row[ENDED] >= moment]


def _line() -> dict[str, list[str]]:
    try:
        line = json.loads(os.environ.get(places.STAGES_VARIABLE) or "{}")
    except ValueError:
        return {}
    return line if isinstance(line, dict) and all(isinstance(after, list) for after in line.values()) else {}


def _rows() -> dict[str, dict[str, float]]:
    """What is kept; a file that is damaged, or of another form, is no memory."""
    try:
        content = read_json(places.STAGE_TIMES)
    except (OSError, ValueError):
        return {}
    rows = content.items() if isinstance(content, dict) else ()
    return {name: row for name, row in rows if isinstance(row, dict) and _is_whole(row)}


def _is_whole(row: Mapping[str, object]) -> bool:
    return all(isinstance(row.get(key), int | float) for key in (SECONDS, ENDED))


def _keep(stage: str, seconds: float) -> None:
    try:
        with locked(places.STAGE_TIMES):
            write_json(places.STAGE_TIMES, _rows() | {stage: {SECONDS: seconds, ENDED: time.time()}})
    except (InputError, OSError) as error:  # the stage's outs are written, and count
        logger.warning("how long %s took is not kept: %s", stage, error)
