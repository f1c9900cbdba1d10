"""Trained models as folders: weights.pth, config.py, model.json, README.md."""

import hashlib
import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import atomic_folder, atomic_path, rounded, write_json, write_text
from wsss_mm.formats import numbered
from wsss_mm.models.backbones import load_initial_weights
from wsss_mm.models.description import (
    DESCRIPTION,
    DIGEST,
    HELD,
    OF_BYTES,
    STAIN,
    check_config,
    check_digest,
    described,
    read_description,
    sealed,
    trust_of,
)
from wsss_mm.models.frozen import held_file, own_part
from wsss_mm.models.trust import CONFIGS, Trust, register_stock
from wsss_mm.models.weight_files import read_state_dict
from wsss_mm.places import MODEL, WEIGHTS
from wsss_mm.registry import MODELS
from wsss_mm.slides.stain import Stain

Kind = Literal["classifier", "segmenter"]

_PARAMETERS = ("params", "model", "width")  # of model.json: chosen, not measured


class _Undrawn(TorchFunctionMode):
    """Leaves out normal random numbers, which tensors without memory import torch's compiler for, 2 s of CPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if func in (Tensor.normal_, nn.init.normal_, nn.init.kaiming_normal_):
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def build_network(config: Mapping[str, Any], source: Path | str = DESCRIPTION, trust: Trust | None = None) -> nn.Module:
    """A network from its config (types, widths, classes), with no file loaded and nothing imported that is not trusted.

    Args:
        config: Of the network.
        source: The file it comes from, for errors.
        trust: See `check_config`.

    Raises:
        InputError: the config is none of a network's, or names what is no part of it.
    """
    from mmengine import ConfigDict
    from mmengine.registry import DefaultScope

    check_config(config, source, trust)
    registry = MODELS
    if str(config["type"]).endswith("EncoderDecoder"):
        register_stock()
        from mmseg.registry import MODELS as registry
    try:
        with DefaultScope.overwrite_default_scope(registry.scope):  # whatever scope a Runner of this process has set
            return registry.build(ConfigDict(config))
    except Exception as error:  # parts check their own arguments, and raise what they like
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        remedy = "change it there" if Path(source).suffix == ".py" else "export the model again"
        raise InputError(f"{source}: no network can be built of it ({reason}); {remedy}") from None


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
    """Write a model folder, whole or not at all: what was there before is gone, see `atomic_folder`.

    `load_model` says what `info` must hold; the digests are added here. A frozen encoder that it names by digest is
    left out of the weights.
    """
    with atomic_folder(folder) as new:
        save_weights(own_part(state) if HELD in info else state, new / places.WEIGHTS)
        write_text(new / places.CONFIG, config_text)
        write_text(new / places.CARD, card)
        content = sealed(rounded(numbered(info, MODEL), _PARAMETERS), new / places.WEIGHTS)
        write_json(new / places.DESCRIPTION, content, _PARAMETERS)


def copy_model(folder: Path, target: Path, more: Mapping[str, Any]) -> None:
    """Copy a model folder, with more in its description and digests of both.

    Raises:
        InputError: the model was changed since it was made.
    """
    info = described(folder)
    check_digest(folder, info, warn=False)
    shutil.copytree(folder, target)
    if more:  # else it stays the same model, also where it is an older one, whose description says no format
        content = sealed(rounded(numbered({**info, **more}, MODEL), _PARAMETERS), target / WEIGHTS)
        write_json(target / DESCRIPTION, content, _PARAMETERS)


def load_model(
    folder: Path | str,
    device: str | torch.device = "cpu",
    codes: Sequence[str] | None = None,
    *,
    configs: Path = CONFIGS,
) -> tuple[Any, dict[str, Any]]:
    """Rebuild a trained network in eval mode.

    `model.json` alone says how: config.py is there to be read and is never executed, and the weights are loaded as
    plain tensors.

    Args:
        folder: models/classifier, models/segmenter, or a copy.
        device: Where to put it.
        codes: The classes it must have, in order; any if None.
        configs: Folder of the project's config files. What they import is trusted to be part of a model, and nothing
            else beside this package is, whatever model.json says.

    Returns:
        A `PatchClassifier` or a `Segmenter`, and the content of model.json: `kind`, `classes` (code, name, color),
        `mpp` (um/px), `size` (px), `width`, `model` (the network's config), `digest` (see `check_digest`),
        `weights_md5`.

    Raises:
        InputError: the folder lacks a file or holds something else, a model of other classes, weights that the
            description was not written for, or a description that was changed; or it names an encoder whose file is not
            here.

    Examples:
        A classifier of two classes, untrained, saved and loaded again:

        >>> from wsss_mm.models import build_network
        >>> backbone = {"type": "wsss_mm.ResNet38", "width": 1 / 32}
        >>> normalise = {"type": "mmengine.ImgDataPreprocessor", "mean": [127.5] * 3, "std": [127.5] * 3}
        >>> config = {"type": "wsss_mm.PatchClassifier", "classes": 2, "backbone": backbone}
        >>> config["data_preprocessor"] = normalise
        >>> classes = [{"code": "TUM", "name": "Tumour", "color": [200, 30, 30]}]
        >>> classes += [{"code": "STR", "name": "Stroma", "color": [30, 160, 30]}]
        >>> info = {"kind": "classifier", "classes": classes, "mpp": 1.0, "size": 64, "model": config}
        >>> state = build_network(config).state_dict()
        >>> save_model(Path("classifier"), state=state, info=info, config_text="", card="")
        >>> network, info = load_model("classifier")
        >>> network.predict(torch.zeros(1, 3, 64, 64)).shape, info["mpp"]
        (torch.Size([1, 2]), 1.0)
    """
    folder = Path(folder)
    info = read_description(folder / DESCRIPTION, configs)
    trust = trust_of(info["kind"], configs)
    found = [item["code"] for item in info["classes"]]
    if codes is not None and found != list(codes):
        raise InputError(f"{folder}: has classes {', '.join(found)}, not {', '.join(codes)}; train it again: dvc repro")
    weights = folder / places.WEIGHTS
    content = weights.read_bytes() if weights.is_file() else b""  # once: what was looked at is what is loaded
    info[DIGEST] = check_digest(folder, info, found=hashlib.sha256(content).hexdigest())
    info[OF_BYTES] = hashlib.md5(content, usedforsecurity=False).hexdigest()
    state = read_state_dict(weights, content)
    del content
    with torch.device("meta"), _Undrawn():  # takes no memory: a network that the weights do not fit is never made
        expected = build_network(info["model"], folder / DESCRIPTION, trust).state_dict()
        _check_shapes(own_part(expected) if HELD in info else expected, state, folder)
    network = build_network(info["model"], folder / DESCRIPTION, trust)
    if HELD in info:
        load_initial_weights(network.get_submodule("backbone"), held_file(info[HELD], folder / DESCRIPTION))
    network.load_state_dict(state, strict=HELD not in info)
    parts: Any = network  # of a kind that the description says
    outputs = parts.num_classes if info["kind"] == "segmenter" else parts.head.out_channels
    if outputs != len(found):
        raise InputError(
            f"{folder / places.DESCRIPTION}: names {len(found)} classes for {outputs} outputs; export it again"
        )
    if info["kind"] == "segmenter":
        from wsss_mm.models.segmenter import Segmenter

        network = Segmenter(network)
    return network.to(device).eval(), info


def stain_of(info: Mapping[str, Any], source: Path | str = DESCRIPTION) -> Stain | None:
    """What images are made to look like before a model sees them; None where it takes them as they are.

    Args:
        info: Content of its model.json.
        source: The file, for errors.

    Raises:
        InputError: it says something else than a stain.
    """
    return Stain.from_json(info[STAIN], source) if STAIN in info else None


def _check_shapes(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], folder: Path) -> None:
    odd = list(expected.keys() ^ state.keys())
    odd += [name for name in expected.keys() & state.keys() if _kind(expected[name]) != _kind(state[name])]
    if odd:
        named = ", ".join(sorted(odd)[:3])[:160]
        raise InputError(
            f"{folder / places.WEIGHTS}: does not fit {places.DESCRIPTION} ({len(odd)} arrays, such as {named}); "
            "export both again"
        )
    if wrong := sorted(name for name, value in state.items() if not torch.isfinite(value).all()):
        named = ", ".join(wrong[:3])[:160]
        raise InputError(
            f"{folder / places.WEIGHTS}: {len(wrong)} arrays hold what is no number, such as {named}; train it again"
        )


def _kind(values: Tensor) -> tuple[torch.Size, torch.dtype, torch.layout, bool]:
    """What a copy into a network would convert in silence, and the shape."""
    return values.shape, values.dtype, values.layout, values.is_quantized
