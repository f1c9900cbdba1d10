"""What is taken for true of each patch: what was settled, else what readers agree on, else what the only one said."""

import csv
import io
import logging
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wsss_mm.errors import InputError
from wsss_mm.files import write_text
from wsss_mm.labelling.entries import ANSWERS, Answer, Place, State
from wsss_mm.labelling.journal import Journals
from wsss_mm.patches.manifest import label_sets, unsure_classes, unsure_text
from wsss_mm.patches.truth import read_label_table, read_patch_labels
from wsss_mm.places import LABEL_COLUMNS, MADE_LABEL_COLUMNS
from wsss_mm.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

Source = Literal["settled", "agreed", "single", "disputed"]

_NEAR = 1e-6  # of um/px, relative


@dataclass(frozen=True)
class Settled:
    """What counts of a patch.

    Attributes:
        place: The patch.
        states: Of every class that anybody was asked about, by code.
        artefact: Why nothing can be said of it, or None.
        source: Where that comes from; `disputed` where readers differ in a class, which then is unsure.
        readers: Who answered.
    """

    place: Place
    states: dict[str, State]
    artefact: str | None
    source: Source
    readers: tuple[str, ...]


def settle_labels(journals: Journals) -> list[Settled]:
    """What counts of each patch that was answered or settled, ordered by place.

    Of a class, a settlement counts; else the state in which all readers who were asked agree; else it is unsure. Where
    readers differ in whether anything can be said of the patch, all of its classes are unsure.
    """
    answers = journals.by_place()
    settlements = {settlement.place: settlement for settlement in journals.settlements}
    return [
        _settled(place, answers.get(place, {}), settlements.get(place))
        for place in sorted(answers.keys() | settlements.keys())
    ]


def differing(answers: Collection[Answer]) -> list[str]:
    """Codes of the classes in which readers differ, in order; all that were asked if they differ in the artefact."""
    asked = sorted({code for answer in answers for code in answer.states})
    if len({answer.artefact is not None for answer in answers}) > 1:
        return asked
    return [code for code in asked if len({answer.states[code] for answer in answers if code in answer.states}) > 1]


def label_rows(
    settled: Iterable[Settled], vocabulary: Vocabulary, *, mpp: float, size: int, where: str = "journals"
) -> list[dict[str, str]]:
    """Rows of a table of labelled patches.

    A class that nobody was asked about is unsure, not absent. Left out are patches that hold no class of the
    vocabulary for sure, since nothing could be drawn in them, artefacts, and patches of another resolution or size.

    Args:
        settled: As `settle_labels` gives them.
        vocabulary: The line's classes; answers about others are passed over.
        mpp: um/px of the line's patches.
        size: Their side, px.
        where: What messages name as the place of a fault.

    Returns:
        `LABEL_COLUMNS` and `MADE_LABEL_COLUMNS`, in the order of the places.

    Raises:
        InputError: all patches are of another resolution or size.
    """
    rows, others, empty, strangers = [], [], 0, set()
    for item in settled:
        place = item.place
        if place.size != size or not math.isclose(place.mpp, mpp, rel_tol=_NEAR):
            others.append(place)
            continue
        states = _by_class(item.states, vocabulary, strangers)
        present = [code for code in vocabulary.codes if states.get(code) == "present"]
        if item.artefact is not None or not present:
            empty += 1
            continue
        unsure = unsure_text(code for code in vocabulary.codes if states.get(code, "unsure") == "unsure")
        cells = (place.slide, str(place.x), str(place.y), ";".join(present), unsure or "", item.source)
        rows.append(dict(zip((*LABEL_COLUMNS, *MADE_LABEL_COLUMNS), cells, strict=True)))
    if others and not rows and not empty:
        raise InputError(
            f"{where}: all {len(others)} labelled patches are of {others[0].size} px at {others[0].mpp:g} um/px, and "
            f"params.yaml says patches.size {size} and patches.mpp {mpp:g}; set those, or label such patches"
        )
    for count, why in ((len(others), f"are not of {size} px at {mpp:g} um/px"), (empty, "hold no class for sure")):
        if count:
            logger.warning("%s: %d labelled patches %s and are left out", where, count, why)
    if strangers:
        listed = ", ".join(sorted(strangers))
        logger.warning(
            "%s: %s: no class of vocabulary %r; such answers are passed over", where, listed, vocabulary.name
        )
    return rows


def write_labels(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    """Write a table of labelled patches; equal rows give equal bytes."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, (*LABEL_COLUMNS, *MADE_LABEL_COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def check_replaceable(path: Path, journals: Journals, vocabulary: Vocabulary) -> None:
    """See that a table holds no rows that somebody wrote and that no reader's journal has; they would be lost.

    Raises:
        InputError: it does; names the first of them.
    """
    if not path.exists():
        return
    table = read_label_table(path)
    by_hand = table.index[table["source"] == ""]
    if not len(by_hand):
        return
    labels = read_patch_labels(path, table["slide_id"].unique().tolist(), vocabulary).loc[by_hand]
    said = {
        (entry["slide"], entry["x"], entry["y"], *(_names(entry.get("classes", {}), s) for s in ("present", "unsure")))
        for reader in journals.readers
        for entry in journals.entries[reader]
        if entry["kind"] in ANSWERS  # also what was replaced or undone since
    }
    sets = zip(label_sets(labels.drop(columns="unsure"), vocabulary.codes), labels["unsure"], strict=True)
    rows = zip(labels["slide_id"], labels["x"], labels["y"], sets, strict=True)
    lost = [
        line
        for line, (slide, x, y, (present, unsure)) in zip(labels.index, rows, strict=True)
        if (slide, x, y, frozenset(present.split(";")), frozenset(unsure_classes(unsure))) not in said
    ]
    if lost:
        raise InputError(
            f"{path}: line {lost[0]}: {len(lost)} rows were written by hand and are in no journal, which would replace "
            f"them; take them into one: wsss-mm labels import --reader NAME {path}"
        )


def _names(states: Mapping[str, State], state: str) -> frozenset[str]:
    return frozenset(code for code, said in states.items() if said == state)


def _settled(place: Place, answers: Mapping[str, Answer], settlement: Answer | None) -> Settled:
    said = list(answers.values())
    split = differing(said)
    states: dict[str, State] = {code: state for answer in said for code, state in answer.states.items()}
    states |= dict.fromkeys(split, "unsure")
    artefact = next((answer.artefact for answer in said), None)
    undecided = len({answer.artefact is not None for answer in said}) > 1
    source: Source = "disputed" if split or undecided else "agreed" if len(said) > 1 else "single"
    if settlement is not None:
        states, artefact, source, undecided = states | settlement.states, settlement.artefact, "settled", False
    return Settled(place, states, None if undecided else artefact, source, tuple(sorted(answers)))


def _by_class(states: Mapping[str, State], vocabulary: Vocabulary, strangers: set[str]) -> dict[str, State]:
    """States by the vocabulary's codes; two names of one class that say different things leave it unsure."""
    found: dict[str, State] = {}
    for name, state in states.items():
        if (index := vocabulary.find(name)) is None:
            strangers.add(name)
            continue
        code = vocabulary.codes[index]
        found[code] = state if found.get(code, state) == state else "unsure"
    return found
