"""dvc.yaml of a lab: a stage rests on a list of digests of the package's code, where here it rests on the code itself.

`code/<stage>.sha256` names the files of the installed package that a stage imports, as `sha256sum` writes them. A newer
package changes the lists of those stages whose code it changes, and these alone run again.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from wsss_mm.places import STAGE_CODE

_CODE = re.compile(r"^( +- )(wsss_mm/\S+)\n", re.MULTILINE)
_FILES = re.compile(r"(^        files:\n)((?:          - .+\n)+)", re.MULTILINE)
_NUMBERED = re.compile(r"^ +- \$\{item\.files\[(\d+)\]\}\n", re.MULTILINE)
_VERSION = "wsss_mm/__init__.py"  # says nothing else: all stages would run again with each version
_STAGE, _ITEM = 2, 6  # blanks before the name of a stage, and of one of those that `foreach` makes
_HEADER = "# What of wsss_mm this stage rests on; written by `wsss-mm init` and `wsss-mm update`.\n"


def without_code(pipeline: str) -> str:
    """The text of dvc.yaml with one list of digests in place of a stage's files of the package."""
    return _evened("".join(_with_list(name, block) for name, block in _stages(pipeline)))


def code_files(pipeline: str, package: Path, digest_of: Callable[[Path], str]) -> dict[str, str]:
    """Text of each list by its path.

    Args:
        pipeline: The text of dvc.yaml.
        package: Folder of the installed package; a folder of it that is named stands for its files.
        digest_of: Gives the sha256 of a file.
    """
    lists = {}
    for name, block in _stages(pipeline):
        if files := sorted(_each((found[2] for found in _CODE.finditer(block)), package.parent)):
            lines = (f"{digest_of(package.parent / file)}  {file}\n" for file in files)
            lists[_list_of(name)] = _HEADER + "".join(lines)
    return lists


def _stages(pipeline: str) -> Iterator[tuple[str, str]]:
    """All of the text in pieces, those of a stage, or of one that `foreach` makes, with its name."""
    for stage in _pieces(pipeline, _STAGE):
        name = _name(stage)
        if "\n    foreach:" not in stage:
            yield name, stage
            continue
        for item in _pieces(stage, _ITEM):
            yield f"{name}-{_name(item)}", item


def _pieces(text: str, indent: int) -> list[str]:
    return re.split(rf"^(?= {{{indent}}}\w+:\n)", text, flags=re.MULTILINE)


def _name(piece: str) -> str:
    found = re.match(r" +(\w+):\n", piece)
    return found[1] if found else ""


def _list_of(name: str) -> str:
    return f"{STAGE_CODE.as_posix()}/{name}.sha256"


def _each(names: Iterable[str], root: Path) -> set[str]:
    """Files once each, and those of a folder."""
    found: set[str] = set()
    for name in names:
        if name == _VERSION:
            continue
        inside = (path for path in (root / name).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        found |= {path.relative_to(root).as_posix() for path in inside} if (root / name).is_dir() else {name}
    return found


def _with_list(name: str, block: str) -> str:
    """A stage with its list in the place of the first file."""
    first = _CODE.search(block)
    if first is None:
        return block
    return f"{block[: first.start()]}{first[1]}{_list_of(name)}\n{_CODE.sub('', block[first.end() :])}"


def _evened(text: str) -> str:
    """As many files of each gate, filled up with its last as DVC wants them, and as many that are asked for."""
    lists = (found[2].splitlines() for found in _FILES.finditer(text))
    most = max((len(set(lines)) for lines in lists), default=0)

    def filled(found: re.Match[str]) -> str:
        lines = list(dict.fromkeys(found[2].splitlines(keepends=True)))
        return found[1] + "".join(lines + lines[-1:] * (most - len(lines)))

    return _NUMBERED.sub(lambda found: found[0] if int(found[1]) < most else "", _FILES.sub(filled, text))
