"""Which lines of the product the tests touch, by room: `-p tests.touched`, as `make test` has it.

Counted by slipcover, which takes its marks out of code that has run; lines of stages and commands that tests start as
processes of their own are not counted. The lines that nothing touched are listed in `.coverage.txt`.
"""

from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [ROOT / "wsss_mm", ROOT / "pipelines"]
OMITTED = ["*/wsss_mm/models/losses.py"]  # torch.compile reads what it compiles, and knows no marks in it
LIST = ".coverage.txt"

_counting: Any = None
_found: list[dict[str, Any]] = []


def pytest_configure(config: pytest.Config) -> None:
    """Before any test is collected: what is imported earlier is not counted."""
    global _counting  # noqa: PLW0603
    import slipcover

    # The process of `make test` alone reads all sources, 3 s of CPU, for the lines that count; workers tell what ran.
    every = {"source": [str(path) for path in SOURCES], "exclude_also": ["if __name__ == .__main__.:"]}
    _counting = slipcover.Slipcover(**{"exclude_lines": []} if hasattr(config, "workerinput") else every)
    files = slipcover.FileMatcher(sources=SOURCES, omit=OMITTED)
    slipcover.ImportManager(_counting, files).__enter__()


def pytest_sessionfinish(session: pytest.Session) -> None:
    found = _counting.get_coverage()
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["touched"] = found["files"]
    else:
        _found.insert(0, found["files"])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _found.append(getattr(node, "workeroutput", {}).get("touched", {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Before the line with which pytest closes."""
    files = merged(_found)
    (ROOT / LIST).write_text(
        "".join(f"{path}: {spans(lines, seen)}\n" for path, (seen, lines) in sorted(files.items()))
    )
    terminalreporter.write_line(summary(files))


def merged(results: list[dict[str, Any]]) -> dict[str, tuple[set[int], set[int]]]:
    """Lines that ran and those that did not, of each file below the root, over all processes.

    Args:
        results: the first holds all lines that count, the others are of workers.
    """
    files: dict[str, tuple[set[int], set[int]]] = {}
    for number, result in enumerate(results):
        for path, lines in result.items():
            name = Path(path).resolve().relative_to(ROOT).as_posix() if Path(path).is_absolute() else path
            ran, missed = set(lines["executed_lines"]), set(lines["missing_lines"])
            if number == 0:
                files[name] = (ran, missed)
            elif name in files:
                seen, other = files[name]
                seen |= ran & other
    return {name: (seen, other - seen) for name, (seen, other) in files.items()}


def summary(files: dict[str, tuple[set[int], set[int]]]) -> str:
    """One line: percent of the lines of all, and of each room, the least first."""
    rooms: dict[str, list[int]] = {}
    for name, (seen, other) in files.items():
        folder, _, inside = name.partition("/")
        counts = rooms.setdefault(
            inside.partition("/")[0].removesuffix(".py") if folder == "wsss_mm" else folder, [0, 0]
        )
        counts[0] += len(seen)
        counts[1] += len(seen) + len(other)
    shares = sorted((100 * seen / max(count, 1), room) for room, (seen, count) in rooms.items() if count)
    touched, count = (sum(column) for column in zip(*rooms.values(), strict=True)) if rooms else (0, 0)
    said = ", ".join(f"{room} {share:.0f}" for share, room in shares)
    return f"coverage: {100 * touched / max(count, 1):.1f} % of {count} lines ({said}); the others: {LIST}"


def spans(missing: set[int], seen: set[int]) -> str:
    """Lines as `3-9, 12`: those with no line that ran between them are one span."""
    found: list[list[int]] = []
    for line in sorted(missing):
        if found and not any(between in seen for between in range(found[-1][1], line)):
            found[-1][1] = line
        else:
            found.append([line, line])
    return ", ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in found)
