"""A user's own slides become a cohort: slides stay where they are, the rest is copied, and all is tried first."""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from wsss_mm import places
from wsss_mm.cohort.cohort import DRAWINGS, LABELS, Cohort, Slide
from wsss_mm.cohort.files import full_path, path_from, slide_bytes, stamp
from wsss_mm.errors import InputError
from wsss_mm.files import is_file, read_json, write_json
from wsss_mm.names import folder_name
from wsss_mm.slides.patients import check_alike
from wsss_mm.slides.reader import SlideReader, open_slide
from wsss_mm.slides.resolution import are_same
from wsss_mm.slides.roi import read_annotations
from wsss_mm.sources import of_barcode
from wsss_mm.tables import read_table

logger = logging.getLogger(__name__)

_NAMED = 5  # failures spelled out in the message
_DRAWN = ("roi", "annotation")

_NO_TABLE, _CSV = "no such table of labels", "save it as CSV, in UTF-8"


def table_of(source: Path | str) -> Path:
    """The table of slides that a source is: a CSV, or slides.csv in a folder."""
    source = Path(source)
    return source / places.SLIDES_TABLE if source.is_dir() else source


def adopt_slides(
    source: Path | str,
    folder: Path,
    place: Path,
    *,
    labels: Path | None = None,
    drawn: Mapping[str, Path] | None = None,
    seen: Path | None = None,
) -> pd.DataFrame:
    """Check a table of slides and that all it names can be read; copy what is small.

    Slides that are as they were when they were last looked at (size and time of the last change) are not opened again.

    Args:
        source: the table, or a folder that holds it as slides.csv.
        folder: gets `drawings/`, with the GeoJSON files of each slide, and labels.csv.
        place: where `folder` will lie in the end, relative to the project's root, which is the working directory.
        labels: table of labelled patches. If it holds none, labels.csv beside the table is taken.
        drawn: folders by column, roi and annotation, with a GeoJSON file for each slide that was drawn on: it is taken
            where the slide's cell is empty.
        seen: file that keeps what was found of each slide, for the next time.

    Returns:
        The rows of slides.csv, and, where there are labels, which slides are `labelled`. A path is absolute if it is
        written so or leads out of the project, else relative to `place`; links keep their names.

    Raises:
        InputError: the table is wrong, or slides cannot be read; names each of them (the first few of many).
    """
    cohort = Cohort.read(table_of(source))
    check_alike(cohort.frame, str(cohort.table))
    memory, rows, failures = Memory(seen), [], []
    for slide in tqdm(_with_sites(_with_drawn(cohort, drawn or {})), "checking slides", unit="slide"):
        try:
            rows.append(_row(slide, memory, folder, place))
        except InputError as error:
            failures.append(f"{slide.where.removeprefix(f'{cohort.table}: ')}: {error}")
    if failures:
        more = f"; and {len(failures) - _NAMED} more" if len(failures) > _NAMED else ""
        raise InputError(f"{cohort.table}: {'; '.join(failures[:_NAMED])}{more}")
    table = pd.DataFrame(rows)
    if (found := _labels(cohort, labels)) is not None:
        _copy_labels(found, folder / LABELS, table["slide_id"].tolist())
        table["labelled"] = table["slide_id"].isin(_read_labels(found, ("slide_id",))["slide_id"])
    memory.write()
    return table


def record_slides(slides: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """A table whose slides lie in `folder`, with size and quickhash of each."""
    found = []
    for name in slides["path"]:
        with open_slide(folder / name) as reader:
            found.append((slide_bytes(reader.path), reader.quickhash))
    return slides.assign(**dict(zip(("bytes", "quickhash"), zip(*found, strict=True), strict=True)))


def warn_of_overruled(row: str, slide: SlideReader) -> None:
    """Say where the mpp of a row, which stands, is another than the slide's own."""
    if slide.stated_mpp is not None and not are_same(slide.mpp, slide.stated_mpp):
        logger.warning(
            "%s: column mpp says %g um/px, the file %g; the table counts, empty the cell if it should not",
            row,
            slide.mpp,
            slide.stated_mpp,
        )


def _row(slide: Slide, memory: "Memory", folder: Path, place: Path) -> dict[str, Any]:
    if slide.path is None:
        raise InputError("path is empty; name the slide's file or remove the row")
    found = memory.of(slide)
    if found is None:
        found = memory.keep(slide, look_over(slide))
    drawn = {}
    for name in _DRAWN:
        if (source := getattr(slide, name)) is not None:
            drawn[name] = f"{DRAWINGS}/{slide.slide_id}-{name}.geojson"
            (folder / drawn[name]).parent.mkdir(exist_ok=True)
            shutil.copyfile(source, folder / drawn[name])
    return {
        **{name: getattr(slide, name) for name in ("slide_id", "patient_id", "site", "split", "mpp")},
        **{
            "path": path_from(Path.cwd() / place, slide.path, Path.cwd()),
            "roi": "",
            "annotation": "",
            **drawn,
            **found,
        },
    }


def _with_sites(slides: list[Slide]) -> list[Slide]:
    """The slides, with the site that a TCGA barcode tells where the table names none; says so."""
    found = [
        replace(slide, site=barcode[1]) if not slide.site and (barcode := of_barcode(slide.slide_id)) else slide
        for slide in slides
    ]
    told = [slide.slide_id for slide, before in zip(found, slides, strict=True) if slide.site != before.site]
    if told:
        logger.info("the site of %s is that of the TCGA barcode; column site of the table wins over it", _some(told))
    return found


def _with_drawn(cohort: Cohort, folders: Mapping[str, Path]) -> list[Slide]:
    """The slides, with what was drawn on them where the table names nothing; says what becomes of each file."""
    slides = list(cohort)
    for column, folder in folders.items():
        files = {file.stem: file for file in sorted(folder.glob("[!.]*.geojson"))}
        taken, overruled = [], []
        for at, slide in enumerate(slides):
            if (file := files.pop(folder_name(slide.slide_id), None)) is None:
                continue
            if getattr(slide, column) is None:
                slides[at] = _with(slide, column, file)
                taken.append(slide.slide_id)
            else:
                overruled.append(slide.slide_id)
        if taken:
            logger.info("%s: taken as %s of %s", folder, column, _some(taken))
        if overruled:
            message = "%s: not taken as %s of %s, for which %s names a file; empty the cell to use what was drawn"
            logger.warning(message, folder, column, _some(overruled), cohort.table)
        if files:
            logger.warning("%s: no slide of %s is called %s", folder, cohort.table, _some(list(files)))
    return slides


def _with(slide: Slide, column: str, file: Path) -> Slide:
    return replace(slide, roi=file) if column == "roi" else replace(slide, annotation=file)


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def look_over(slide: Slide) -> dict[str, Any]:
    """Open a slide and read its drawings: size and quickhash.

    Raises:
        InputError: one of them cannot be used.
    """
    with replace(slide, bytes=None, quickhash="").open() as reader:
        warn_of_overruled(slide.where, reader)
        for drawing in filter(None, (slide.roi, slide.annotation)):
            read_annotations(drawing, reader.bounds[:2], reader.bounds[2:])
        return {"bytes": slide_bytes(reader.path), "quickhash": reader.quickhash}


def _labels(cohort: Cohort, named: Path | None) -> Path | None:
    """The table of labels to copy; None where nothing is labelled."""
    beside = cohort.table.parent / LABELS
    if named is not None and named != beside and _holds_rows(named):
        return named
    if not is_file(beside):
        return None
    if named == beside:
        return beside
    logger.warning("%s: is taken, since cohort.labels of params.yaml names none; name it there", beside)
    return beside


def _copy_labels(labels: Path, copy: Path, slide_ids: Sequence[str]) -> None:
    """Copy a table of labels; what journals say of slides that have left the cohort stays in them."""
    shutil.copyfile(labels, copy)
    made = read_table(labels, ("slide_id",), ("source",), absent=_NO_TABLE, remedy=_CSV)  # `source`: of journals
    gone = made[(made["source"] != "") & ~made["slide_id"].isin(slide_ids)]
    if gone.empty:
        return
    for slide_id, count in gone["slide_id"].value_counts(sort=False).items():
        logger.warning(
            "%s: %d labels are of slide %s, which is not in slides.csv: left out here, kept in %s",
            labels,
            count,
            slide_id,
            places.LABELS_FOLDER,
        )
    lines = labels.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = (line for number, line in enumerate(lines, 1) if number not in gone.index)
    copy.write_text("".join(kept), encoding="utf-8", newline="")


def _holds_rows(path: Path) -> bool:
    if not is_file(path):
        logger.warning("%s: cohort.labels of params.yaml names it, and there is no such file", path)
        return False
    return len(_read_labels(path)) > 0


def _read_labels(path: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    return read_table(path, columns, absent=_NO_TABLE, remedy=_CSV)


class Memory:
    """What was found of slides that were looked at before, by what would show that something changed."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._now = path, {}
        self._before = _read(path) if path is not None and path.is_file() else {}

    def of(self, slide: Slide) -> dict[str, Any] | None:
        """What was found of a slide, if it and its drawings are as they were."""
        before = self._before.get(slide.slide_id)
        if before is None or before.get("state") != self._state(slide):
            return None
        self._now[slide.slide_id] = before
        return dict(before["found"])

    def keep(self, slide: Slide, found: dict[str, Any]) -> dict[str, Any]:
        """Keep what was found of a slide."""
        self._now[slide.slide_id] = {"state": self._state(slide), "found": found}
        return found

    def write(self) -> None:
        """Write it for the next time."""
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._path, self._now)

    @staticmethod
    def _state(slide: Slide) -> list[Any]:
        files = filter(None, (slide.path, slide.roi, slide.annotation))
        return [repr(slide.mpp), *([full_path(file).as_posix(), *stamp(file)] for file in files)]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
        items: Iterator[tuple[str, Any]] = iter(content.items())
        return {name: entry for name, entry in items if {"state", "found"} <= entry.keys()}
    except (OSError, ValueError, AttributeError):
        return {}
