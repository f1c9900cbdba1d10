"""No import points upward between the floors that docs/architecture.md names."""

import ast
import re

import pytest

from pipelines.__main__ import STAGES
from scripts.stage_code import PACKAGES, imported

OUTSIDE = ("studies", "benchmarks", "deploy", "scripts", "tests")


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


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_thin(stage, project_root):
    """It reads, calls and writes; what it calls lies in a room of the package."""
    assert len((project_root / f"pipelines/{stage}.py").read_text(encoding="utf-8").splitlines()) < 80
