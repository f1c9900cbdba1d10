"""What MLflow shows of a run at first sight: its name, and the few lines of its description."""

from collections.abc import Mapping
from typing import Any

from wsss_mm.evaluation.confusion import class_ious
from wsss_mm.tracking.surroundings import flatten

DESCRIPTION_TAG = "mlflow.note.content"
"""Tag that MLflow's pages show as a run's description, as Markdown."""

_KNOBS = {"encoder": "{}", "loss": "{}", "epochs": "{} epochs", "iterations": "{} iterations"}

NUMBER = "{number}"
"""In a name, until the run is in the store, which counts its runs (see `wsss_mm.tracking.finding.NUMBER_TAG`)."""


def run_name(stage: str, params: Any, commit: str) -> str:
    """Such as "segmenter {number}: resnet38, ce, 300 iterations (0437067b)"; the number tells runs of one commit apart.

    Args:
        stage: Of the pipeline.
        params: As the run logs them.
        commit: Its beginning.
    """
    kind, flat = stage.removeprefix("train_"), flatten(params)
    said = [text.format(flat[key]) for knob, text in _KNOBS.items() if (key := f"{kind}.{knob}") in flat]
    return f"{kind} {NUMBER}{': ' if said else ''}{', '.join(said)} ({commit})"


def numbered_name(name: str, number: str) -> str:
    """A run's name with its number, which may have leading zeros."""
    return name.replace(NUMBER, str(int(number)))


def plain_name(name: str) -> str:
    """A run's name without a number."""
    return name.replace(f" {NUMBER}", "")


def model_headline(info: Mapping[str, Any]) -> str:
    """What a trained model is and how good on the validation split, from its model.json."""
    classes = ", ".join(f"{item['code']} {item['name']}" for item in info.get("classes", ()))
    valid = info.get("valid") or {}
    found = [(text, valid[key]) for key, text in (("miou", "mIoU"), ("mean_ap", "mean AP")) if _is_number(valid, key)]
    good = "; ".join(f"{text} {value:.3f} on the validation split" for text, value in found)
    return (
        f"**Tissue {info.get('kind', 'model')}**, {good or 'not judged on a validation split'}. {classes}.\n\n"
        f"Cohort `{info.get('cohort')}`, {info.get('train_patches')} training patches at {info.get('mpp')} um/px. "
        "Research use only, not a medical device."
    )


def test_headline(metrics: Mapping[str, Any]) -> str:
    """How good a segmenter is on the test split, see `wsss_mm.evaluation.report.test_metrics`."""
    ungated = metrics.get("ungated", {})
    miou, interval = ungated.get("miou"), metrics.get("bootstrap", {}).get("ungated", {}).get("miou")
    if miou is None:
        return "**Not judged**: no test patch has a mask."
    sure = f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})" if interval and None not in interval else ""
    each = ", ".join(f"{code} {value:.3f}" for code, value in class_ious(ungated).items() if value is not None)
    of = f"{metrics.get('n_patches', 'some')} patches of {metrics.get('n_slides', 'some')} slides"
    return f"**Test mIoU {miou:.3f}**{sure}, {of}. IoU: {each}."


def _is_number(values: Mapping[str, Any], key: str) -> bool:
    return isinstance(values.get(key), int | float)
