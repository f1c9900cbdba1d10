"""Figures of a run: the confusion matrix and the IoU of each class, in the colours of the classes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wsss_mm.evaluation.sites import SITE, TISSUE
from wsss_mm.vocabulary import Vocabulary

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def report_figures(
    metrics: Mapping[str, Any], confusion: npt.NDArray[np.int64], vocabulary: Vocabulary
) -> dict[str, "Figure"]:
    """The figures of a split by file name, from `split_metrics` with its `bootstrap` and the ungated confusion."""
    curve = metrics.get("calibration", {}).get("risk_coverage")
    return {
        **({"test_risk_coverage.png": risk_coverage_figure(curve)} if curve else {}),
        "test_confusion.png": confusion_figure(confusion, vocabulary),
        "test_iou.png": iou_figure(metrics["ungated"], metrics["bootstrap"]["ungated"], vocabulary),
    }


def confusion_figure(confusion: npt.NDArray[np.int64], vocabulary: Vocabulary) -> "Figure":
    """Shares of the pixels of each true class by predicted class; classes without truth are left blank.

    Args:
        confusion: (C, C), row = truth.
        vocabulary: the classes.
    """
    from matplotlib.figure import Figure

    totals = confusion.sum(axis=1, keepdims=True)
    shares = np.where(totals > 0, confusion / np.maximum(totals, 1), np.nan)
    figure = Figure(figsize=(1.6 + len(vocabulary), 1.2 + len(vocabulary)), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        if not np.isnan(share):
            axes.text(column, row, f"{share:.2f}", ha="center", va="center", color="white" if share > 0.5 else "black")
    places = range(len(vocabulary))
    axes.set_xticks(places, vocabulary.codes)
    axes.set_yticks(places, vocabulary.codes)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        for label, color in zip(labels, vocabulary.colors, strict=True):
            label.set(color=_rgb(color), fontweight="bold")
    axes.set(xlabel="predicted", ylabel="actual", title="Shares of the actual class")
    return figure


def iou_figure(
    metrics: Mapping[str, float | None], intervals: Mapping[str, list[float] | None], vocabulary: Vocabulary
) -> "Figure":
    """A bar a class with its confidence interval, where there is one.

    Args:
        metrics: see `segmentation_metrics`.
        intervals: `[low, high]` by metric.
        vocabulary: the classes; those without truth have no bar.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.2 + 0.5 * len(vocabulary)), layout="constrained")
    axes = figure.add_subplot()
    for row, item in enumerate(vocabulary.classes):
        iou = metrics[f"iou.{item.code}"]
        if iou is None:
            axes.text(0.01, row, "no pixel of truth", va="center", color="grey")
            continue
        low, high = intervals.get(f"iou.{item.code}") or (iou, iou)
        axes.barh(row, iou, color=_rgb(item.color))
        axes.plot([low, high], [row, row], color="black", marker="|")
        axes.text(max(iou, high) + 0.01, row, f"{iou:.3f}", va="center")
    axes.set_yticks(range(len(vocabulary)), [item.name for item in vocabulary.classes])
    axes.invert_yaxis()
    miou = metrics["miou"]
    axes.set(xlim=(0, 1.1), xlabel="IoU", title="IoU of each class" + (f", mean {miou:.3f}" if miou else ""))
    return figure


def risk_coverage_figure(curve: Sequence[Sequence[float]]) -> "Figure":
    """How many of the pixels are wrong that the segmenter is surest of.

    Args:
        curve: pairs of coverage and risk, see `wsss_mm.evaluation.calibration.Reliability.risk_coverage`.
    """
    from matplotlib.figure import Figure

    coverage, risk = zip(*curve, strict=True)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(coverage, risk, color="black", marker=".", clip_on=False, zorder=3)
    axes.set(
        xlim=(0, 1.01),
        ylim=(0, max(max(risk) * 1.1, 0.01)),
        xlabel="share of the test pixels that are kept, the surest first",
        ylabel="share of these that is wrong",
        title="Risk over coverage",
    )
    return figure


def sites_figure(figures: Mapping[str, float | None], vocabulary: Vocabulary) -> "Figure":
    """A bar for the site, the tissue and each class: how well it is read from features.

    Args:
        figures: see `wsss_mm.evaluation.sites.site_readability`; what cannot be judged has no bar, and says so.
        vocabulary: the classes.
    """
    from matplotlib.figure import Figure

    bars: list[tuple[str, float | None, Any]] = [
        ("site", figures[SITE], "black"),
        ("tissue, mean", figures[TISSUE], "grey"),
        *((item.name, figures[f"{TISSUE}.{item.code}"], _rgb(item.color)) for item in vocabulary.classes),
    ]
    figure = Figure(figsize=(7, 1.4 + 0.4 * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    for row, (_, score, color) in enumerate(bars):
        if score is None:
            why = "it takes two slides with it, and two without" if row else "no two sites have two slides each"
            axes.text(0.01, row, f"cannot be judged: {why}", va="center", color="grey")
            continue
        axes.barh(row, score, color=color)
        axes.text(max(score, 0) + 0.01, row, f"{score:.2f}", va="center")
    axes.set_yticks(range(len(bars)), [name for name, *_ in bars])
    axes.axvline(0, color="black", linewidth=0.8)
    low = min([score for _, score, _ in bars if score is not None], default=0.0)
    axes.set(
        xlim=(low - 0.05 if low < 0 else 0, 1.1),
        ylim=(len(bars) - 0.4, -0.6),
        xlabel="0: as good as guessing; 1: without an error; on slides it has not seen",
        title="What a linear probe reads from the classifier's features",
    )
    return figure


def precision_recall_figure(
    truth: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.floating],
    vocabulary: Vocabulary,
    known: npt.NDArray[np.bool_] | None = None,
) -> "Figure":
    """Precision over recall of each class, with its average precision; classes that no patch has are left out.

    Args:
        truth: (N, C) label sets.
        scores: (N, C) probabilities, 0..1.
        vocabulary: the classes.
        known: (N, C), where the label sets say something; None where they do everywhere.
    """
    from matplotlib.figure import Figure
    from sklearn.metrics import average_precision_score, precision_recall_curve

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.add_subplot()
    for index, item in enumerate(vocabulary.classes):
        rows = slice(None) if known is None else np.asarray(known)[:, index]
        labels, values = np.asarray(truth)[rows, index].astype(bool), scores[rows, index]
        if labels.any():
            precision, recall, _ = precision_recall_curve(labels, values)
            name = f"{item.name}, AP {average_precision_score(labels, values):.3f}"
            axes.step(recall, precision, where="post", color=_rgb(item.color), label=name)
    axes.set(xlim=(0, 1.01), ylim=(0, 1.05), xlabel="recall", ylabel="precision", title="Patch labels, each class")
    if axes.lines:
        axes.legend(loc="lower left")
    return figure


def _rgb(color: tuple[int, int, int]) -> tuple[float, ...]:
    return tuple(channel / 255 for channel in color)
