"""The model card beside the weights."""

from collections.abc import Mapping
from typing import Any

from wsss_mm.encoders import get_encoder
from wsss_mm.engine.hub_card import hub_header
from wsss_mm.models.members import MEMBERS

MADE_BY = "pseudo_label_classifiers"
"""Key of a segmenter's model.json: how many classifiers its pseudo-labels are of, where they were several."""

_PURPOSE = {
    "classifier": "Says which tissues a patch of an H&E slide holds; its class activation maps become pseudo-labels.",
    "segmenter": "Gives a tissue class for every pixel of an H&E slide; trained without a single drawn outline.",
}
_HOW = {
    "classifier": "{backbone} with a linear head on pooled features, trained on label sets of patches.",
    "segmenter": "{head} on {backbone}, trained on pseudo-labels made from the classifier's activation maps.",
}


def model_card(info: Mapping[str, Any]) -> str:
    """Markdown for a model folder, from the content of its model.json, with the header that model hubs read."""
    kind = info["kind"]
    classes = "\n".join(f"| {c['code']} | {c['name']} |" for c in info["classes"])
    figures = "\n".join(f"| {name} | {value:.3f} |" for name, value in sorted(info["valid"].items()))
    return f"""{hub_header(info)}
# Tissue {kind}

{_PURPOSE[kind]}

**Intended use: research only.** Not a medical device; not for diagnosis or treatment. Slides from other scanners,
stains, organs or resolutions than those it was trained on need a validation of their own.

{_how(info)}
{_width(info)}ohort `{info["cohort"]}`, {info["train_patches"]} training patches of {info["size"]} px at
{info["mpp"]:g} um/px, seed {info["seed"]}. Manifest of the patches: sha256 `{info["patches"]}`.
{_encoder(info)}{_stain(info)}{_beginnings(info)}

| class | tissue |
|---|---|
{classes}

## Validation

{"| metric | value |" if figures else "No validation patch has a mask."}
{"|---|---|" if figures else ""}
{figures}

{_limits(info)}

## Files

`weights.pth` is a plain state dict (`torch.load(weights_only=True)`), `model.json` rebuilds the network
(`wsss_mm.models.load_model(folder)`), `config.py` is the resolved mmengine config of the training.
""".replace("\n\n\n", "\n\n")


def _how(info: Mapping[str, Any]) -> str:
    """What it is made of, and of how many classifiers where these were several."""
    said = _HOW[info["kind"]].format(backbone=_part(info, "backbone"), head=_part(info, "decode_head"))
    if count := info.get(MADE_BY):
        said += f"\nThese maps are the mean of those of {count} classifiers."
    if others := len(info.get(MEMBERS, ())):
        said += f"\nPseudo-labels are made from the mean of its maps and those of {others} more, in `members/`."
    return said


def _limits(info: Mapping[str, Any]) -> str:
    """How sure it may be, and what it was trained on, as far as its description says."""
    temperature, appearance = info.get("temperature"), info.get("appearance")
    lines = []
    if temperature is not None:
        lines.append(
            f"Logits are divided by {temperature:g}, fitted on validation pixels, for the confidence of a map; labels "
            "do not depend on it."
        )
    if (errors := info.get("area_errors")) is not None:
        lines.append(
            f"Areas on a map have intervals (`wsss-mm findings`), from {errors['patches']} validation patches; "
            f"patients: {errors['patients']}."
        )
    if appearance is not None:
        ranges = "; ".join(f"{name} {low:.3g} to {high:.3g}" for name, (low, high) in appearance["ranges"].items())
        lines.append(
            f"Slides are held against {appearance['patches']} training patches, and what is unlike them is said: "
            f"{ranges}; all together, a distance of at most {appearance['limit']:.3g}."
        )
    return "\n".join(lines)


def _width(info: Mapping[str, Any]) -> str:
    """The beginning of the line, for a network that comes in widths."""
    return f"Width {info['width']:g}, c" if "width" in info["model"].get("backbone", {}) else "C"


def _encoder(info: Mapping[str, Any]) -> str:
    """Whose weights are part of the model, or belong to it, and what their licence says."""
    name = info.get("encoder")
    if name is None or "initial_weights" not in info:
        return ""
    row = get_encoder(name)
    held = info.get("frozen_encoder")
    apart = f"; they are not among these, and loading asks for `{row.file}`, sha256 `{held['sha256']}`" if held else ""
    forbids = "" if row.derivatives is not False else " **It allows no derivatives: do not pass this model on.**"
    bought = "" if row.commercial is not False else " **Not for commercial use.**"
    far = f" It may see little: {info['encoder_resolution']}." if "encoder_resolution" in info else ""
    return f"Encoder `{name}`, licence of its published weights: {row.licence}{apart}.{forbids}{bought}{far}\n"


def _stain(info: Mapping[str, Any]) -> str:
    """What is done to images before the network sees them."""
    icc = "Slides are read as sRGB, by their embedded colour profiles.\n" if "icc" in info else ""
    if "stain" not in info:
        return icc
    return f"{icc}Slides are made to look like the typical training slide first ({info['stain']['method']}).\n"


def _beginnings(info: Mapping[str, Any]) -> str:
    """A line for the weights it began with, and one for those that these began with."""
    lines, said = [], info.get("initial_weights")
    while said:
        lines.append(f"{'which began' if lines else 'It began'} with `{said['file']}`, sha256 `{said['sha256']}`")
        said = said.get("initial_weights")
    return ",\n".join(lines) + "." if lines else ""


def _part(info: Mapping[str, Any], name: str) -> str:
    """The type of a part of the network, without its registry."""
    return str(info["model"].get(name, {}).get("type")).rpartition(".")[2]
