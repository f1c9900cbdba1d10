"""Print the rows of `reports/benchmarks.jsonl` into docs/performance.md: `python -m benchmarks.tables`.

A table stands between `<!-- rows: SUBJECT ... -->` and `<!-- end of rows -->`, the machines between `<!-- machines -->`
and `<!-- end of machines -->`.
"""

import re
from pathlib import Path

from benchmarks.rows import PAGE, ROWS, Row, held, read_rows

HEAD = "| what | median | over | ratio | target | runs | where | command |\n|---|---|---|---|---|---|---|---|"
NONE = "No rows yet."
_TABLE = re.compile(r"<!-- rows: ([\w ]+) -->\n(?:(?!<!--).*\n)*<!-- end of rows -->")
_MACHINES = re.compile(r"<!-- machines -->\n(?:(?!<!--).*\n)*<!-- end of machines -->")
_NAMES = {"python": "Python", "openslide-python": "openslide-python", "openslide": "OpenSlide"}


def newest(rows: list[Row]) -> list[Row]:
    """The last row of each number, in the order in which they were first measured."""
    return list({(row["subject"], row["what"], row["over"]): row for row in rows}.values())


def machines(rows: list[Row]) -> list[str]:
    """Where rows were measured, each once: the first is A."""
    return list(dict.fromkeys(map(_machine, rows)))


def _machine(row: Row) -> str:
    parts = [f"{_NAMES.get(name, name)} {number}" for name, number in row["versions"].items() if number]
    return ", ".join([row["machine"], *parts])


def print_rows(rows: list[Row], where: list[str]) -> str:
    """A table in Markdown; `where` is `machines` of all rows of the page."""
    if not rows:
        return NONE
    return "\n".join([HEAD, *(_line(row, chr(ord("A") + where.index(_machine(row)))) for row in rows)])


def _line(row: Row, where: str) -> str:
    ratio, bounds = row["ratio"], (("at most", row["at_most"]), ("at least", row["at_least"]))
    unit = f" {row['unit']}" if ratio is None else ""
    target = " and ".join(f"{name} {bound:g}{unit}" for name, bound in bounds if bound is not None)
    cells = [
        row["what"],
        f"{row['value']:.3g} {row['unit']}",
        row["over"],
        "" if ratio is None else f"{ratio:.2f}",
        target if held(row) else f"{target}, **missed**",
        f"{row['runs']}{', quick' if row['quick'] else ''}",
        f"{where}, {row['date']}, load {row['busy']}",
        f"`{row['command']}`, {row['commit']}",
    ]
    return "| " + " | ".join(cells) + " |"


def fill(page: str, rows: list[Row]) -> str:
    """The page with its tables between their markers."""
    rows = newest(rows)
    where = machines(rows)

    def table(found: re.Match[str]) -> str:
        own = [row for subject in found[1].split() for row in rows if row["subject"] == subject]
        return f"<!-- rows: {found[1]} -->\n{print_rows(own, where)}\n<!-- end of rows -->"

    listed = "\n".join(f"- {chr(ord('A') + number)}: {machine}" for number, machine in enumerate(where))
    page = _TABLE.sub(table, page)
    return _MACHINES.sub(lambda _: f"<!-- machines -->\n{listed}\n<!-- end of machines -->", page)


def print_page(page: Path = PAGE, rows: Path = ROWS) -> None:
    """Print the tables of the page anew."""
    page.write_text(fill(page.read_text(encoding="utf-8"), read_rows(rows)), encoding="utf-8")


if __name__ == "__main__":
    print_page()
