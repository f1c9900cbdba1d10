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


@pytest.mark.parametrize("page", PAGES)
def test_the_parser_takes_them(page, project_root):
    for arguments in commands(project_root / "docs" / page):
        build_parser().parse_args(arguments)


def test_commands_are_found_at_all(project_root):
    assert ["models", "promote"] in commands(project_root / "docs/sharing-models.md")
