"""Backbones as configs name them: by an encoder's name; their channels, and the weights they begin with."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wsss_mm.encoders import DEFAULT, Encoder, check_sha256, find_file, get_encoder
from wsss_mm.errors import InputError
from wsss_mm.models.backbones.protocol import IMAGE
from wsss_mm.models.description import HELD, described
from wsss_mm.models.frozen import held_file
from wsss_mm.models.weight_files import backbone_part, read_state_dict
from wsss_mm.places import DESCRIPTION, PRETRAINED, PUBLISHED, WEIGHTS

_SIDE = 64  # px of the image that a backbone is asked with, if it does not say its channels


def backbone_config(
    encoder: str, *, width: float = 1.0, out_stages: Sequence[str] | None = None, freeze: str = "none"
) -> dict[str, Any]:
    """The config of an encoder's backbone.

    Args:
        encoder: Its name in encoders.yaml.
        width: Of resnet38.
        out_stages: The stages that it gives; None for the last alone.
        freeze: Which parts rest, see `Backbone.freeze`.

    Raises:
        InputError: there is no such encoder.
    """
    row = get_encoder(encoder)
    config = row.config
    if encoder == DEFAULT:
        config["width"] = width
    config["out_stages"] = tuple(out_stages or (_last(row),))
    if freeze != "none":
        config["freeze"] = freeze
    return config


def _last(row: Encoder) -> str:
    return tuple(row.stages)[-1]


def built(encoder: Encoder) -> nn.Module:
    """An encoder's network at its published size, with weights that were drawn.

    Raises:
        InputError: a package that builds it is not installed.
    """
    from mmengine import ConfigDict

    from wsss_mm.registry import MODELS

    _register(encoder.config)
    return MODELS.build(ConfigDict(encoder.config))


def _register(backbone: Mapping[str, Any]) -> None:
    """Have a config's type registered: mmseg's are, and the project's own where it is none of this package's."""
    from wsss_mm.models.trust import import_own_parts, module_of, register_stock

    register_stock()
    if module_of(backbone.get("type")) is None:
        import_own_parts()


def segmenter_stages(encoder: str, auxiliary_stage: str | None, decoder: str) -> tuple[str, ...]:
    """The maps that a segmenter's heads take: the auxiliary head's, the decoder's, and the image for a guided one.

    Args:
        encoder: Its name in encoders.yaml.
        auxiliary_stage: See `auxiliary_stage_of`.
        decoder: `psp` or `guided`.
    """
    stages = (auxiliary_stage_of(encoder, auxiliary_stage), _last(get_encoder(encoder)))
    return (*stages, IMAGE) if decoder == "guided" else stages


def auxiliary_stage_of(encoder: str, name: str | None) -> str:
    """The stage of the auxiliary head: the one that is named, or else the encoder's third from its last."""
    if name is not None:
        return name
    stages = tuple(get_encoder(encoder).stages)
    return stages[max(0, len(stages) - 3)]


def normalisation(encoder: str) -> dict[str, list[float]]:
    """Mean and standard deviation of RGB in 0..255, as a data preprocessor of a config takes them."""
    row = get_encoder(encoder)
    return {"mean": list(row.mean), "std": list(row.std)}


def out_channels(backbone: Mapping[str, Any]) -> tuple[int, ...]:
    """Channels of the feature maps that a backbone gives, in their order.

    Args:
        backbone: Its config; it is built without memory.
    """
    from mmengine import ConfigDict
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS

    _register(backbone)
    with DefaultScope.overwrite_default_scope("mmseg"), torch.device("meta"):
        return channels_of(MODELS.build(ConfigDict(backbone)))


def channels_of(backbone: nn.Module) -> tuple[int, ...]:
    """The same of one that is built: its `out_channels`, or else those of what it makes of an image."""
    told = getattr(backbone, "out_channels", None)
    if told is not None:
        return tuple(told)
    device = next(backbone.parameters()).device
    was_training = backbone.training
    backbone.eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, _SIDE, _SIDE, device=device))
    backbone.train(was_training)
    return tuple(item.shape[1] for item in maps)


def initial_file(path: Path | str, encoder: str | None = None) -> tuple[Path, str | None]:
    """Where the weights lie that a training begins with, and the sha256 that they must have, if it is known.

    Args:
        path: As a config gives it: a file, or `pretrained/published` for the encoder's own.
        encoder: Its name in encoders.yaml.

    Raises:
        InputError: there is no such encoder, or its file is not here.
    """
    path = Path(path)
    row = None if encoder is None else get_encoder(encoder)
    if row is not None and path == PRETRAINED / PUBLISHED:
        return find_file(row), row.sha256
    return path, row.sha256 if row is not None and path == PRETRAINED / str(row.file) else None


def load_initial_weights(backbone: nn.Module, path: Path | str, sha256: str | None = None) -> None:
    """Weights to begin with, as the backbone itself reads them, or those of the same backbone in a weights.pth.

    Args:
        backbone: To load them into.
        path: The file; of a model whose encoder is named by digest, the encoder's own is read.
        sha256: Which it must have; None for any.

    Raises:
        InputError: the file is none of its weights, or it takes none.
    """
    check_sha256(path, sha256)
    path = Path(path)
    if path.name == WEIGHTS and (path.parent / DESCRIPTION).is_file() and (held := described(path.parent).get(HELD)):
        path = held_file(held, path.parent / DESCRIPTION)
    load = getattr(backbone, "load_pretrained", None)
    if load is not None:
        load(path)
        return
    found = backbone_part(read_state_dict(path)) if Path(path).suffix == ".pth" else {}
    wanted = backbone.state_dict()
    if any(key not in found or found[key].shape != value.shape for key, value in wanted.items()):
        raise InputError(
            f"{path}: a {type(backbone).__name__} has no load_pretrained(path) to read it, and these are not its own "
            "weights; begin without: in params.yaml, init: none or weights: null"
        )
    backbone.load_state_dict({key: found[key] for key in wanted})
