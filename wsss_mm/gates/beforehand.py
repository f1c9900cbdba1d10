"""What stage and gate `cohort` would object to in a user's own table, asked before either runs."""

import logging
from dataclasses import dataclass
from pathlib import Path

from wsss_mm.cohort.splits import hold_out
from wsss_mm.errors import InputError
from wsss_mm.gates.checks import Thresholds
from wsss_mm.gates.cohort import measure_slides
from wsss_mm.gates.runner import validate
from wsss_mm.patches.quarantine import slides_aside
from wsss_mm.settings import Params
from wsss_mm.slides.patients import check_alike
from wsss_mm.slides.table import table_faults

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


def check_cohort(table: Path, params: Params, quarantine: Path) -> Objections:
    """Look at the rows of a table and at their slides as stage and gate `cohort` do; nothing is written.

    Checks that gates.yaml lets pass are warnings in the log.

    Args:
        table: a user's own.
        params: all of params.yaml and gates.yaml.
        quarantine: the list of slides that are set aside, which the gate passes over.

    Raises:
        InputError: it is no table of slides, or a row of the quarantine nearly names one.
    """
    cells, faults = table_faults(table)
    slides: dict[str, list[str]] = {name: [] for name in cells["slide_id"]}
    for line, why in faults.items():
        name = cells["slide_id"][line]
        slides[name].append(f"line {line}: " + why.removeprefix(f"{table}: ").removeprefix(f"line {line} ({name}): "))
    whole = []
    frame = cells[["slide_id", "patient_id", "split"]]
    try:
        check_alike(frame[frame["split"] != ""], str(table))
    except InputError as error:
        whole.append(str(error).removeprefix(f"{table}: "))
    aside = slides_aside(frame, quarantine)
    sound = cells[~cells.index.isin(list(faults))]
    decided = hold_out(sound, params.patches.valid_share, params.seed, str(table)) if len(sound) else sound
    measured = measure_slides(decided, table, params, aside)
    for outcome in validate("cohort", measured, Thresholds("cohort", params), params.gates.cohort.warnings).failures:
        known = [name for name in outcome.offending if outcome.index == "slide_id" and name in slides]
        said = f"{outcome.name}: not so: {outcome.says}; {outcome.remedy}"
        for name in known:
            if outcome.severity == "warning":
                logger.warning("%s: %s", name, said)
            else:
                slides[name].append(_with_reason(outcome.examples, name, said))
        if not known and not (faults and outcome.name == "some_slides"):
            where = f"{', '.join(outcome.offending)}: " if outcome.offending else ""
            if outcome.severity == "warning":
                logger.warning("%s%s", where, said)
            else:
                whole.append(f"{where}{said}")
    return Objections(slides, whole, aside)


def _with_reason(examples: tuple[str, ...], name: str, said: str) -> str:
    """What is said of a slide, with what was measured of it where the gate tells."""
    found = next((text for text in examples if text.startswith(f"{name} (")), "")
    return f"{said}; found {found.removeprefix(f'{name} (')[:-1]}" if found else said
