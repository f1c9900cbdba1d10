"""A user's own slides: which table is meant, what is known of them, and what to run next in the state that is found."""

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_mm import places
from wsss_mm.errors import InputError

if TYPE_CHECKING:
    from wsss_mm.cohort.editing import Rows
    from wsss_mm.cohort.overview import SlideLabels
    from wsss_mm.settings import Params
    from wsss_mm.vocabulary import Vocabulary

Step = tuple[str, str]
"""A command, and what for."""
_ADD: Step = ("wsss-mm cohort add SLIDE...", "name your slides")
_TRAIN: Step = ("make repro", "run the line: it trains, and judges what it has learnt")
_LABEL = [
    ("dvc repro candidates", "take the table over, and list the patches to label"),
    ("wsss-mm label", "say in the browser which tissues patches hold"),
]


def own_params() -> "Params | None":
    """The project's settings; None outside of one."""
    from wsss_mm.settings import load_params

    return load_params() if Path(places.PARAMS_FILE).is_file() else None


def meant_table(named: Path | None) -> Path:
    """The table that is meant: the one that is named, or that of params.yaml."""
    from wsss_mm.cohort.adopt import table_of

    if named is not None:
        return table_of(named)
    params = own_params()
    return table_of(params.cohort.source) if params and params.cohort.name == "slides" else places.OWN_SLIDES


def is_own(table: Path) -> bool:
    """Whether params.yaml names this table."""
    from wsss_mm.cohort.adopt import table_of
    from wsss_mm.cohort.files import full_path

    params = own_params()
    own = params is not None and params.cohort.name == "slides"
    return own and full_path(table_of(params.cohort.source)) == full_path(table)


def known_labels(table: Path) -> tuple[dict[str, "SlideLabels"], "Vocabulary | None"]:
    """What people have said of the slides, by slide_id, and the classes they said it in: all commands ask here."""
    from wsss_mm.cohort.overview import labels_of_table
    from wsss_mm.vocabulary import get_vocabulary

    params = own_params()
    vocabulary = None if params is None else get_vocabulary(params.cohort.vocabulary)
    named = params.cohort.labels if params is not None and is_own(table) else None
    for path in filter(None, (named, table.with_name(places.LABELS_TABLE))):
        if labels := labels_of_table(path, vocabulary):
            return labels, vocabulary
    return {}, vocabulary


def next_steps(table: Path, *, checked: bool = False) -> str:
    """What comes next, a command a line, by what is known of the slides.

    Args:
        table: of the slides, which may not be there yet.
        checked: whether each slide was looked at, or need not be.
    """
    from wsss_mm.cohort.overview import aligned

    lines = [("", command, f"# {why}") for command, why in _steps(table, checked)]
    return f"next:\n{aligned(lines)}\n"


def _steps(table: Path, checked: bool) -> list[Step]:
    from wsss_mm.cohort.editing import read_slide_rows

    option = "" if table == meant_table(None) else f" --table {shlex.quote(str(table))}"
    try:
        rows = read_slide_rows(table) if table.is_file() else {}
    except InputError:
        return [(f"wsss-mm cohort check{option}", "see what is wrong with the table of slides")]
    if not rows:
        return [(f"{_ADD[0]}{option}", _ADD[1])]
    steps: list[Step] = []
    if not all(row["split"] for row in rows.values()):
        steps.append((f"wsss-mm cohort split{option}", "divide the patients into train, valid and test"))
    if not checked:
        steps.append((f"wsss-mm cohort check{option}", "see whether every slide can be used"))
    if not is_own(table):
        steps.append((f"wsss-mm profile slides --source {shlex.quote(str(table))}", "let the line work on them"))
    return [*steps, *_to_train(rows, table)]


def _to_train(rows: "Rows", table: Path) -> list[Step]:
    """What is missing before a training, and the training."""
    try:
        labelled = {*known_labels(table)[0], *_slides_of_journals()}
    except InputError as error:
        return [("wsss-mm labels check", f"see what is wrong with labels: {error}")]
    splits: dict[str, list[Mapping[str, str]]] = {}
    for row in rows.values():
        splits.setdefault(row["split"].lower(), []).append(row)
    of_train = [row for row in rows.values() if row["split"].lower() not in ("valid", "test")]
    if not any(row["slide_id"] in labelled for row in of_train):
        return _LABEL
    bare = [split for split in ("valid", "test") if not any(map(_is_outlined, splits.get(split, ())))]
    if not bare:
        return [_TRAIN]
    return [("wsss-mm label", f"outline tissues on slides of {_listed(bare)}, in its view Draw: they judge"), _TRAIN]


def _is_outlined(row: Mapping[str, str]) -> bool:
    from wsss_mm.labelling.drawings import drawing_path

    return bool(row.get("annotation")) or drawing_path("masks", row["slide_id"]).is_file()


def _slides_of_journals() -> set[str]:
    from wsss_mm.labelling.journal import read_journals

    return {answer.place.slide for answer in read_journals().answers() if "present" in answer.states.values()}


def _listed(names: Collection[str]) -> str:
    return " and ".join(names)
