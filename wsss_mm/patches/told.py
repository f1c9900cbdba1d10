"""What a table says of the images of a data set: classes, split, slide, patient and site."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from wsss_mm.errors import InputError
from wsss_mm.files import leads_outside
from wsss_mm.names import safe_name
from wsss_mm.patches.layout import SPLIT_FOLDERS
from wsss_mm.sources import UNKNOWN, LabelsTable, Origin, Source
from wsss_mm.tables import heading_key, read_table
from wsss_mm.vocabulary import SPLITS, Vocabulary

_CUT = re.compile(r"[;,\r\n]")


def find_table(source: Path, table: LabelsTable) -> Path | None:
    """The table of a data set: that of its name, in the folder or in one of it, or the only CSV that there is."""
    folders = (source, *sorted(path for path in source.iterdir() if path.is_dir()))
    if table.file is not None:
        there = [folder / table.file for folder in folders]
    else:
        there = sorted(path for path in source.iterdir() if path.suffix.lower() in (".csv", ".tsv"))
    there = [path for path in there if path.is_file() and not leads_outside(path, source)]
    return there[0] if there and (table.file is not None or len(there) == 1) else None


@dataclass(frozen=True)
class Row:
    """A row of the data set's table: cells by what they mean, empty where the table has no such column."""

    path: Path
    line: int
    cells: Mapping[str, str]

    @property
    def where(self) -> str:
        """What messages name as its place."""
        return f"{self.path}: line {self.line}"

    def file(self, name: str) -> Path:
        """A file that the row names, relative to the table."""
        path = self.path.parent / name
        if not name or leads_outside(path, self.path.parent) or not path.is_file():
            raise InputError(
                f"{self.where}: {name[:80]!r} is no file in {self.path.parent}; give its path from the table, or "
                "remove the line"
            )
        return path

    def origin(self, origin: Origin) -> Origin:
        """Slide, patient and site as the row says them, where it does."""
        slide, patient, site = (self.cells[key] for key in ("slide", "patient", "site"))
        if slide:
            origin = replace(origin, slide_id=safe_name(slide), x=UNKNOWN, y=UNKNOWN, rest=origin.slide_id)
        return replace(origin, patient=safe_name(patient) if patient else origin.patient, site=site or origin.site)

    def split(self) -> str:
        """The split that the row names, empty if none."""
        said = self.cells["split"].lower()
        for split, names in SPLIT_FOLDERS.items():
            if said in (split, *names):
                return split
        if said:
            raise InputError(f"{self.where}: split {said!r} is none of {', '.join(SPLITS)}")
        return ""

    def label_set(self, vocabulary: Vocabulary) -> tuple[bool, ...] | None:
        """Which classes the image holds; None where the row says nothing of that and names a mask, which does."""
        return None if self.cells["mask"] and not self.cells["labels"] else self.classes(vocabulary)

    def classes(self, vocabulary: Vocabulary) -> tuple[bool, ...]:
        """The classes that the row names."""
        names = [name.strip() for name in _CUT.split(self.cells["labels"]) if name.strip()]
        for name in names:
            if vocabulary.find(name) is None:
                raise InputError(
                    f"{self.where}: {name!r} is no class of vocabulary {vocabulary.name!r} "
                    f"({', '.join(vocabulary.codes)}); correct it"
                )
        held = {vocabulary.find(name) for name in names}
        return tuple(index in held for index in range(len(vocabulary)))

    def only_class(self, vocabulary: Vocabulary) -> int:
        """The class that objects in the image's mask are of."""
        held = self.classes(vocabulary)
        if sum(held) != 1:
            raise InputError(f"{self.where}: {self.cells['labels']!r} is not one class; name the one of its objects")
        return held.index(True)


def told_rows(source: Path, definition: Source) -> dict[str, Row]:
    """The rows of a data set's table, by what they say of the image."""
    table = definition.table
    assert table is not None  # `Source.disagreements`
    path = find_table(source, table)
    if path is None:
        raise InputError(f"{source}: has no {table.file or 'table, or several: one .csv'}; put it into the folder")
    frame = read_table(path, absent="no such table", remedy="save it as CSV, in UTF-8")
    keys = {heading_key(str(name)): name for name in frame.columns}
    columns = {
        role: keys.get(heading_key(getattr(table, role)))
        for role in ("image", "labels", "split", "slide", "patient", "site", "mask")
    }
    wanted = ("image",) if columns["mask"] is not None else ("image", "labels")
    missing = [getattr(table, role) for role in wanted if columns[role] is None]
    if missing:
        raise InputError(f"{path}: column {' and '.join(missing)} is missing; found was {', '.join(map(str, keys))}")
    found: dict[str, Row] = {}
    for line, row in frame.iterrows():
        cells = {role: str(row[name]) if name is not None else "" for role, name in columns.items()}
        name = cells["image"].replace("\\", "/")
        if name in found:
            raise InputError(f"{path}: line {line}: {name!r} is on line {found[name].line} already; keep one of them")
        found[name] = Row(path, int(str(line)), cells)
    return found
