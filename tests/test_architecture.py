"""No import points upward between the floors that docs/architecture.md names, and none leads in a circle."""

import ast
import re
from graphlib import CycleError, TopologicalSorter

import pytest

from pipelines.__main__ import STAGES
from scripts.stage_code import PACKAGES, imported

OUTSIDE = ("studies", "benchmarks", "deploy", "scripts", "tests")
MOST_LINES = 400
WRITTEN = (".py", ".js", ".css", ".html", ".sh")
"""What people write, and no data."""


@pytest.fixture(scope="session")
def floors(project_root):
    """The rooms as the page lists them, from the ground up."""
    text = (project_root / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", text, re.MULTILINE)
    assert [int(floor) for floor, _ in rows] == list(range(len(rows)))
    return [room for _, rooms in rows for room in re.findall(r"`(\w+)`", rooms)]


def room_of(name):
    """The room of a module, by its dotted name; None of the package itself."""
    package, *inner = name.split(".")
    return package if package == "pipelines" else inner[0] if inner and package == "wsss_mm" else None


def test_every_room_is_on_one_floor(floors, project_root):
    there = {path.stem for path in (project_root / "wsss_mm").glob("*.py")} - {"__init__"}
    there |= {path.parent.name for path in (project_root / "wsss_mm").glob("*/__init__.py")}
    assert sorted(floors) == sorted(there | {"pipelines"})


def test_no_import_points_upward(floors, project_root):
    heights = {room: height for height, room in enumerate(floors)}
    upward = []
    for package in PACKAGES:
        for file in sorted((project_root / package).rglob("*.py")):
            path = file.relative_to(project_root).with_suffix("")
            room = room_of(".".join(path.parts).removesuffix(".__init__"))
            for name, line in imported(ast.parse(file.read_text(encoding="utf-8")), (*PACKAGES, *OUTSIDE)):
                other = room_of(name)
                if room in heights and other in heights and heights[other] > heights[room]:
                    upward.append(f"{path}.py:{line}: {room} imports {name}")
                if name.split(".")[0] in OUTSIDE:
                    upward.append(f"{path}.py:{line}: {name} is outside")
    assert not upward, "\n".join(upward)


def circle(root):
    """Modules that import each other in turn, the first once more at the end; none where there is no circle.

    Imports inside of functions count, and those for type checkers: two modules that know each other's types are one.
    """
    files = {
        ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file
        for package in PACKAGES
        for file in (root / package).rglob("*.py")
    }
    needs = {}
    for module, file in files.items():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        parts = [name.split(".") for name, _ in imported(tree, types=True)]
        names = [[".".join(part[:count]) for count in range(len(part), 0, -1)] for part in parts]
        needs[module] = {next(name for name in longest_first if name in files) for longest_first in names} - {module}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        return error.args[1][::-1]
    return []


def test_no_imports_lead_in_a_circle(project_root):
    assert not (found := circle(project_root)), " imports ".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "from wsss_mm.a import one",
        "from wsss_mm import a",
        "import wsss_mm.a",
        "def late():\n    from wsss_mm.a import one",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from wsss_mm.a import one",
    ],
)
def test_a_circle_is_found_however_it_is_imported(text, tmp_path):
    for name, content in (("__init__", ""), ("a", "from wsss_mm.b import two\none = two"), ("b", "two = 2")):
        path = tmp_path / f"wsss_mm/{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    assert circle(tmp_path) == []
    (tmp_path / "wsss_mm/b.py").write_text(f"{text}\ntwo = 2")
    assert sorted(circle(tmp_path)[1:]) == ["wsss_mm.a", "wsss_mm.b"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_thin(stage, project_root):
    """It reads, calls and writes; what it calls lies in a room of the package."""
    assert len((project_root / f"pipelines/{stage}.py").read_text(encoding="utf-8").splitlines()) < 80


def test_a_file_has_one_purpose(project_root):
    """Past this length there are two in it; tests of one room may be longer."""
    folders = {*PACKAGES, *OUTSIDE, "mmconfigs"} - {"tests"}
    files = [path for folder in folders for path in (project_root / folder).rglob("*") if path.suffix in WRITTEN]
    lengths = {
        path.relative_to(project_root).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in files
    }
    assert len(lengths) > 300
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}, "divide it where it bends"
