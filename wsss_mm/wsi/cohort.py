"""Many slides, one after the other: a bad one takes no good one with it, and a table says what became of each."""

import io
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm.clusters import ONE_CORE, Demand, in_turns, named_cluster, results_on_cluster
from wsss_mm.errors import InputError, spelled_out
from wsss_mm.files import atomic_folder, is_file, is_folder, locked, write_text
from wsss_mm.names import folder_name, text_cell
from wsss_mm.places import NOTE, SUMMARY
from wsss_mm.wsi.job import Job, JobResult

if TYPE_CHECKING:
    import pandas as pd

    from wsss_mm.cohort import Cohort

logger = logging.getLogger(__name__)

_MIRAX = ".mrxs"  # such a slide has a folder of its own name, which holds its pixels


def jobs_of(cohort: "Cohort", splits: Sequence[str], work: Path) -> dict[Job, str]:
    """Slides of a cohort that are to be segmented, in the order of its table, and the split of each.

    Args:
        cohort: its slides.
        splits: of which slides are wanted; those set aside are left out, as are those without a file.
        work: gets a folder for each.

    Raises:
        InputError: the cohort has slides, but none of these splits.
    """
    from wsss_mm.patches.quarantine import slides_aside

    if cohort.with_files() and not cohort.with_files(splits):
        there = ", ".join(sorted({slide.split for slide in cohort.with_files()}))
        raise InputError(
            f"params.yaml: slides.splits: {', '.join(splits)}: {cohort.table} has no slide of that; there are slides "
            f"of {there}: choose from these, or give slides that split in the table"
        )
    slides = cohort.with_files(splits, slides_aside(cohort.frame))
    return {
        Job(slide.slide_id, slide.path, work / slide.slide_id, slide.mpp, slide.roi, icc=slide.icc): slide.split
        for slide in slides
        if slide.path is not None
    }


def note_nothing(out: Path, table: Path, splits: Sequence[str]) -> None:
    """Leave a note in a stage's out where no slide is to be segmented."""
    with atomic_folder(out) as folder:
        says = f"{table} names no slide file in the splits {', '.join(splits)}: nothing to segment.\n"
        write_text(folder / NOTE, says)


def raise_failed(results: Sequence[JobResult], others: str = "") -> None:
    """Name what failed, when all have had their turn.

    Args:
        results: of all.
        others: what to say of those that did not.

    Raises:
        InputError: something did.
    """
    if errors := [result.error for result in results if result.error]:
        raise InputError(f"{len(errors)} of {len(results)} slides failed, the first: {errors[0]}{others}")


def name_slides(paths: Iterable[Path]) -> tuple[dict[Path, str], list[JobResult]]:
    """Slides among paths that a shell has made of a pattern, and what they are called.

    A file that is named twice counts once, and the folder of a MIRAX slide belongs to it.

    Args:
        paths: as given.

    Returns:
        The slides, each with a name for its folder and its row, and a failed result for each folder, which is no slide.

    Raises:
        InputError: two slides would share a folder.
    """
    paths = list(paths)
    companions = {path.with_suffix("") for path in paths if path.suffix.lower() == _MIRAX}
    names: dict[Path, str] = {}
    folders: dict[str, Path] = {}  # by what file systems that ignore case call them
    failed = []
    for path in paths:
        if is_folder(path):
            if path in companions:
                logger.info("%s: belongs to the slide of that name, passed over", path)
                continue
            slide = path.parent / f"{path.name}{_MIRAX}"
            remedy = f"name the slide: {slide}" if is_file(slide) else f"name the files in it: {path}/*.svs"
            error = f"{path}: is a folder, not a slide; {remedy}"
            logger.error("%s", error)
            failed.append(JobResult(f"{folder_name(path.resolve().name)}/", error=spelled_out(error)))
            continue
        name = folder_name(path.stem)
        other = folders.setdefault(name.lower(), path)
        if other is path:
            names[path] = name
        elif _same_file(path, other):
            logger.info("%s: the same file as %s, passed over", path, other)
        else:
            raise InputError(f"{path}: would share a folder of results with {other}; give each its own --out")
    return names, failed


def _same_file(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return path.absolute() == other.absolute()


def in_turn(jobs: Iterable[Job], work: Callable[[Job], Mapping[str, Any]]) -> Iterator[JobResult]:
    """Work on slides one after the other.

    Args:
        jobs: the slides.
        work: gives the summary of one, such as `wsss_mm.wsi.segment.segment` with its further arguments.

    Yields:
        A result for each job, in order. Errors are logged; one that is a defect and no wrong input with its traceback.
    """
    for job in jobs:
        try:
            summary = work(job)
        except Exception as error:
            yield JobResult.of_error(job, error)
        else:
            yield JobResult(job.slide_id, summary)


def side_by_side(
    jobs: Sequence[Job], work: Callable[[Job], Mapping[str, Any]], description: str, demand: Demand = ONE_CORE
) -> Iterator[JobResult]:
    """Work on slides as `in_turn` does, on a cluster where one is named (see `wsss_mm.clusters`), a task a slide.

    Args:
        jobs: the slides.
        work: travels to the nodes; done twice, where a node died, it leaves the same files.
        description: of the tasks.
        demand: what one takes of a node.

    Yields:
        What `in_turn` yields, in the same order.

    Raises:
        InputError: see `wsss_mm.clusters.results_on_cluster`.
    """
    if not named_cluster():
        yield from in_turn(jobs, work)
        return
    outcomes = in_turns(results_on_cluster(work, jobs, description, lambda job: job.path, demand))
    for job, outcome in zip(jobs, outcomes, strict=True):
        yield JobResult.of_error(job, outcome.error) if outcome.error else JobResult(job.slide_id, outcome.result)


def write_table(path: Path, results: Sequence[JobResult], *, update: bool = False) -> None:
    """Write a CSV of one row a slide, atomically.

    Args:
        path: the table.
        results: a row each.
        update: keep the rows that the table has of other slides, unless their folders beside it are gone.

    Columns are slide_id, status (done, failed), the results' notes, tissue_area_mm2, tumour_stroma_ratio,
    unreadable_share, area_mm2.CODE and share.CODE for each class, and error. Figures of failed slides are empty.
    No cell is a formula to a spreadsheet: names of slides never are (`wsss_mm.names.folder_name`), errors get an
    apostrophe where they would be.
    """
    import pandas as pd

    table = pd.DataFrame([_row(result) for result in results])
    table = table[[*table.columns.drop("error"), "error"]]
    text = table.to_csv(index=False, lineterminator="\n", float_format="%.6f")
    with locked(path):
        if update and (before := _rows_of_others(path, set(table["slide_id"]))) is not None:
            merged = pd.concat([before, pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)]).fillna("")
            merged = merged[[*merged.columns.drop("error"), "error"]]
            text = merged.to_csv(index=False, lineterminator="\n")
        write_text(path, text)


def _rows_of_others(path: Path, slide_ids: set[str]) -> "pd.DataFrame | None":
    """Rows of a table, as text, of slides that are not among these; None if there are none."""
    import pandas as pd

    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        table = table[~table["slide_id"].isin(slide_ids)]
        kept = [
            row.status == "failed" or (path.parent / row.slide_id / SUMMARY).is_file() for row in table.itertuples()
        ]
    except (ValueError, AttributeError, KeyError) as error:  # damaged, or of someone else
        logger.warning("%s: not a table of this version (%s); it is replaced", path, " ".join(str(error).split()))
        return None
    return table[kept] if any(kept) else None


def share_folder(source: Path, target: Path) -> None:
    """Give the files of a folder a second name in another, or copy them where the file system cannot."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        place = target / path.name
        if path.is_dir():
            share_folder(path, place)
            continue
        place.unlink(missing_ok=True)
        try:
            os.link(path, place)
        except OSError:
            shutil.copy2(path, place)


def _row(result: JobResult) -> dict[str, Any]:
    row = {"slide_id": result.slide_id, "status": "failed" if result.error else "done", **result.notes}
    if result.summary is not None:
        row |= {key: result.summary[key] for key in ("tissue_area_mm2", "tumour_stroma_ratio", "unreadable_share")}
        for figure in ("area_mm2", "share"):
            row |= {f"{figure}.{code}": figures[figure] for code, figures in result.summary["classes"].items()}
    return row | {"error": text_cell(result.error)}
