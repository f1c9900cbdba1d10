"""The quarantine: a reviewed list of patches and slides that are set aside. Nothing is deleted.

`data/quarantine.csv` is in git. The patches stage leaves out what it names, the cohort gate and the segmentation of
slides pass over quarantined slides, and a row that is removed from the list is back after `dvc repro`.
"""

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import date
from pathlib import Path
from typing import Literal

import pandas as pd

from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path, read_cells

logger = logging.getLogger(__name__)

PATH = Path("data/quarantine.csv")

Kind = Literal["patch", "slide"]
KINDS: tuple[Kind, ...] = ("patch", "slide")


@dataclass(frozen=True)
class Entry:
    """A row of the list.

    Attributes:
        kind: What is set aside, `patch` or `slide`.
        id: Its patch_id or slide_id.
        gate: The gate that found it, or empty.
        expectation: The check it failed, or empty.
        reason: Why it is set aside, in words.
        reviewer: Who looked at it.
        date: When, as YYYY-MM-DD.
    """

    kind: str
    id: str
    gate: str
    expectation: str
    reason: str
    reviewer: str
    date: str


COLUMNS = tuple(field.name for field in fields(Entry))


def read_quarantine(path: Path | str = PATH) -> list[Entry]:
    """Read and check the list; a missing file is an empty list.

    Raises:
        InputError: names the line and the remedy.
    """
    path = Path(path)
    if not path.is_file():
        return []
    table = read_cells(path, absent="not found", remedy="git checkout it")
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise InputError(f"{path}: column {', '.join(missing)} is missing; the columns are {', '.join(COLUMNS)}")
    entries = [Entry(*row) for row in table[list(COLUMNS)].itertuples(index=False)]
    for line, entry in enumerate(entries, start=2):  # the header is line 1
        _check(entry, f"{path}: line {line}")
    return entries


def write_quarantine(entries: Iterable[Entry], path: Path | str = PATH) -> None:
    """Write the list, atomically, sorted by kind and id, so that git shows what was added."""
    rows = sorted((asdict(entry) for entry in entries), key=lambda row: (row["kind"], row["id"]))
    with atomic_path(path) as temporary:
        pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(temporary, index=False, lineterminator="\n")


def add_entries(new: Iterable[Entry], path: Path | str = PATH) -> list[Entry]:
    """Add to the list what is not in it yet, and give back what was added.

    Raises:
        InputError: an entry is incomplete, or the list is wrong.
    """
    known = {(entry.kind, entry.id): entry for entry in read_quarantine(path)}
    added = []
    for entry in new:
        _check(entry, f"{entry.kind} {entry.id}")
        if (entry.kind, entry.id) not in known:
            known[entry.kind, entry.id] = entry
            added.append(entry)
    write_quarantine(known.values(), path)
    return added


def remove_entries(ids: Iterable[str], path: Path | str = PATH) -> list[Entry]:
    """Take ids off the list, and give back what was removed.

    Raises:
        InputError: one of them is not in it.
    """
    entries, ids = read_quarantine(path), set(ids)
    unknown = sorted(ids - {entry.id for entry in entries})
    if unknown:
        raise InputError(f"{path}: {unknown[0]!r} is not in it; see: wsss-mm quarantine list")
    write_quarantine([entry for entry in entries if entry.id not in ids], path)
    return [entry for entry in entries if entry.id in ids]


def quarantined(kind: Kind, path: Path | str = PATH) -> frozenset[str]:
    """Ids of the patches or slides that are set aside.

    Raises:
        InputError: see `read_quarantine`.
    """
    return frozenset(entry.id for entry in read_quarantine(path) if entry.kind == kind)


def without_quarantined(manifest: pd.DataFrame, path: Path | str = PATH) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split a manifest into the rows to work with and those set aside.

    Ids that are not there are no error, since the cohort may be another one; they are named in a warning.

    Raises:
        InputError: nothing is left, or see `read_quarantine`.
    """
    patches, slides = quarantined("patch", path), quarantined("slide", path)
    aside = manifest["patch_id"].isin(patches) | manifest["slide_id"].isin(slides)
    absent = sorted(patches - set(manifest["patch_id"]))
    if absent:
        logger.warning("%s: %d patches are not in this cohort, the first: %s", path, len(absent), absent[0])
    if aside.any():
        logger.info("%s: %d of %d patches are set aside", path, int(aside.sum()), len(manifest))
    if len(manifest) and aside.all():
        raise InputError(f"{path}: sets every patch aside; see: wsss-mm quarantine list")
    return manifest[~aside].reset_index(drop=True), manifest[aside].reset_index(drop=True)


def _check(entry: Entry, where: str) -> None:
    if entry.kind not in KINDS:
        raise InputError(f"{where}: kind {entry.kind!r} is none of {', '.join(KINDS)}")
    for name in ("id", "reason", "reviewer"):
        if not getattr(entry, name).strip():
            raise InputError(f"{where}: {name} is empty; a quarantined row says what, why and who looked at it")
    try:
        date.fromisoformat(entry.date)
    except ValueError:
        raise InputError(f"{where}: date {entry.date!r} is no date; write YYYY-MM-DD") from None
