"""What a reader is shown next: by an order, through filters, with second readings among it that nobody announces."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from wsss_mm.errors import InputError
from wsss_mm.labelling.entries import CORRECTION
from wsss_mm.web.label.desk import ANSWERED, ARTEFACT, SKIPPED, UNSEEN, Desk
from wsss_mm.web.label.marked import marked_rows
from wsss_mm.web.label.session import Session

Order = Literal["random", "useful", "slide", "clusters", "doubtful", "settlement"]
ORDERS: tuple[Order, ...] = get_args(Order)

EVERY, AGO = 25, 20
"""One of so many patches comes a second time, to who answered it at least so many answers ago."""
MOST = 100  # patches of one queue
_AHEAD = 500  # picks made in one go
RENEWED = 50  # answers after which what is useful or doubtful is looked at anew
_STATES = {"unseen": UNSEEN, "answered": ANSWERED, "skipped": SKIPPED, "artefact": ARTEFACT}

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Filters:
    """Which patches a reader wants; None for all.

    Attributes:
        slide: a slide_id.
        site: a site; empty where it is not known.
        code: a class that the reader said is present, or that is suggested.
        state: unseen, answered, skipped or artefact, or of the class: present, absent or unsure.
        without: slides to leave out, as those whose files are gone.
    """

    slide: str | None = None
    site: str | None = None
    code: str | None = None
    state: str | None = None
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """Which part of a queue: the first `n` patches, without the rows in hand already, in the order of a seed."""

    n: int = MOST
    skip: Sequence[int] = ()
    seed: int = 0


@dataclass(frozen=True)
class Item:
    """A patch of a queue: its row, what brought it there, and whether it is a second reading."""

    row: int
    drawn: str
    repeat: bool = False


@dataclass(frozen=True)
class Queue:
    """The next patches, how many there are, and whether the order is still being made (then they come at random)."""

    items: list[Item]
    left: int
    pending: bool = False
    note: str = ""


def make_queue(session: Session, desk: Desk, order: Order, filters: Filters, page: Page) -> Queue:
    """The next patches of a reader.

    Raises:
        InputError: there is no such slide, site, class or state.
    """
    places = placed(session, filters)
    in_hand = np.fromiter((row for row in page.skip if row < len(places)), np.int64)
    if order in ("settlement", "doubtful"):
        places[in_hand] = False
        return (
            _settlement(session, desk, places, page)
            if order == "settlement"
            else _doubtful(session, desk, places, page)
        )
    wanted = places & _stated(session, desk, filters)
    wanted[in_hand] = False
    if desk.count <= 2 * EVERY:  # or no patch of the first could come twice
        page = replace(page, n=min(page.n, 2 * EVERY))
    found = _in_order(session, desk, order, (places, wanted), page)
    if filters.state in (None, "unseen") and filters.code is None:
        once = places.copy()
        once[in_hand] = False
        items = _with_repeats(desk, found.items, once, page)
        return replace(found, items=_with_marked(marked_rows(session, desk, once), items))
    return found


def placed(session: Session, filters: Filters) -> Mask:
    """(N,) whether a patch is of the slide and site that a filter names.

    Raises:
        InputError: there is no such slide or site.
    """
    table = session.table
    found = np.ones(len(table), bool)
    if filters.slide is not None:
        if filters.slide not in table.index_of:
            raise InputError(f"no slide {filters.slide[:80]!r} has candidates; choose another")
        found &= table.slide == table.index_of[filters.slide]
    left_out = [table.index_of[name] for name in filters.without if name in table.index_of]
    found &= ~np.isin(table.slide, left_out)
    if filters.site is not None:
        of_site = np.array([item.site == filters.site for item in table.slides], bool)
        if not of_site.any():
            raise InputError(f"no slide is of site {filters.site[:80]!r}; choose another")
        found &= of_site[table.slide]
    return found


def _stated(session: Session, desk: Desk, filters: Filters) -> Mask:
    """(N,) whether a patch is in a state, for this reader: unseen unless a filter says otherwise."""
    state, code = filters.state, filters.code
    if code is not None and code not in session.codes:
        raise InputError(f"no class {code[:40]!r}; choose of {', '.join(session.codes)}")
    if state is not None and state not in (*_STATES, "present", "absent", "unsure"):
        raise InputError(f"no state {state[:40]!r}; choose of {', '.join(_STATES)}, present, absent, unsure")
    found = np.ones(len(session.table), bool)
    if state in _STATES:
        found &= desk.state == _STATES[state]
    if state in ("present", "absent", "unsure"):
        return _said(desk, len(found), code, state)
    if code is not None:
        return found & (_said(desk, len(found), code, "present") | _suggested(session, desk, code))
    return found if state is not None else desk.state == UNSEEN


def _said(desk: Desk, count: int, code: str | None, state: str) -> Mask:
    found = np.zeros(count, bool)
    with desk.lock:
        for row, entry in desk.mine.items():
            said = entry.get("classes", {})
            found[row] = state in said.values() if code is None else said.get(code) == state
    return found


def _suggested(session: Session, desk: Desk, code: str) -> Mask:
    features = session.features if session.options.suggestions else None
    if features is None or features.scores is None:
        return np.zeros(len(desk.state), bool)
    return (desk.state == UNSEEN) & (np.asarray(features.scores)[:, session.codes.index(code)] >= 0.5)


def _in_order(session: Session, desk: Desk, order: str, masks: tuple[Mask, Mask], page: Page) -> Queue:
    (places, wanted), seed, n = masks, page.seed, min(page.n, MOST)
    left = int(wanted.sum())
    if order == "slide":
        rows = session.cached("by slide", session.table.by_slide)
        return Queue([Item(int(row), "slide") for row in rows[wanted[rows]][:n]], left)
    note, pending = "", False
    if order in ("useful", "clusters"):
        features = session.features_job()
        if features is not None and features.result is not None:
            key = (order, desk.reader, seed, zlib.crc32(np.packbits(places).tobytes()))
            job = session.renewed(key, _epoch(desk), partial(_pick, session, desk, order, places, seed))
            picks = [item for item in job.result or () if wanted[item.row]]
            if picks:
                return Queue(picks[:n], left)
            note, pending = job.error, not job.done
        else:
            note = "features are not computed" if features is None else features.error
            pending = features is not None and not features.error
    return Queue(_at_random(session, wanted, seed, n), left, pending, note)


def _epoch(desk: Desk) -> int:
    """Goes up with every so many patches that were looked at."""
    return int((desk.state != UNSEEN).sum()) // RENEWED


def _at_random(session: Session, wanted: Mask, seed: int, n: int) -> list[Item]:
    from wsss_mm.sampling.order import random_order

    rows = session.cached(("random", seed), lambda: np.asarray(random_order(len(wanted), seed)))
    return [Item(int(row), "random") for row in rows[wanted[rows]][:n]]


def _pick(session: Session, desk: Desk, order: str, places: Mask, seed: int) -> list[Item]:
    seen = ~places | (desk.state != UNSEEN)
    picks = session.thinking.ask("picks", order, seen, session.states(desk), _AHEAD, seed)
    return [Item(row, drawn) for row, drawn in picks]


def _with_repeats(desk: Desk, items: list[Item], places: Mask, page: Page) -> list[Item]:
    """Put second readings among patches, one in a place of each `EVERY` that nobody can foresee.

    Places are counted from the reader's first answer, so that they stay where they are when a queue is asked for again.
    """
    rows = [row for row in desk.second_readings(AGO) if places[row]]
    out: list[Item] = []
    number = desk.count + len(page.skip)
    for item in items:
        rng = np.random.default_rng((page.seed, zlib.crc32(desk.reader.encode()), number // EVERY))
        if rows and number % EVERY == int(rng.integers(EVERY)):
            row = rows.pop(int(rng.integers(len(rows))))
            out.append(Item(row, item.drawn, repeat=True))
            number += 1
        out.append(item)
        number += 1
    return out


def _with_marked(rows: Sequence[int], items: list[Item]) -> list[Item]:
    """Put patches that were found wrongly segmented before all others."""
    return [*(Item(row, CORRECTION) for row in rows), *(item for item in items if item.row not in rows)]


def _settlement(session: Session, _: Desk, places: Mask, page: Page) -> Queue:
    rows = [row for row, _ in disputed(session) if places[row]]
    return Queue([Item(row, "settlement") for row in rows[: page.n]], len(rows))


def disputed(session: Session) -> list[tuple[int, list[str]]]:
    """Patches of which readers said different things and nobody has decided: rows, and codes of the classes."""
    from wsss_mm.labelling.agreement import disputes

    found = (
        (session.table.row_of(item.place._asdict()), [code for code in item.classes if code in session.codes])
        for item in disputes(session.journals())
    )
    return [(row, codes) for row, codes in found if row is not None and codes]


def _doubtful(session: Session, desk: Desk, places: Mask, page: Page) -> Queue:
    features = session.features_job()
    if features is None or features.error:
        return Queue([], 0, note="no features: " + (features.error if features else "switched off"))
    if features.result is None:
        return Queue([], 0, pending=True)
    job = session.renewed(
        ("doubtful", desk.reader, page.seed),
        desk.count // RENEWED,
        lambda: session.thinking.ask("doubts", session.states(desk)),
    )
    if not job.done or job.error:
        return Queue([], 0, pending=not job.done, note=job.error)
    done = desk.doubts_answered()
    rows = [row for row in job.result if places[row] and row not in done]
    return Queue([Item(row, "doubtful") for row in rows[: page.n]], len(rows))
