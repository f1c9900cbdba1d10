"""Tables of labelled patches: labels.csv with further columns, which the line reads as it reads any."""

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path

from wsss_mm.errors import InputError
from wsss_mm.files import write_text
from wsss_mm.labelling.entries import Place
from wsss_mm.labelling.exchange.said import PatchLabels, artefact_of, check_once, codes_of, in_order, states_of
from wsss_mm.names import is_plain_name
from wsss_mm.patches.truth import coordinate
from wsss_mm.places import EXACT_LABEL_COLUMNS, LABEL_COLUMNS, MADE_LABEL_COLUMNS
from wsss_mm.tables import number, read_table
from wsss_mm.vocabulary import Vocabulary


def write_label_table(path: Path, said: Iterable[PatchLabels], vocabulary: Vocabulary) -> None:
    """Write what was said, a row a patch; equal content gives equal bytes."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*LABEL_COLUMNS, *MADE_LABEL_COLUMNS, *EXACT_LABEL_COLUMNS))
    for item in said:
        place, states = item.place, in_order(item.states, vocabulary)
        present, unsure = (";".join(PatchLabels(place, states).named(state)) for state in ("present", "unsure"))
        seconds = "" if item.seconds is None else repr(item.seconds)
        asked = (";".join(states), item.artefact or "", repr(place.mpp), place.size, seconds)
        writer.writerow((place.slide, place.x, place.y, present, unsure, item.source, *asked))
    write_text(path, text.getvalue())


def read_said(path: Path, vocabulary: Vocabulary, *, mpp: float, size: int, by_hand: bool = False) -> list[PatchLabels]:
    """Read a table of labelled patches.

    Args:
        path: The table; of its columns, `LABEL_COLUMNS` are needed.
        vocabulary: Classes may have any of its names. Where a row does not say which were asked, all of them were.
        mpp: um/px of patches that do not say it.
        size: Their side, px.
        by_hand: Pass over rows that were made of journals, whose `source` says so.

    Raises:
        InputError: names the line and the remedy.
    """
    absent, remedy = "no such table of labels", "save it as CSV, in UTF-8"
    table = read_table(path, LABEL_COLUMNS, (*MADE_LABEL_COLUMNS, *EXACT_LABEL_COLUMNS), absent=absent, remedy=remedy)
    if by_hand:
        table = table[table["source"] == ""]
    rows = table.to_dict("records")
    found = [
        _said(row, vocabulary, f"{path}: line {line}", mpp, size) for line, row in zip(table.index, rows, strict=True)
    ]
    return check_once(found, str(path))


def _said(row: dict[str, str], vocabulary: Vocabulary, where: str, mpp: float, size: int) -> PatchLabels:
    if not is_plain_name(row["slide_id"]):
        raise InputError(f"{where}: slide_id {row['slide_id'][:80]!r} cannot name a file; correct it")
    x, y = (coordinate(row[name], name, where) for name in "xy")
    measures = [_number(row[name], name, where, usual) for name, usual in (("mpp", mpp), ("size", size))]
    present, unsure, asked = (
        codes_of(filter(None, map(str.strip, re.split(r"[;,\r\n]", row[name]))), vocabulary, where)
        for name in ("labels", "unsure", "asked")
    )
    artefact = artefact_of(row["artefact"], where)
    if not (present or unsure or asked or artefact):
        raise InputError(
            f"{where}: no label; give one or more of {', '.join(vocabulary.codes)}, the classes that were asked, or an "
            "artefact, or remove the line"
        )
    if not asked and (present or unsure):
        asked = list(vocabulary.codes)
    seconds = _number(row["seconds"], "seconds", where, None)
    place = Place(row["slide_id"], x, y, float(measures[0] or mpp), int(measures[1] or size))
    return PatchLabels(place, states_of(asked, present, unsure, where), artefact, seconds, row["source"])


def _number(text: str, name: str, where: str, usual: float | None) -> float | None:
    if not text:
        return usual
    value = number(text)
    if value is None or value < 0 or (name == "size" and value != int(value)) or (name != "seconds" and value == 0):
        raise InputError(f"{where}: {name} {text[:80]!r} is no such number; correct it")
    return value
