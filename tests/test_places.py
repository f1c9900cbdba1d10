"""Folder and file names have one home, `wsss_mm.places`: code elsewhere takes them from there."""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from wsss_mm import places
from wsss_mm.patches.quarantine import Entry

ROOMS = ("wsss_mm", "pipelines", "studies", "scripts")
HOME = "wsss_mm/places.py"

PATHS = {value.as_posix() for value in vars(places).values() if isinstance(value, Path) and len(value.parts) > 1}
NAMES = {
    *(places.PARAMS_FILE, places.GATES_FILE, places.PIPELINE, places.SLIDES_TABLE, places.LABELS_TABLE),
    *(
        places.MANIFEST,
        places.DESCRIPTION,
        places.WEIGHTS,
        places.CONFIG,
        places.CURVES,
        places.CHAMPION_PIN.as_posix(),
    ),
    *(
        *places.SLIDE_FILES,
        places.PROBABILITIES,
        places.OUTLINES_GZ,
        places.POLYGONS,
        places.LABELS_ZARR,
        places.DICOM_SEG,
        places.MAP,
        places.MAP_NOTES,
        places.STATE,
        places.NOTE,
    ),
    *(places.JOURNAL_OF_RUN, places.EVIDENCE_DIGESTS, places.LINEAGE),
}

EXCEPTIONS = {
    "scripts/stage_code.py": "reads code as text, and imports none of it",
}
"""Files where names may stand, and why."""


def literals(text: str) -> Iterator[tuple[int, str]]:
    """Text of a module that is no docstring: its line and what it says; parts of an f-string are of it."""
    tree = ast.parse(text)
    passed = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in passed:
            yield node.lineno, node.value


def is_place(text: str) -> bool:
    """Whether text is a path or a file name of the line; sentences that name one are not."""
    if re.search(r"\s", text):
        return False
    return Path(text).name in NAMES or any(text == path or text.startswith(f"{path}/") for path in PATHS)


@pytest.mark.parametrize("room", ROOMS)
def test_names_of_folders_and_files_stand_in_one_place(room, project_root):
    found = []
    for path in sorted((project_root / room).rglob("*.py")):
        name = path.relative_to(project_root).as_posix()
        if name != HOME and name not in EXCEPTIONS:
            text = path.read_text(encoding="utf-8")
            found += [f"{name}:{line}: {said!r}" for line, said in literals(text) if is_place(said)]
    assert not found, f"take these from {HOME}: " + "; ".join(found)


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_every_exception_is_needed(name, project_root):
    assert any(is_place(said) for _, said in literals((project_root / name).read_text(encoding="utf-8")))


@pytest.mark.parametrize("text", ["data/patches", "data/patches/x.png", "models/segmenter/weights.pth", "model.json"])
def test_a_place_is_known(text):
    assert is_place(text)
    assert list(literals(f'"""data/patches."""\nhere = "{text}"\n')) == [(2, text)]
    assert not is_place(f"see {text} of it")


def test_the_quarantine_has_the_columns_of_its_entries():
    assert tuple(field.name for field in fields(Entry)) == places.QUARANTINE_COLUMNS
