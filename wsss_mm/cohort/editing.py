"""The table of a user's own slides, changed by command: rows added, changed and taken out, and nothing else."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from wsss_mm import places
from wsss_mm.cohort.adding import NewSlide
from wsss_mm.cohort.adopt import warn_of_overruled
from wsss_mm.cohort.files import full_path, is_same, path_from
from wsss_mm.edited_tables import EditedTable, edit_of, edited
from wsss_mm.errors import InputError
from wsss_mm.names import likeness
from wsss_mm.slides.patients import check_alike
from wsss_mm.slides.reader import open_slide
from wsss_mm.slides.resolution import is_microscopes
from wsss_mm.slides.roi import read_annotations
from wsss_mm.slides.table import OPTIONAL, REQUIRED, name_fault, resolve
from wsss_mm.tables import nearest_name, number
from wsss_mm.vocabulary import SPLITS

logger = logging.getLogger(__name__)

NEW = ("slide_id", "patient_id", "site", "path", "split", "mpp", "roi", "annotation")
"""Columns of a table that is made here."""

_ABSENT = "no such table of slides; make it with: wsss-mm cohort add SLIDE..."

Rows = dict[int, dict[str, str]]
"""Cells by column, by the line of the row; a column that the table lacks is missing here, too."""


def read_slide_rows(table: Path) -> Rows:
    """The rows of a table as they are, however wrong.

    Raises:
        InputError: it is missing or no table of slides.
    """
    return edit_of(table, REQUIRED, OPTIONAL, absent=_ABSENT).rows


@contextmanager
def edited_slides(table: Path, *, create: bool = False, dry: bool = False) -> Iterator[EditedTable]:
    """The table of slides to change, for this block alone.

    Raises:
        InputError: it is the copy of stage cohort, missing, no table, or may not be written to.
    """
    if full_path(table).is_relative_to(full_path(places.COHORT)):
        raise InputError(
            f"{table}: is made by stage cohort, which replaces it; change your own table, {places.OWN_SLIDES}"
        )
    with edited(table, REQUIRED, OPTIONAL, absent=_ABSENT, create=NEW if create else (), dry=dry) as opened:
        yield opened


def add_slides(table: Path, slides: Sequence[NewSlide], *, dry: bool = False) -> list[NewSlide]:
    """Add rows for slides that are not there yet, all or none; a patient that has a split keeps it.

    Args:
        table: the table; it is made if there is none.
        slides: looked at.
        dry: whether nothing is to be written.

    Returns:
        Those that were added, with their splits.

    Raises:
        InputError: two slides have one name, or a patient would be in two splits.
    """
    added = []
    with edited_slides(table, create=True, dry=dry) as opened:
        rows = opened.rows
        where = {row["slide_id"].casefold(): (line, row["slide_id"]) for line, row in rows.items()}
        files = {key: line for line, row in rows.items() if row["path"] and (key := _key(resolve(table, row["path"])))}
        splits = _splits(rows, table)
        for slide in slides:
            name, key = slide.cells["slide_id"], _key(slide.path)
            if key in files:
                _tell_of_there(slide, rows.get(files[key]), table, files[key])
                continue
            if name.casefold() in where:
                raise _taken(slide, *where[name.casefold()], rows, table)
            patient = slide.cells["patient_id"]
            split, first = splits.get(likeness(patient), ("", ""))
            given = slide.cells["split"]
            if given and split and given != split:
                move = f"or move the patient: wsss-mm cohort set {first} --split {given}"
                own = where.get(first.casefold(), (1, ""))[0] == 0
                raise InputError(
                    f"{slide.path}: is to be in split {given}, but {first} of its patient {patient} is in {split}; a "
                    f"patient belongs to one split: leave it out here, {'or say whose they are' if own else move}"
                )
            cells = {**slide.cells, "split": given or split}
            if cells["split"]:
                splits[likeness(patient)] = (cells["split"], first or name)
            _append(opened, table, slide, cells)
            where[name.casefold()], files[key] = (0, name), 0
            added.append(NewSlide(slide.path, slide.named, cells, slide.only_of_patient, slide.mpp, slide.drawn))
        _check_alike(opened.rows, {slide.cells["patient_id"] for slide in added}, table)
    return added


def change_slides(
    table: Path,
    slide_ids: Sequence[str],
    cells: Mapping[str, str],
    own: Mapping[str, Mapping[str, str]] | None = None,
) -> list[str]:
    """Change cells of slides; of a new split all slides of their patients, and say which slides that changed.

    Args:
        table: the table.
        slide_ids: the slides.
        cells: by column, the same for all of them.
        own: further cells, by slide_id and column.

    Raises:
        InputError: there is no such slide, or a patient would be in two splits.
    """
    for column in ("slide_id", "patient_id"):
        if column in cells and (why := name_fault(cells[column])):
            raise InputError(f"{column} {cells[column]!r} {why}")
    with edited_slides(table) as opened:
        rows = opened.rows
        lines = _lines_of(rows, slide_ids, table)
        changed = []
        of_line = {line: {**cells, **(own or {}).get(rows[line]["slide_id"], {})} for line in lines}
        columns = dict.fromkeys(column for told in of_line.values() for column in told)
        for column in columns:
            opened.add_column(column)
        now = {line: {**row, **of_line.get(line, {})} for line, row in rows.items()}
        moved = {likeness(now[line]["patient_id"]) for line in lines} if "split" in cells else set()
        for row in now.values():
            if likeness(row["patient_id"]) in moved:
                row["split"] = cells["split"]
        _splits(now, table)
        for line, row in now.items():
            if opened.change(line, {name: row[name] for name in {*columns} & {*row}}):
                changed.append(row["slide_id"])
        _check_alike(now, {now[line]["patient_id"] for line in lines}, table)
    return changed


def look_at_change(table: Path, slide_id: str, cells: Mapping[str, str]) -> None:
    """See that a slide opens, and what is drawn on it lies there, with cells as they are to be.

    Args:
        table: the table.
        slide_id: the slide.
        cells: path, mpp, roi and annotation, as far as they change; files as seen from the working directory.

    Raises:
        InputError: it does not, or there is no such slide.
    """
    rows = read_slide_rows(table)
    row = rows[_lines_of(rows, [slide_id], table)[0]]
    mpp = cells.get("mpp", row.get("mpp", ""))
    if mpp and not ((value := number(mpp)) is not None and is_microscopes(value)):
        raise InputError(f"mpp {mpp!r} is no resolution of a slide; give um per pixel, such as 0.25, or ''")
    path = Path(cells["path"]) if "path" in cells else resolve(table, row["path"])
    with open_slide(path, number(mpp) if mpp else None) as reader:
        warn_of_overruled(f"{table}: {slide_id}", reader)
        for column in ("roi", "annotation"):
            drawn = Path(cells[column]) if cells.get(column) else None
            if drawn is None and "path" in cells and column not in cells and row.get(column):
                drawn = resolve(table, row[column])
            if drawn is not None:
                read_annotations(drawn, reader.bounds[:2], reader.bounds[2:])


def remove_slides(table: Path, slide_ids: Sequence[str]) -> None:
    """Take rows out; the files of the slides stay.

    Raises:
        InputError: there is no such slide.
    """
    with edited_slides(table) as opened:
        for line in _lines_of(opened.rows, slide_ids, table):
            opened.remove(line)


def write_splits(table: Path, splits: Mapping[str, str], before: Rows) -> None:
    """Write the split of each slide.

    Args:
        table: the table.
        splits: by slide_id.
        before: the rows that they were decided on.

    Raises:
        InputError: somebody changed the table since.
    """
    with edited_slides(table) as opened:
        if opened.rows != before:
            raise InputError(f"{table}: was changed by another program meanwhile; run the same again")
        for line, row in before.items():
            if row["slide_id"] in splits:
                opened.change(line, {"split": splits[row["slide_id"]]})


def cell_of_path(table: Path, path: Path) -> str:
    """A file as a table names it: relative where both move together, else absolute, and no formula to a spreadsheet."""
    folder, project = full_path(table).parent, Path.cwd()
    root = project if folder.is_relative_to(project) and full_path(path).is_relative_to(project) else folder
    cell = path_from(folder, path, root)
    if not is_same(resolve(table, cell), path):  # the table's folder is a link, which `..` leaves
        cell = full_path(path).as_posix()
    return cell if cell[0].isalnum() or cell[0] in "/._" else f"./{cell}"


def _append(opened: EditedTable, table: Path, slide: NewSlide, cells: Mapping[str, str]) -> None:
    drawn = {column: cell_of_path(table, path) for column, path in slide.drawn.items()}
    commas = opened.separator == ";" and any("," in row.get("mpp", "") for row in opened.rows.values())
    mpp = slide.mpp.replace(".", ",") if commas else slide.mpp
    row = {**cells, "path": cell_of_path(table, slide.path), "mpp": mpp, **drawn}
    for column, cell in row.items():
        if cell:
            opened.add_column(column)
    opened.append(row)


def _key(path: Path) -> tuple[int, int] | str:
    """What tells a file from others, whatever it is called; of one that is not there its path."""
    try:
        state = path.stat()
    except (OSError, ValueError):
        return full_path(path).as_posix()
    return state.st_dev, state.st_ino


def _tell_of_there(slide: NewSlide, row: Mapping[str, str] | None, table: Path, line: int) -> None:
    if row is None:
        logger.info("%s: the same file as another that is added, passed over", slide.path)
        return
    own = {**slide.cells, "mpp": slide.mpp}
    asked = {name: cell for name, cell in own.items() if cell and name != "slide_id" and cell != row.get(name, "")}
    if slide.only_of_patient:
        asked.pop("patient_id", None)
    logger.info("%s: is there already, %s: line %d (%s)", slide.path, table, line, row["slide_id"])
    if asked:
        options = " ".join(f"--{name.removesuffix('_id')} {cell}" for name, cell in asked.items())
        logger.warning("%s: stays as it is; to change it: wsss-mm cohort set %s %s", table, row["slide_id"], options)


def _taken(slide: NewSlide, line: int, other: str, rows: Rows, table: Path) -> InputError:
    name = slide.cells["slide_id"]
    remedy = "call it otherwise: one by one with --slide-id, or many by a --pattern with {slide}"
    if line == 0:
        same = "the same name as" if name == other else "a name that differs only in case from that of"
        return InputError(f"{slide.path}: would have {same} another slide that is added, {other}; {remedy}")
    path = resolve(table, rows[line]["path"]) if rows[line]["path"] else None
    if path is not None and not path.exists():
        return InputError(
            f"{slide.path}: {table}: line {line} ({other}) names {path}, which does not exist; if it has moved: "
            f"wsss-mm cohort set {other} --path {slide.path}"
        )
    return InputError(f"{slide.path}: {table}: line {line}: slide {other} is {path or 'there'} already; {remedy}")


def _splits(rows: Rows, table: Path) -> dict[str, tuple[str, str]]:
    """The split of each patient, by likeness of the name, and the first slide that has it.

    Raises:
        InputError: a patient is in two.
    """
    splits: dict[str, tuple[str, str]] = {}
    for line, row in rows.items():
        split = row["split"].lower()
        if split and split not in SPLITS:
            raise InputError(f"{table}: line {line}: split {row['split']!r} is none of {', '.join(SPLITS)}")
        if not split or not row["patient_id"]:
            continue
        known, first = splits.setdefault(likeness(row["patient_id"]), (split, row["slide_id"]))
        if known != split:
            raise InputError(
                f"{table}: line {line}: patient {row['patient_id']!r} would be in the splits {known} (slide {first}) "
                f"and {split} ({row['slide_id']}); move the patient: wsss-mm cohort set {first} --split {split}"
            )
    return splits


def _check_alike(rows: Rows, patients: set[str], table: Path) -> None:
    """Warn of patients that look like these."""
    alike = {likeness(patient) for patient in patients}
    frame = pd.DataFrame(
        [(row["slide_id"], row["patient_id"], "") for row in rows.values() if likeness(row["patient_id"]) in alike],
        columns=["slide_id", "patient_id", "split"],
    )
    check_alike(frame, str(table))


def _lines_of(rows: Rows, slide_ids: Sequence[str], table: Path) -> list[int]:
    by_id = {row["slide_id"]: line for line, row in rows.items()}
    for name in slide_ids:
        if name not in by_id:
            near = nearest_name(name, by_id)
            raise InputError(
                f"{table}: has no slide {name!r}{f', but {near!r}' if near else ''}; see: wsss-mm cohort list"
            )
    return [by_id[name] for name in slide_ids]
