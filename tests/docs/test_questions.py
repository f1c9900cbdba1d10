"""The ten questions of docs/architecture.md, and what docs/standing-on.md says of the rooms."""

import ast
import re

import pytest

from tests.conftest import ROOT

LIBRARIES = {"mlflow": "MLflow", "great_expectations": "Great Expectations", "mmseg": "onedl-mmsegmentation"}
LIBRARIES |= dict.fromkeys(("mmengine", "mmcv"), "onedl-mmengine") | {"dvc": "DVC"}


def section(page, title):
    text = (ROOT / page).read_text(encoding="utf-8")
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


def rows(text):
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return cells[2:]


QUESTIONS = rows(section("docs/architecture.md", "Ten questions of a newcomer"))


def test_there_are_ten_of_ten_files():
    assert len(QUESTIONS) == len({file for _, file, _ in QUESTIONS}) == 10
    assert all(question.endswith("?") for question, _, _ in QUESTIONS)


@pytest.mark.parametrize(("question", "file", "names"), QUESTIONS, ids=[file.strip("`") for _, file, _ in QUESTIONS])
def test_the_file_is_there_and_defines_what_it_is_named_for(question, file, names):
    path = ROOT / file.strip("`")
    assert path.is_file(), f"{question} {file} is not there"
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"`([^`]+)`", names)
    assert named
    for name in named:
        assert name in defined(text) if path.suffix == ".py" else re.search(rf"^ *{name}:", text, re.MULTILINE), (
            f"{question} {file} defines no {name}"
        )


def defined(text):
    found = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def test_rooms_that_import_a_library_are_named():
    """On the page; one that is named and no longer imports it is welcome."""
    table = rows((ROOT / "docs/standing-on.md").read_text(encoding="utf-8"))
    named = {library: set(re.findall(r"`(\w+)`", cells[-1])) for library, *cells in table}
    for path in sorted((ROOT / "wsss_mm").rglob("*.py")):
        room = path.relative_to(ROOT / "wsss_mm").with_suffix("").parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            modules += [item.name for item in node.names] if isinstance(node, ast.Import) else []
            for top in {module.partition(".")[0] for module in modules} & LIBRARIES.keys():
                (rooms,) = [rooms for library, rooms in named.items() if library.startswith(LIBRARIES[top])]
                assert room in rooms, f"{path} imports {top}"
