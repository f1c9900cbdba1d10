"""The card of a registered version: what it is for, how good it is and where it fails, what it was made from."""

from collections.abc import Mapping, Sequence
from typing import Any

from wsss_mm import places
from wsss_mm.encoders.licences import CODE, licence_lines
from wsss_mm.tracking.evidence import Evidence, read_confusion

_EXAMPLES = 2  # patches of a class: the card must fit into a description

_CHAIN = (
    (places.RESULTS.as_posix(), "slide maps", "export_slides"),
    (places.MAPS.as_posix(), "what the network sees on slides", "segment_slides"),
    (places.SEGMENTER.as_posix(), "segmenter", "train_segmenter"),
    (places.PSEUDO_LABELS.as_posix(), "pseudo-labels", "pseudo_labels"),
    (places.CLASSIFIER.as_posix(), "classifier", "train_classifier"),
    (places.PATCHES.as_posix(), "patches", "patches"),
    (places.COHORT.as_posix(), "slides of the cohort", "cohort"),
)


def version_card(info: Mapping[str, Any], evidence: Evidence, classifier: Mapping[str, Any] | None = None) -> str:
    """Markdown, below the 5000 characters that MLflow shows as a version's description.

    Args:
        info: model.json of the segmenter.
        evidence: Of the line that made it.
        classifier: model.json of the classifier that its pseudo-labels are of, if it is there.
    """
    classes = info["classes"]
    return f"""# Tissue segmenter

Gives a tissue class for every pixel of an H&E slide at {info["mpp"]:g} um/px; trained without a drawn outline.

**Intended use: research only.** Not a medical device; not for diagnosis or treatment. Slides from other scanners,
stains, organs or resolutions than those it was trained on need a validation of their own.

## Data

Cohort `{info["cohort"]}`, {info["train_patches"]} training patches of {info["size"]} px;
tested on {evidence.test.get("n_patches", "no")} patches of {evidence.test.get("n_slides", "no")} slides.
No patient is in two splits.

## How good, and where it fails

| | test IoU | 95 % interval | what fails |
|---|---|---|---|
{_metric_rows(classes, evidence)}

{_calibration(evidence)}Gates: {_gates(evidence)}.
`evidence/reports/pictures/test.png` of the run shows the best, median and worst test patches.

## From a slide map back to the patches

{lineage_table(evidence)}

Git commit `{evidence.lineage.get("commit", "unknown")}`.
{licence_text(info, classifier or {})}
"""


def licence_text(*infos: Mapping[str, Any]) -> str:
    """What the licences of the weights that a model began with make of it; that of the code where it had none."""
    lines = licence_lines(*infos)
    return "\n".join(["## Licence", "", *lines]) if lines else f"Licence: {CODE}."


def failures(evidence: Evidence) -> dict[str, tuple[str, float]]:
    """By class: the class its test pixels are most often mistaken for, and the share of them."""
    worst: dict[str, tuple[str, float]] = {}
    for actual, row in read_confusion(evidence).items():
        for predicted, share in row.items():
            if actual != predicted and share > worst.get(actual, ("", 0.0))[1]:
                worst[actual] = (predicted, share)
    return worst


def lineage_rows(evidence: Evidence) -> list[tuple[str, str, str, str]]:
    """From the slide maps back to patches and pretrained weights: what, path, DVC's md5, MLflow run."""
    runs = evidence.lineage.get("runs", {})
    return [
        (what, path, evidence.digests.get(path, "unknown"), runs.get(stage) or "")
        for path, what, stage in _CHAIN
        if path in evidence.digests or stage.startswith("train")
    ] + [("pretrained weights", path, md5, "") for path, md5 in evidence.pretrained.items()]


def lineage_table(evidence: Evidence) -> str:
    """`lineage_rows` as Markdown."""
    rows = [f"| {what} | `{path}` | `{md5}` | {run} |" for what, path, md5, run in lineage_rows(evidence)]
    return "\n".join(["| what | path | md5 in DVC | MLflow run |", "|---|---|---|---|", *rows])


def _metric_rows(classes: Sequence[Mapping[str, Any]], evidence: Evidence) -> str:
    confused, ungated = failures(evidence), evidence.test.get("ungated", {})
    rows = [("all (mIoU)", "miou", "")]
    found = evidence.probe
    probe = f"| linear probe on {found.get('on')}, patch by patch (mIoU) | {_number(found.get('miou'))} | | |"
    for item in classes:
        code = item["code"]
        parts = [f"{confused[code][1]:.0%} of its pixels taken for {confused[code][0]}"] if code in confused else []
        if examples := evidence.test.get("failed_patches", {}).get(code, [])[:_EXAMPLES]:
            parts.append(f"worst in {', '.join(examples)}")
        wrong = "; ".join(parts)
        rows.append((f"{code}, {item['name']}", f"iou.{code}", wrong))
    return "\n".join(
        [
            *([probe] if found else []),
            *(
                f"| {label} | {_number(ungated.get(key))} | {_interval(evidence.interval(key))} | {wrong} |"
                for label, key, wrong in rows
            ),
        ]
    )


def _gates(evidence: Evidence) -> str:
    return ", ".join(f"{name} {outcome}" for name, outcome in evidence.gates.items()) or "none has a report"


def _calibration(evidence: Evidence) -> str:
    """Whether it is as often right as it says; nothing of an older evaluation."""
    found = evidence.test.get("calibration") or {}
    if found.get("error_after") is None:
        return ""
    return (
        f"Expected calibration error on test pixels: {found['error_before']:.3f}, and {found['error_after']:.3f} with "
        f"temperature {found['temperature']:g}, which validation gives ({found['bins']} bins of equal width).\n"
    )


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
