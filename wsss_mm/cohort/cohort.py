"""data/cohort as objects: the table of slides is read here, and nowhere else."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from wsss_mm import places
from wsss_mm.cohort.files import slide_bytes
from wsss_mm.errors import InputError
from wsss_mm.slides import SlideReader, open_slide
from wsss_mm.slides.icc import icc_noted
from wsss_mm.slides.table import read_slide_table, resolve
from wsss_mm.tables import number, read_table

TABLE = places.COHORT / places.SLIDES_TABLE
LABELS = places.LABELS_TABLE
"""Table of labelled patches, beside the table of slides."""
DRAWINGS = "drawings"
"""Folder of regions of interest and annotations, copied there by stage `cohort`."""


@dataclass(frozen=True)
class Slide:
    """A slide of the cohort.

    Attributes:
        slide_id: its name.
        patient_id: whose it is; empty in a table that is not for training.
        site: where it was made, or empty.
        split: train, valid or test, as stage `cohort` decided.
        path: its file, ready to open; None where only patches of it are known.
        mpp: um/px at level 0, given by hand; None where the file tells.
        roi: GeoJSON of the regions of interest, or None.
        annotation: GeoJSON with class names, or None.
        truth: where the label map of the whole slide lies, if it has one.
        bytes: size of its files when stage `cohort` looked at it, or None.
        quickhash: the reader's quickhash then, or empty.
        where: file and line of its row, for messages.
        icc: whether it is read as sRGB, by its embedded colour profile.
    """

    slide_id: str
    patient_id: str
    site: str
    split: str
    path: Path | None
    mpp: float | None
    roi: Path | None
    annotation: Path | None
    truth: Path
    bytes: int | None = None
    quickhash: str = ""
    where: str = ""
    icc: bool = False

    @property
    def known_whole(self) -> bool:
        """Whether its truth, or on a valid or test slide its annotation, says what every patch of it holds."""
        return self.truth.is_file() or (self.annotation is not None and self.split != "train")

    def open(self) -> SlideReader:
        """Open the slide.

        Raises:
            InputError: as of `open_slide`, or it is another slide than stage `cohort` found there.
        """
        if self.path is None:
            raise InputError(f"{self.where}: path is empty; name the slide's file")
        reader = open_slide(self.path, self.mpp, icc=self.icc)
        sized = self.bytes is None or slide_bytes(self.path) == self.bytes
        if sized and self.quickhash in ("", reader.quickhash):
            return reader
        reader.close()
        raise InputError(f"{self.path}: was replaced since {self.where} was made; run: dvc repro cohort")

    @classmethod
    def of_row(cls, row: Any, table: Path) -> "Slide":
        """The slide of a row of a table, whose cells are text or, of mpp, a number; nothing is checked.

        Raises:
            ValueError: mpp is no number.
        """
        given = {name: resolve(table, cell) for name in ("path", "roi", "annotation") if (cell := getattr(row, name))}
        mpp = float(row.mpp or math.nan)
        size = number(getattr(row, "bytes", "")) if getattr(row, "bytes", "") else None
        return cls(
            slide_id=row.slide_id,
            patient_id=row.patient_id,
            site=getattr(row, "site", ""),
            split=row.split,
            path=given.get("path"),
            mpp=None if math.isnan(mpp) else mpp,
            roi=given.get("roi"),
            annotation=given.get("annotation"),
            truth=table.parent / places.TRUTH / f"{row.slide_id}.tif",
            bytes=None if size is None else int(size),
            quickhash=getattr(row, "quickhash", ""),
            where=f"{table}: line {row.Index} ({row.slide_id})",
        )


@dataclass(frozen=True)
class Cohort:
    """The slides of a table, in its order.

    Examples:
        >>> table = pd.DataFrame({"slide_id": ["a", "b"], "patient_id": ["one", "two"], "split": ["train", "test"]})
        >>> table.assign(path=["a.svs", "b.svs"]).to_csv("slides.csv", index=False)
        >>> cohort = Cohort.read("slides.csv", check_files=False)
        >>> len(cohort), cohort.splits
        (2, {'a': 'train', 'b': 'test'})
        >>> [slide.slide_id for slide in cohort.with_files(splits={"test"})]
        ['b']
    """

    table: Path
    slides: tuple[Slide, ...]

    @classmethod
    def read(cls, table: Path | str = TABLE, *, check_files: bool = True, for_training: bool = True) -> "Cohort":
        """Read and check a table of slides; see `wsss_mm.slides.table.read_slide_table`."""
        table = Path(table)
        rows = read_slide_table(table, check_files=check_files, for_training=for_training)
        icc = icc_noted(table.parent)
        return cls(table, tuple(replace(Slide.of_row(row, table), icc=icc) for row in rows.itertuples()))

    def __iter__(self) -> Iterator[Slide]:
        return iter(self.slides)

    def __len__(self) -> int:
        return len(self.slides)

    @property
    def labels(self) -> Path | None:
        """The table of labelled patches, if there is one."""
        path = self.table.parent / LABELS
        return path if path.is_file() else None

    @property
    def frame(self) -> pd.DataFrame:
        """slide_id, patient_id and split, one row a slide."""
        columns = ["slide_id", "patient_id", "split"]
        return pd.DataFrame([[getattr(slide, name) for name in columns] for slide in self], columns=columns)

    @property
    def splits(self) -> Mapping[str, str]:
        """The split of each slide, by slide_id."""
        return {slide.slide_id: slide.split for slide in self}

    def with_files(self, splits: Collection[str] | None = None, without: Collection[str] = ()) -> list[Slide]:
        """Slides whose files are known: of some splits or all, but for those of `without`."""
        return [
            slide
            for slide in self
            if slide.path is not None and (splits is None or slide.split in splits) and slide.slide_id not in without
        ]


def read_cells(table: Path, remedy: str) -> pd.DataFrame:
    """A table of slides as text, however wrong its rows are: for who reports on all of them.

    Raises:
        InputError: it is missing or no table.
    """
    return read_table(table, absent=f"not found; make it with: {remedy}", remedy=f"make it again: {remedy}")
