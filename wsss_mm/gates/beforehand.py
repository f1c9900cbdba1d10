"""What stage and gate `cohort` would object to in a user's own table, asked before either runs."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss_mm.cohort import Slide
from wsss_mm.cohort.adopt import look_over
from wsss_mm.cohort.splits import hold_out
from wsss_mm.errors import InputError
from wsss_mm.gates.checks import Outcome, Thresholds
from wsss_mm.gates.cohort import measure_slides
from wsss_mm.gates.runner import validate
from wsss_mm.patches.parallel import map_files
from wsss_mm.patches.quarantine import slides_aside
from wsss_mm.settings import Params
from wsss_mm.slides.patients import check_alike
from wsss_mm.slides.resolution import is_microscopes
from wsss_mm.slides.table import table_faults
from wsss_mm.tables import number
from wsss_mm.vocabulary import SPLITS

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Objections:
    """What is wrong: with each slide, by slide_id in the table's order, and with the table as a whole."""

    slides: dict[str, list[str]]
    table: list[str]
    aside: frozenset[str]

    @property
    def any(self) -> bool:
        """Whether the line would stop."""
        return bool(self.table) or any(self.slides.values())


def check_cohort(table: Path, params: Params, quarantine: Path, *, quick: bool = False) -> Objections:
    """Look at the rows of a table and at their slides as stage and gate `cohort` do; nothing is written.

    Checks that gates.yaml lets pass are warnings in the log.

    Args:
        table: a user's own.
        params: all of params.yaml and gates.yaml.
        quarantine: the list of slides that are set aside, which the gate passes over.
        quick: whether slides are opened alone, as the stage does, and not looked at, as the gate does.

    Raises:
        InputError: it is no table of slides, or a row of the quarantine nearly names one.
    """
    cells, faults = table_faults(table)
    found = Objections({name: [] for name in cells["slide_id"]}, [], slides_aside(cells, quarantine))
    for line, why in faults.items():
        name = cells["slide_id"][line]
        found.slides[name].append(why.removeprefix(f"{table}: line {line} ({name}): "))
    try:
        check_alike(cells[cells["split"].isin(SPLITS)], str(table))
    except InputError as error:
        found.table.append(str(error).removeprefix(f"{table}: "))
    first = cells[~cells["slide_id"].duplicated()]
    opened = map_files(lambda row: _opens(row, table, found), first.itertuples(), "open slides")
    if quick:
        return found
    good = first[opened]
    if len(good) and good["split"].isin(SPLITS).all():
        good = hold_out(good, params.patches.valid_share, params.seed, str(table))
    measured = measure_slides(good, table, params, found.aside)
    for outcome in validate("cohort", measured, Thresholds("cohort", params), params.gates.cohort.warnings).failures:
        _sort(outcome, found)
    return found


def _opens(row: Any, table: Path, found: Objections) -> bool:
    """Open a slide and read its drawings, as stage `cohort` does; what fails is told."""
    mpp = number(row.mpp) if row.mpp else None
    if row.mpp and (mpp is None or not is_microscopes(mpp)):
        return False  # its row has its say already
    try:
        slide = Slide.of_row(row._replace(mpp=mpp), table)
        if slide.path is None:
            raise InputError("path is empty; name the slide's file or remove the row")
        look_over(slide)
    except (InputError, OSError) as error:
        found.slides[row.slide_id].append(str(error))
        return False
    return True


def _sort(outcome: Outcome, found: Objections) -> None:
    """Put what the gate found to the slides that it is about, else to the table."""
    said = f"not so: {outcome.says}; {outcome.remedy} (check {outcome.name})"
    known = [name for name in outcome.offending if outcome.index == "slide_id" and name in found.slides]
    where = f"{', '.join(outcome.offending)}: " if outcome.offending else ""
    if outcome.severity == "warning":
        logger.warning("%s%s", where, said)
    elif outcome.table == "slides" and any(found.slides.values()):
        return  # of the table's rows, each of which has its say already
    elif known:
        for name in known:
            found.slides[name].append(_with_reason(outcome.examples, name, said))
    else:
        found.table.append(f"{where}{said}")


def _with_reason(examples: tuple[str, ...], name: str, said: str) -> str:
    """What is said of a slide, with what was measured of it where the gate tells."""
    found = next((text for text in examples if text.startswith(f"{name}: ")), "")
    return f"{said}; found: {found.removeprefix(f'{name}: ')}" if found else said
