"""Plot of the labels study: what was learned against the number of labelled patches, a line an order."""

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from studies.rows import read_rows
from studies.tables import LABEL_FIGURES
from wsss_mm import places

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ORDERS = {"random": "#777777", "useful": "#0072b2", "clusters": "#d55e00"}

_ACROSS = 2  # panels


def main() -> None:
    """Write the plot of every cohort's rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rows", type=Path, default=places.STUDIES / "labels.jsonl", help="of `studies.labels`")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/labels.png"), help="PNG to write")
    arguments = parser.parse_args()
    labels_figure(read_rows(arguments.rows)).savefig(arguments.out, dpi=110, metadata={"Software": None})


def labels_figure(rows: Sequence[Mapping[str, Any]]) -> "Figure":
    """A panel a cohort and figure with more than one number of labels; bars are one standard deviation over seeds."""
    from matplotlib.figure import Figure

    rows = [row for row in rows if row["part"] == "order"]
    panels = [
        (cohort, name, own)
        for cohort in dict.fromkeys(row["cohort"] for row in rows)
        for name in LABEL_FIGURES
        if (own := [row for row in rows if row["cohort"] == cohort and _counts(row, name)])
        and len({row["labels"] for row in own if row["order"] != "all"}) > 1
    ]
    lines = max(1, math.ceil(len(panels) / _ACROSS))
    figure = Figure(figsize=(4.2 * min(_ACROSS, max(1, len(panels))), 3.2 * lines), layout="constrained")
    for at, (cohort, name, own) in enumerate(panels):
        axes = figure.add_subplot(lines, min(_ACROSS, len(panels)), at + 1)
        for order, color in _ORDERS.items():
            points = _points([row for row in own if row["order"] == order], name)
            if points:
                labels, values, bars = (list(column) for column in zip(*points, strict=True))
                axes.errorbar(labels, values, yerr=bars, label=order, color=color, marker="o", capsize=3, markersize=4)
        if everything := _points([row for row in own if row["order"] == "all"], name):
            ((count, value, _),) = everything
            axes.axhline(value, color="black", linestyle=":", label=f"all {count}")
        axes.set_xscale("log", base=2)
        ticks = sorted({row["labels"] for row in own if row["order"] != "all"})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set(title=f"{cohort}: {LABEL_FIGURES[name]}", xlabel="labelled patches")
        axes.title.set_fontsize(9)
        axes.grid(alpha=0.3)
        if at == 0:
            axes.legend(fontsize=8)
    return figure


def _counts(row: Mapping[str, Any], name: str) -> bool:
    """Whether a row is one of this figure: the probe's stand beside deeper runs, too."""
    return row.get(name) is not None and (row["until"] == "probe") == name.startswith("probe")


def _points(rows: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float, float]]:
    """Labels, mean and standard deviation over seeds."""
    found = []
    for labels in sorted({row["labels"] for row in rows}):
        values = [row[name] for row in rows if row["labels"] == labels]
        found.append((labels, mean(values), stdev(values) if len(values) > 1 else 0.0))
    return found


if __name__ == "__main__":
    main()
