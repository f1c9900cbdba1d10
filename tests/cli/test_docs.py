"""The commands in the documentation are commands that there are."""

import re
import shlex
from pathlib import Path

import pytest

from wsss_mm.cli.main import build_parser

PAGES = sorted(path.name for path in (Path(__file__).parents[2] / "docs").glob("*.md"))


def commands(page: Path) -> list[list[str]]:
    """Arguments of each `wsss-mm` in the page's bash blocks."""
    blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.split(" && ")[0] for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("wsss-mm ")]


def inline(page: Path) -> list[list[str]]:
    """Arguments of each `wsss-mm ...` within the page's sentences."""
    return [shlex.split(text) for text in re.findall(r"`wsss-mm ([^`|]+)`", page.read_text(encoding="utf-8"))]


def test_the_parser_takes_those_of_the_readme(project_root):
    readme = project_root / "README.md"
    found = commands(readme) + inline(readme)
    assert ["doctor"] in found
    for arguments in found:
        build_parser().parse_args(arguments)


@pytest.mark.parametrize("page", PAGES)
def test_the_parser_takes_them(page, project_root):
    for arguments in commands(project_root / "docs" / page):
        build_parser().parse_args(arguments)


def test_commands_are_found_at_all(project_root):
    assert ["models", "promote"] in commands(project_root / "docs/sharing-models.md")
