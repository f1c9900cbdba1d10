"""Trained models as folders: weights.pth, config.py, model.json, README.md."""

import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path, read_json, write_json, write_text
from wsss_mm.models.pretrained import read_state_dict
from wsss_mm.registry import MODELS

Kind = Literal["classifier", "segmenter"]

# model.json may come from anywhere and a registry can import anything by its dotted name: only these are built.
_ALLOWED_TYPES = frozenset(
    (
        *("PatchClassifier", "ImgDataPreprocessor", "ResNet38", "ProgressiveDropoutAttention"),
        *("EncoderDecoder", "SegDataPreProcessor", "PSPHead", "FCNHead"),
        *("NoiseSuppressedCrossEntropyLoss", "CrossEntropyLoss", "BN", "ReLU"),
    )
)
_SCOPES = ("wsss_mm.", "mmseg.", "mmengine.")


def build_network(config: Mapping[str, Any]) -> nn.Module:
    """A network from its config (types, widths, classes), with nothing executed and no pretrained file loaded.

    Raises:
        InputError: the config names a type that is no part of this project's networks.
    """
    from mmengine import ConfigDict
    from mmengine.registry import DefaultScope

    for name in _types(config):
        bare = next((name.removeprefix(scope) for scope in _SCOPES if name.startswith(scope)), name)
        if bare not in _ALLOWED_TYPES:
            raise InputError(f"model.json: type {name!r} is not a part of a wsss_mm model; export the model again")
    if any("EncoderDecoder" in name for name in _types(config)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # mmcv's, on compiled operators that nothing here needs
            import mmseg.models  # noqa: F401  registers the segmentation parts
        from mmseg.registry import MODELS as registry
    else:
        registry = MODELS
    with DefaultScope.overwrite_default_scope(registry.scope):  # whatever scope a Runner of this process has set
        return registry.build(ConfigDict(config))


def _types(config: Any) -> Iterable[str]:
    if isinstance(config, Mapping):
        if "type" in config:
            yield str(config["type"])
        for key, value in config.items():
            if key in ("init_cfg", "pretrained") and value:
                yield f"{key} {value}"
            yield from _types(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _types(value)


def save_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Save a plain CPU state dict; equal tensors give equal bytes."""
    plain = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
    buffer = io.BytesIO()  # the archive's inner folder is named after the file; a buffer has none
    torch.save(plain, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def save_model(
    folder: Path, *, state: Mapping[str, Tensor], info: Mapping[str, Any], config_text: str, card: str
) -> None:
    """Write a model folder: see `load_model` for what `info` must hold."""
    save_weights(state, folder / "weights.pth")
    write_text(folder / "config.py", config_text)
    write_text(folder / "README.md", card)
    write_json(folder / "model.json", info)  # last: a folder that has it is complete


def load_model(
    folder: Path | str, device: str | torch.device = "cpu", codes: Sequence[str] | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """Rebuild a trained network in eval mode.

    `model.json` alone says how: config.py is there to be read and is never executed, and the weights are loaded as
    plain tensors.

    Args:
        folder: models/classifier, models/segmenter, or a copy.
        device: Where to put it.
        codes: The classes it must have, in order; any if None.

    Returns:
        A `PatchClassifier` or a `Segmenter`, and the content of model.json: `kind`, `classes` (code, name, color),
        `mpp` (um/px), `size` (px), `width`, `model` (the network's config).

    Raises:
        InputError: the folder lacks a file or holds something else, or a model of other classes.
    """
    folder = Path(folder)
    info = _read_info(folder)
    found = [item["code"] for item in info["classes"]]
    if codes is not None and found != list(codes):
        raise InputError(f"{folder}: has classes {', '.join(found)}, not {', '.join(codes)}; train it again: dvc repro")
    network = build_network(info["model"])
    state = read_state_dict(folder / "weights.pth")
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:160]
        raise InputError(f"{folder / 'weights.pth'}: does not fit model.json ({detail}); export both again") from None
    if info["kind"] == "segmenter":
        from wsss_mm.models.segmenter import Segmenter

        network = Segmenter(network)
    return network.to(device).eval(), info


def _read_info(folder: Path) -> dict[str, Any]:
    path = folder / "model.json"
    try:
        info = read_json(path)
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run `dvc repro`, or `dvc pull`, to have the model") from None
    except (ValueError, UnicodeDecodeError):
        raise InputError(f"{path}: not valid JSON; export the model again") from None
    missing = [
        key for key in ("kind", "classes", "mpp", "size", "model") if not isinstance(info, dict) or key not in info
    ]
    if missing or info["kind"] not in ("classifier", "segmenter"):
        raise InputError(f"{path}: lacks {', '.join(missing) or 'a known kind'}; export the model again")
    return info
