"""The documentation as data: its blocks of commands, its links, and what its sentences name."""

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"(?:^[ ]*<!-- not run: (?P<reason>[^\n]+?) -->\n)?^(?P<indent>[ ]*)```(?:bash|sh)\n(?P<text>.*?)^[ ]*```",
    re.DOTALL | re.MULTILINE,
)
_FENCED = re.compile(r"^[ ]*```.*?^[ ]*```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of commands: the page, the line it begins at, its text, and why it is not run, if it is not."""

    page: str
    line: int
    text: str
    reason: str | None

    @property
    def commands(self) -> list[str]:
        """Its lines, continued ones joined, without empty ones and comments."""
        lines = (line.strip() for line in self.text.replace("\\\n", " ").splitlines())
        return [line for line in lines if line and not line.startswith("#")]


def pages(root: Path) -> list[str]:
    """README.md, what stands beside it, and docs/*.md, relative to the project's root."""
    beside = ["README.md", "CONTRIBUTING.md", "SECURITY.md"]
    return [*beside, *sorted(path.relative_to(root).as_posix() for path in (root / "docs").glob("*.md"))]


def blocks(root: Path, page: str) -> list[Block]:
    """The bash blocks of a page in order."""
    text = (root / page).read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, match.start()) + 1, match["text"], match["reason"])
        for match in _BLOCK.finditer(text)
    ]


def prose(root: Path, page: str) -> str:
    """The page without fenced blocks."""
    return _FENCED.sub("", (root / page).read_text(encoding="utf-8"))


def inline_code(root: Path, page: str) -> list[str]:
    """What stands between single backticks in its sentences, line breaks as blanks."""
    return [" ".join(text.split()) for text in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(root, page))]


def links(root: Path, page: str) -> list[str]:
    """Targets of links and pictures that lie in the project."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose(root, page))
    return [target for target in found if "://" not in target and not target.startswith("mailto:")]


def anchors(root: Path, page: str) -> set[str]:
    """What `#...` may name in a page: its headings as GitHub spells them."""
    headings = re.findall(r"^#+ (.+)$", prose(root, page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
