"""What a model hub reads of a card: the YAML header that Hugging Face's cards begin with."""

import re
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from wsss_mm.encoders.licences import encoders_of
from wsss_mm.yaml_values import dumped

_OWN, _OTHER = "apache-2.0", "other"
_ON_HUB = frozenset(
    ("apache-2.0", "mit", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-nd-4.0", "bsd-3-clause")
)
_TASKS = {"segmenter": "image-segmentation", "classifier": "image-classification"}
_METRICS = {
    "miou": ("mean_iou", "mean IoU"),
    "iou": ("iou", "IoU"),
    "mean_ap": ("mean_average_precision", "mean average precision"),
    "ap": ("average_precision", "average precision"),
}
_TAGS = ("histopathology", "whole-slide-images", "h-and-e", "weakly-supervised", "tissue-segmentation", "research-only")
_FENCE = "---\n"
_DECIMALS = 4


def hub_header(
    info: Mapping[str, Any], *others: Mapping[str, Any], test: Mapping[str, float | None] | None = None
) -> str:
    """The header, with both of its fences.

    Args:
        info: Content of model.json; under `valid` what was measured on validation patches.
        others: Of models that this one learnt from, whose licences may hold for it too.
        test: Figures of the test split, where there are some.
    """
    name = f"{info['kind']}-{_cohort(info)}"
    measured = [("validation", info.get("valid") or {}), ("test", test or {})]
    results = [result for split, figures in measured if (result := _result(info, split, figures))]
    content: dict[str, Any] = {
        **_licence(info, *others),
        "library_name": "wsss_mm",
        "pipeline_tag": _TASKS[info["kind"]],
        "tags": list(_TAGS),
    }
    if results:
        kinds = dict.fromkeys(metric["type"] for result in results for metric in result["metrics"])
        content |= {"metrics": list(kinds), "model-index": [{"name": name, "results": results}]}
    return f"{_FENCE}{dumped(content, width=120)}{_FENCE}"


def without_header(card: str) -> str:
    """A card without its header, for who reads Markdown alone."""
    if not card.startswith(_FENCE):
        return card
    _, fence, rest = card[len(_FENCE) :].partition(f"\n{_FENCE}")
    return rest.lstrip("\n") if fence else card


def _cohort(info: Mapping[str, Any]) -> str:
    return str(info.get("cohort", "unknown"))


def _licence(*infos: Mapping[str, Any]) -> dict[str, str]:
    """That of the code, unless the model began with an encoder of others."""
    found = list(dict.fromkeys(encoder.licence for encoder in encoders_of(*infos)))
    if not found or {item.lower() for item in found} == {_OWN}:
        return {"license": _OWN}
    if len(found) == 1 and found[0].lower() in _ON_HUB:
        return {"license": found[0].lower()}
    return {"license": _OTHER, "license_name": "-".join(re.sub(r"[^a-z0-9.]+", "-", item.lower()) for item in found)}


def _result(info: Mapping[str, Any], split: str, figures: Mapping[str, float | None]) -> dict[str, Any] | None:
    metrics = list(_metrics(info, figures))
    if not metrics:
        return None
    dataset = {"name": f"cohort {_cohort(info)}", "type": _cohort(info), "split": split}
    return {"task": {"type": _TASKS[info["kind"]]}, "dataset": dataset, "metrics": metrics}


def _metrics(info: Mapping[str, Any], figures: Mapping[str, float | None]) -> Iterator[dict[str, Any]]:
    """Those that hubs have names for; of a class nobody saw there is no figure."""
    names = {item["code"]: item["name"] for item in info["classes"]}
    for key, value in sorted(figures.items(), key=lambda item: ("." in item[0], item[0])):
        kind, _, code = key.partition(".")
        if kind in _METRICS and value is not None and isfinite(value) and (not code or code in names):
            metric, what = _METRICS[kind]
            said = f"{what}, {names[code]}" if code else what
            yield {"type": metric, "value": round(float(value), _DECIMALS), "name": said}
