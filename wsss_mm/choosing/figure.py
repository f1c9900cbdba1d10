"""A picture of what was tried: the gain of each setting in mIoU, with its interval."""

from pathlib import Path

from wsss_mm.choosing.choice import Choice

_COLORS = {"better": "#1b7837", "worse": "#b2182b", "cannot tell": "#707070"}


def choice_figure(choice: Choice, path: Path) -> None:
    """Draw it as a PNG: a line a setting, what was taken in bold."""
    from matplotlib.figure import Figure

    trials = choice.trials
    if not trials:
        figure = Figure(figsize=(8, 0.6))
        figure.text(0.5, 0.5, choice.says, fontsize=9, ha="center", va="center", wrap=True)
        figure.savefig(path, format="png", dpi=110)
        return
    figure = Figure(figsize=(8, 1.6 + 0.3 * len(trials)), layout="constrained")
    axes = figure.add_subplot()
    for row, trial in enumerate(trials):
        color = _COLORS[trial.verdict]
        axes.plot([trial.low, trial.high], [row, row], color=color, linewidth=3 if trial.taken else 1.5)
        axes.plot([trial.gain], [row], marker="o", color=color, markersize=7 if trial.taken else 5)
    if trials:
        axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(trials)), [f"{trial.element}: {trial.shown}" for trial in trials])
    for label, trial in zip(axes.get_yticklabels(), trials, strict=True):
        label.set(color=_COLORS[trial.verdict], fontweight="bold" if trial.taken else "normal")
    axes.invert_yaxis()
    shown = f"least and largest of one {choice.unit}" if choice.few else "95 % interval"
    axes.set(xlabel=f"gain in mIoU of the pseudo-labels, validation patches, {shown}")
    axes.set_title(choice.says, fontsize=9, wrap=True)
    figure.savefig(path, format="png", dpi=110)
