"""Print the rows of `reports/benchmarks.jsonl` into docs/performance.md: `python -m benchmarks.tables`."""

from typing import Any

from benchmarks.rows import ROOT, read_rows

PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- rows -->", "<!-- end of rows -->"
HEAD = "| what | median | over | ratio | target | runs | machine, load | command |\n|---|---|---|---|---|---|---|---|"


def print_rows(rows: list[dict[str, Any]]) -> str:
    """A table in Markdown, of the newest row of each number."""
    newest = {(row["subject"], row["what"], row["over"]): row for row in rows}
    return "\n".join([HEAD, *map(_line, newest.values())])


def _line(row: dict[str, Any]) -> str:
    verdict = "" if row["ratio"] <= row["target"] else ", **missed**"
    cells = [
        row["what"],
        f"{row['value']:.3g} {row['unit']}",
        row["over"],
        f"{row['ratio']:.2f}",
        f"at most {row['target']:g}{verdict}",
        f"{row['runs']}{', quick' if row['quick'] else ''}",
        f"{row['machine']}; {row['busy']}",
        f"`{row['command']}`, {row['commit']}",
    ]
    return "| " + " | ".join(cells) + " |"


def fill(page: str, rows: list[dict[str, Any]]) -> str:
    """The page with the table between its markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{print_rows(rows)}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), read_rows()), encoding="utf-8")
