"""The quarantine: a reviewed list of patches and slides that are set aside. Nothing is deleted.

`data/quarantine.csv` is in git. The patches stage leaves out what it names, the cohort gate and the segmentation of
slides pass over quarantined slides, and a row that is removed from the list is back after `dvc repro`.
"""

import logging
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from difflib import SequenceMatcher
from pathlib import Path
from typing import Literal

import pandas as pd

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path, locked
from wsss_mm.formats import read_rows
from wsss_mm.names import cell_text, likeness, text_cell
from wsss_mm.places import PATCH_MANIFEST
from wsss_mm.places import QUARANTINE_COLUMNS as COLUMNS
from wsss_mm.tables import fold, nearest_name, read_table

logger = logging.getLogger(__name__)

PATH = places.QUARANTINE

Kind = Literal["patch", "slide"]
KINDS: tuple[Kind, ...] = ("patch", "slide")

_FILE = re.compile(r"(\.ome)?\.(svs|tiff?|ndpi|mrxs|scn|vms|vmu|svslide|bif|czi|dcm|png|jpe?g|bmp)$", re.IGNORECASE)


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


def read_quarantine(path: Path | str = PATH) -> list[Entry]:
    """Read and check the list; a missing file is an empty list.

    Raises:
        InputError: names the line and the remedy.
    """
    return [entry for _, entry in quarantine_rows(Path(path))]


def write_quarantine(entries: Iterable[Entry], path: Path | str = PATH) -> None:
    """Write the list, atomically, sorted by kind and id, so that git shows what was added."""
    rows = sorted((asdict(entry) for entry in entries), key=lambda row: (row["kind"], row["id"]))
    with atomic_path(path) as temporary:
        cells = pd.DataFrame(rows, columns=list(COLUMNS)).map(text_cell)
        cells.to_csv(temporary, index=False, lineterminator="\n")


def add_entries(new: Iterable[Entry], path: Path | str = PATH) -> list[Entry]:
    """Add to the list what is not in it yet, and give back what was added; what is in it is named in a warning.

    Raises:
        InputError: an entry is incomplete or says what cannot be, or the list is wrong.
    """
    added, again = [], []
    with locked(path):
        known = {(entry.kind, entry.id): entry for entry in read_quarantine(path)}
        for entry in new:
            _check(entry, f"{entry.kind} {entry.id}")
            _check_day(entry)
            before = known.setdefault((entry.kind, entry.id), entry)
            (added if before is entry else again).append(before)
        if again:
            message = "%s: %d of them are set aside already, the first by %s on %s, %s %s: %s"
            first = again[0]
            told = (first.reviewer, first.date, first.kind, first.id, first.reason)
            logger.warning(message, path, len(again), *told)
        write_quarantine(known.values(), path)
    return added


def remove_entries(ids: Iterable[str], path: Path | str = PATH) -> list[Entry]:
    """Take ids off the list, and give back what was removed.

    Raises:
        InputError: one of them is not in it.
    """
    ids = {name.strip() for name in ids}
    with locked(path):
        entries = read_quarantine(path)
        known = {entry.id for entry in entries}
        unknown = sorted(ids - known)
        if unknown:
            near = nearest_name(unknown[0], known)
            hint = "" if near is None else f", but {near!r} is"
            raise InputError(f"{path}: {unknown[0]!r} is not in it{hint}; see: wsss-mm quarantine list")
        write_quarantine([entry for entry in entries if entry.id not in ids], path)
    return [entry for entry in entries if entry.id in ids]


def quarantined(kind: Kind, path: Path | str = PATH) -> frozenset[str]:
    """Ids of the patches or slides that are set aside.

    Raises:
        InputError: see `read_quarantine`.
    """
    return frozenset(entry.id for entry in read_quarantine(path) if entry.kind == kind)


def slides_aside(slides: pd.DataFrame, path: Path | str = PATH) -> frozenset[str]:
    """Ids of a cohort's slides that are set aside.

    A row that fits no slide is one of another cohort, and named in a warning; but one that nearly fits, or names a
    patient, stops: what somebody withdrew must not come back by a slip of the pen.

    Args:
        slides: slide_id and patient_id of the cohort.
        path: the list.

    Raises:
        InputError: names the line and the nearest slide; or see `read_quarantine`.
    """
    rows = [(line, entry.id) for line, entry in quarantine_rows(Path(path)) if entry.kind == "slide"]
    known = set(slides["slide_id"])
    absent = [(line, name) for line, name in rows if name not in known]
    written = {_spelling(name): name for name in known} if absent else {}
    for line, name in absent:
        where = f"{path}: line {line}: slide {name!r} is not in this cohort"
        own = slides.loc[slides["patient_id"] == name, "slide_id"].unique()
        if len(own):
            raise InputError(f"{where}, but a patient is; give each slide a row: {', '.join(own)}")
        meant = _meant(name, written)
        near = meant or nearest_name(name, known)
        if near is not None and (meant or _is_slip(name, near)):
            raise InputError(f"{where}, but {near!r} is; correct the row, or remove it if it means no slide of these")
    _warn(path, "slides", absent)
    return frozenset(name for _, name in rows) & known


def without_quarantined(manifest: pd.DataFrame, path: Path | str = PATH) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split a manifest into the rows to work with and those set aside.

    Patches that are not there are no error, since the cohort may be another one; they are named in a warning.

    Raises:
        InputError: nothing is left, an id is that of a patch written otherwise or of another kind, or see
            `read_quarantine`.
    """
    rows = quarantine_rows(Path(path))
    patches, slides = ({entry.id for _, entry in rows if entry.kind == kind} for kind in KINDS)
    aside = manifest["patch_id"].isin(patches) | manifest["slide_id"].isin(slides)
    of_slides = tuple(f"{name}-" for name in slides)  # may not have been cut at all
    known = set(manifest["patch_id"])
    absent = [
        (line, entry.id)
        for line, entry in rows
        if entry.kind == "patch" and entry.id not in known and not entry.id.startswith(of_slides)
    ]
    _check_patches(manifest, absent, path)
    for line, entry in rows:
        if entry.kind == "slide" and entry.id in known - set(manifest["slide_id"]):
            raise InputError(f"{path}: line {line}: {entry.id!r} is no slide but a patch; write kind patch")
    _warn(path, "patches", absent)
    if aside.any():
        logger.info("%s: %d of %d patches are set aside", path, int(aside.sum()), len(manifest))
    if len(manifest) and aside.all():
        raise InputError(f"{path}: sets every patch aside; see: wsss-mm quarantine list")
    return manifest[~aside].reset_index(drop=True), manifest[aside].reset_index(drop=True)


def check_known(kind: Kind, ids: Iterable[str], data: Path | str = PATH.parent) -> None:
    """Refuse ids that are not in the cohort, as far as one has been made.

    Args:
        kind: What they name.
        ids: As somebody gave them.
        data: Folder of `cohort` and `patches`.

    Raises:
        InputError: names the first that is not there, and the nearest that is.
    """
    places, known = known_ids(kind, Path(data))
    unknown = next((name for name in ids if name not in known), None) if places else None
    if unknown is not None:
        why = f"{places[0]}: {kind} {unknown!r} is not in it{meant_instead(kind, unknown, known, Path(data))}"
        raise InputError(f"{why}; correct the id, or add --force")


def meant_instead(kind: str, name: str, known: Collection[str], data: Path) -> str:
    """Of a name that is not of this kind, what is: of the other kind, or nearly."""
    other: Kind = "patch" if kind == "slide" else "slide"
    if name in known_ids(other, data)[1]:
        return f", but a {other} is called so"
    near = _meant(name, {_spelling(item): item for item in known}) or nearest_name(name, known)
    return "" if near is None else f", but {near!r} is"


def quarantine_rows(path: Path) -> list[tuple[int, Entry]]:
    """The list with the line of each row, checked."""
    if not path.is_file():
        return []
    table = read_table(path, COLUMNS, absent="not found", remedy="git checkout it")
    rows = [
        (line, Entry(kind.lower(), *map(_on_one_line, map(cell_text, cells))))
        for line, kind, *cells in table.itertuples()
    ]
    for line, entry in rows:
        _check(entry, f"{path}: line {line}")
    return rows


def _on_one_line(cell: str) -> str:
    return " ".join(filter(None, map(str.strip, re.split(r"[\r\n]", cell))))


def known_ids(kind: Kind, data: Path) -> tuple[list[Path], Collection[str]]:
    """Ids of a kind, and the files that name them; no file, no cohort yet."""
    if kind == "slide":
        from wsss_mm.cohort import Cohort  # OpenSlide takes a while to import

        table = data / places.COHORT.name / places.SLIDES_TABLE
        return ([table], set(Cohort.read(table, check_files=False).splits)) if table.is_file() else ([], ())
    folder = data / places.PATCHES.name
    names = (folder / places.MANIFEST, folder / places.SET_ASIDE / places.MANIFEST)
    there = [path for path in names if path.is_file()]
    tables = [read_rows(path, PATCH_MANIFEST, columns=["patch_id"]) for path in there]
    return there, {name for table in tables for name in table["patch_id"]}


def _check_patches(manifest: pd.DataFrame, absent: list[tuple[int, str]], path: Path | str) -> None:
    slides, written = set(manifest["slide_id"]), {_spelling(name): name for name in manifest["patch_id"] if absent}
    for line, name in absent:
        where = f"{path}: line {line}: patch {name!r} is not in this cohort"
        if name in slides:
            raise InputError(f"{where}, but a slide is; write kind slide, or the id of a patch")
        if meant := _meant(name, written):
            raise InputError(f"{where}, but {meant!r} is; correct the row")


def _warn(path: Path | str, kinds: str, absent: list[tuple[int, str]]) -> None:
    if absent:
        message = "%s: %d %s are not in this cohort, the first on line %d: %s"
        logger.warning(message, path, len(absent), kinds, *absent[0])


def _meant(cell: str, written: Mapping[str, str]) -> str | None:
    """The id that a cell holds written otherwise, with others, or as the name of a file; no id has a space in it."""
    for part in (cell, *re.split(r"[;,|\s]+", cell)):
        name = re.split(r"[/\\]", part)[-1]
        for spelling in (_spelling(name), _spelling(_FILE.sub("", name))):
            if spelling in written:
                return written[spelling]
    return None


def _spelling(name: str) -> str:
    """A name as it is compared: whatever its case, zeros and the marks between its parts."""
    return re.sub(r"[\W_]+", "-", likeness(name)).strip("-")


def _is_slip(name: str, near: str) -> bool:
    """Whether the letters and digits of two names differ by one at most, or in long names by one in eight."""
    a, b = (re.sub(r"[\W_]", "", fold(text)) for text in (name, near))
    same = sum(block.size for block in SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks())
    return max(len(a), len(b)) - same <= max(1, len(b) // 8)


def _check_day(entry: Entry) -> None:
    if date.fromisoformat(entry.date) > date.today() + timedelta(days=1):  # somewhere it is tomorrow already
        why = "is yet to come; write the day on which it was looked at"
        raise InputError(f"{entry.kind} {entry.id}: date {entry.date} {why}")


def _check(entry: Entry, where: str) -> None:
    if entry.kind not in KINDS:
        raise InputError(f"{where}: kind {entry.kind!r} is none of {', '.join(KINDS)}")
    for name in ("id", "reason", "reviewer"):
        if not getattr(entry, name).strip():
            raise InputError(f"{where}: {name} is empty; a quarantined row says what, why and who looked at it")
    try:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", entry.date):  # fromisoformat takes more
            raise ValueError
        date.fromisoformat(entry.date)
    except ValueError:
        raise InputError(f"{where}: date {entry.date!r} is no date; write YYYY-MM-DD") from None
