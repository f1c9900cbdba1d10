"""Markdown tables of the studies' rows, mean and spread over the seeds, for docs/results.md."""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from studies.rows import read_rows
from wsss_mm import places

_JUDGED = ("valid", "test")
_LOSSES = ("ce", "onss", "onss_margin")


def main() -> None:
    """Print the table of every study there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--folder", type=Path, default=places.STUDIES, help="of the .jsonl files")
    folder = parser.parse_args().folder
    if noise := read_rows(folder / "noise.jsonl"):
        sys.stdout.write(noise_table(noise) + "\n\n")
    if search := read_rows(folder / "search.jsonl"):
        sys.stdout.write(search_table(search, read_rows(folder / "probe.jsonl")) + "\n\n")
    if folds := read_rows(folder / "folds.jsonl"):
        sys.stdout.write(folds_table(folds) + "\n\n")
    if ablation := read_rows(folder / "ablation.jsonl"):
        for cohort in dict.fromkeys(row["cohort"] for row in ablation):
            sys.stdout.write(f"{cohort}\n\n{ablation_table([r for r in ablation if r['cohort'] == cohort])}\n\n")
    if probes := read_rows(folder / "probe.jsonl"):
        sys.stdout.write(probe_table(probes) + "\n\n")
    labels = read_rows(folder / "labels.jsonl")
    for key in dict.fromkeys((row["cohort"], row["until"], row["part"]) for row in labels):
        rows = [row for row in labels if (row["cohort"], row["until"], row["part"]) == key]
        table = labels_table(rows) if key[-1] == "order" else spoiled_table(rows)
        sys.stdout.write(f"{', '.join(key)}\n\n{table}\n\n")


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds; the number of seeds where it is not three."""
    if not values:
        return "-"
    text = f"{mean(values):.3f}"
    if len(values) > 1:
        text += f" ± {stdev(values):.3f}"
    return text if len(values) == 3 else f"{text} (n={len(values)})"


def noise_table(rows: Iterable[dict[str, Any]]) -> str:
    """Test mIoU by kind and level of noise, one column a loss."""
    found: dict[tuple[str, float], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[row["kind"], row["level"]][row["loss"]].append(row["miou"])
    body = [
        [kind, f"{level:.0%}", *(spread(cells[loss]) for loss in _LOSSES)]
        for (kind, level), cells in sorted(found.items(), key=lambda item: (item[0][0] != "none", item[0]))
    ]
    return _markdown(["noise", "wrong pixels", *_LOSSES], body)


def ablation_table(rows: Iterable[dict[str, Any]]) -> str:
    """Pseudo-label and test mIoU by variant, and the difference to the reference of the same seed."""
    found: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        found[row["variant"]][row["seed"]] = row
    reference = found.get("reference", {})
    body = []
    for variant, seeds in found.items():
        gains = [row["miou"] - reference[seed]["miou"] for seed, row in seeds.items() if seed in reference]
        body.append(
            [
                variant,
                spread([row["miou_pseudo_labels"] for row in seeds.values()]),
                spread([row["miou"] for row in seeds.values()]),
                "" if variant == "reference" else _signed(gains),
            ]
        )
    return _markdown(["variant", "pseudo-labels", "segmenter", "difference"], body)


def folds_table(rows: Sequence[dict[str, Any]]) -> str:
    """Weak segmenter and full supervision over the same slides, mIoU: a row a cohort, and a site that was held out."""
    body = []
    for cohort, by in dict.fromkeys((row["cohort"], row.get("by", "slide")) for row in rows):
        own = [row for row in rows if (row["cohort"], row.get("by", "slide")) == (cohort, by)]
        cells = [spread([row[name]["miou"] for row in own]) for name in ("weak", "full")]
        body.append([cohort if by == "slide" else f"{cohort}, by site", str(own[0]["slides"]), *cells])
        for site in own[0].get("sites", {}):
            figures = [row["sites"][site] for row in own if site in row["sites"]]
            held = [[row[name] for row in figures if row[name] is not None] for name in ("weak", "full")]
            body.append([f"{cohort}, {site} held out", "", *map(spread, held)])
    return _markdown(["cohort", "slides", "weak labels", "true masks, folds"], body)


def search_table(rows: Sequence[dict[str, Any]], probes: Sequence[dict[str, Any]] = ()) -> str:
    """Classifier and segmenter on the validation split, and minutes of training, best variant first.

    The first baseline stands above them: the linear probes of these cohorts.
    """
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["cohort"], row["variant"]].append(row)
    body = [
        [
            *names,
            spread([row["mean_ap"] for row in own]),
            spread([row["miou"] for row in own]),
            f"{max(sum(row['seconds']) for row in own) / 60:.0f}",
        ]
        for names, own in sorted(found.items(), key=lambda item: -mean(row["miou"] for row in item[1]))
    ]
    cohorts = {row["cohort"] for row in rows}
    last = {(row["cohort"], row["encoder"]): row for row in probes if row["cohort"] in cohorts}
    first = [
        [cohort, f"linear probe on {encoder}", f"{row['mean_ap.valid']:.3f}", "-", "-"]
        for (cohort, encoder), row in last.items()
        if row.get("mean_ap.valid") is not None
    ]
    return _markdown(["cohort", "variant", "classifier, mean AP", "segmenter, mIoU", "minutes"], [*first, *body])


def probe_table(rows: Sequence[dict[str, Any]]) -> str:
    """Mean average precision of a linear probe, a row a cohort and encoder; of several manifests the last."""
    last = {(row["cohort"], row["encoder"]): row for row in rows}
    body = [
        [*names, *("-" if (value := row.get(f"mean_ap.{split}")) is None else f"{value:.3f}" for split in _JUDGED)]
        for names, row in last.items()
    ]
    return _markdown(["cohort", "linear probe on", "mean AP, validation", "mean AP, test"], body)


LABEL_FIGURES = {
    "probe_ap.valid": "probe, mean AP, validation",
    "probe_ap.test": "probe, mean AP, test",
    "ap.valid": "classifier, mean AP, validation",
    "ap.test": "classifier, mean AP, test",
    "miou_pseudo_labels": "pseudo-labels, mIoU, test",
    "valid_miou": "segmenter, mIoU, validation",
    "miou": "segmenter, mIoU, test",
}


def labels_table(rows: Sequence[dict[str, Any]]) -> str:
    """What was learned by number of labelled patches and their order, a column a figure."""
    body = []
    for labels, order in sorted({(row["labels"], row["order"]) for row in rows}, key=_by_labels):
        own = [row for row in rows if (row["labels"], row["order"]) == (labels, order)]
        body.append([str(labels), order, *_figures(own, rows)])
    return _markdown(["patches", "order", *_columns(rows)], body)


def spoiled_table(rows: Sequence[dict[str, Any]]) -> str:
    """What was learned from spoiled labels, by what was done about them."""
    body = []
    for level, arm in sorted({(row["level"], row["arm"]) for row in rows}):
        own = [row for row in rows if (row["level"], row["arm"]) == (level, arm)]
        right = [row["were_wrong"] / row["looked_at"] for row in own if row.get("looked_at")]
        first = [row["wrong_first_50"] / 50 for row in own if row.get("looked_at")]
        cells = [f"{mean(row['wrong'] for row in own):.1%}", spread(first), spread(right)]
        body.append([f"{level:.0%}", arm, *cells, *_figures(own, rows)])
    head = ["spoiled", "labels", "still wrong", "of the first 50 doubted, wrong", "of all doubted, wrong"]
    return _markdown([*head, *_columns(rows)], body)


def _by_labels(key: tuple[int, str]) -> tuple[int, int]:
    return key[0], ("random", "useful", "clusters", "all").index(key[1])


def _columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [title for name, title in LABEL_FIGURES.items() if any(name in row for row in rows)]


def _figures(own: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> list[str]:
    names = [name for name in LABEL_FIGURES if any(name in row for row in rows)]
    return [spread([row[name] for row in own if row.get(name) is not None]) for name in names]


def _signed(gains: Sequence[float]) -> str:
    text = spread(gains)
    return text if text.startswith("-") else f"+{text}"


def _markdown(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
