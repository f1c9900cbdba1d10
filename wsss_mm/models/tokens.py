"""Encoders of `transformers` as backbones: tokens become feature maps, and nothing is fetched or executed."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wsss_mm.errors import InputError
from wsss_mm.models.foreign import ForeignBackbone, Stages, quarters
from wsss_mm.models.safetensors_files import EXTRA, published_weights
from wsss_mm.models.weight_files import check_finite, check_shapes, shapes_in
from wsss_mm.registry import MODELS

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Family:
    """How a model type of transformers is used.

    Attributes:
        tokens: it gives tokens, of which maps are made here; else its own backbone gives maps.
        stem: the part that comes first.
        norm: what the last tokens go through.
        own: parts of its backbone that no published file has: they begin as they are.
    """

    tokens: bool
    stem: str
    norm: str = ""
    own: str = "?"


_FAMILIES = {
    "dinov2": _Family(tokens=True, stem="embeddings", norm="layernorm"),
    "dinov2_with_registers": _Family(tokens=True, stem="embeddings", norm="layernorm"),
    "dinov3_vit": _Family(tokens=True, stem="embeddings", norm="norm"),
    "dinov3_convnext": _Family(tokens=False, stem="model.stages.0"),
    "convnext": _Family(tokens=False, stem="embeddings", own="hidden_states_norms."),
    "convnextv2": _Family(tokens=False, stem="embeddings", own="hidden_states_norms."),
    "swin": _Family(tokens=False, stem="swin.embeddings", own="hidden_states_norms."),
    "resnet": _Family(tokens=False, stem="embedder"),
}
ARCHITECTURES = tuple(_FAMILIES)
"""Model types that were tried."""


@MODELS.register_module()
class TokenBackbone(ForeignBackbone):
    """A network of `transformers`: one of `ARCHITECTURES`, see `ForeignBackbone`.

    Stages are called as there: `stage1` and so on; of a transformer those after each quarter of its blocks, each
    normalised as the last one is. Class and register tokens are dropped. Position embeddings are interpolated for
    images of other sizes. Arguments are those of its config, such as `hidden_size`; its own defaults for others.
    """

    @classmethod
    def _built(cls, architecture: str, arguments: dict[str, Any]) -> tuple[nn.Module, Stages]:
        config = _config(architecture, arguments)
        names, family = config.stage_names[1:], _FAMILIES[architecture]
        if family.tokens:
            names = [names[index] for index in quarters(len(names))]
        strides, channels = _strides(architecture, config, len(names)), _channels(config)
        stages = {name: (channels[name], stride) for name, stride in zip(names, strides, strict=True)}
        return _network(config, family, names), stages

    def _made_ready(self) -> None:
        self.family = _FAMILIES[self.architecture]
        self.prefix_tokens = 1 + getattr(self.net.config, "num_register_tokens", 0) if self.family.tokens else 0
        for name, parameter in self.net.named_parameters():
            if name.endswith("mask_token"):  # of their training alone
                parameter.requires_grad_(False)
        self._by_layer = self.with_checkpointing and self.net.supports_gradient_checkpointing
        if self._by_layer:
            self.net.gradient_checkpointing_enable({"use_reentrant": False})

    def init_weights(self) -> None:
        """Nothing: the network drew its weights when it was made."""
        self._is_init = True

    def _stem(self) -> Iterator[nn.Module]:
        yield self.net.get_submodule(self.family.stem)

    def _maps_of_padded(self, images: Tensor, wanted: Collection[str]) -> Mapping[str, Tensor]:
        return (self._tokens if self.family.tokens else self._own_maps)(images, wanted)

    def _tokens(self, images: Tensor, wanted: Collection[str]) -> dict[str, Tensor]:
        """Of the hidden states, those after the wanted blocks, normalised, as maps."""
        states = self._called(self.net, images).hidden_states
        norm = self.net.get_submodule(self.family.norm)
        names = self.net.config.stage_names
        height, width = (side // self.size_multiple for side in images.shape[-2:])
        return {
            name: as_map(norm(state), self.prefix_tokens, height, width)
            for name, state in zip(names, states, strict=True)
            if name in wanted
        }

    def _own_maps(self, images: Tensor, _: Collection[str]) -> dict[str, Tensor]:
        return dict(zip(self.stages, self._called(self.net, images).feature_maps, strict=True))

    def _called(self, part: nn.Module, images: Tensor) -> Any:
        def call(pixels: Tensor) -> Any:
            return part(pixel_values=pixels, output_hidden_states=self.family.tokens)

        return call(images) if self._by_layer else self._run(_Called(part, call), images)

    def load_pretrained(self, path: Path | str, sha256: str | None = None) -> None:
        """Begin with the weights of a file as their owner publishes it, see `ForeignBackbone.load_pretrained`.

        Args:
            path: The file, or a folder with a `model.safetensors`.
            sha256: Which it must have; None for any.

        Raises:
            InputError: it is missing, damaged, another one, or of another network.
        """
        path = Path(path)
        path = path / "model.safetensors" if path.is_dir() else path
        wanted = shapes_in(self.net.state_dict())
        loaded, info = _loaded(self.net, published_weights(path, wanted, sha256, self.architecture))
        own = {name for name in info["missing_keys"] if name.startswith(self.family.own)}
        missing = set(info["missing_keys"]) - own
        wrong = {name: tuple(shape) for name, shape, _ in info["mismatched_keys"]}
        found = {name: wrong.get(name, shape) for name, shape in wanted.items() if name not in missing}
        check_shapes(path, found, wanted, self.architecture)
        check_finite(path, loaded)
        self.net.load_state_dict(loaded | {name: value for name, value in self.net.state_dict().items() if name in own})
        _log.info("%s: weights of %s", path, self.architecture)


class _Called(nn.Module):
    """A call of a network that `Backbone._run` can make again, and whose parts it knows."""

    def __init__(self, part: nn.Module, call: Any) -> None:
        super().__init__()
        self.part, self.call = part, call

    def forward(self, images: Tensor) -> Any:
        return self.call(images)


def as_map(tokens: Tensor, prefix: int, height: int, width: int) -> Tensor:
    """(N, K, h, w) of tokens (N, prefix + h * w, K), row by row, without those of the prefix."""
    return tokens[:, prefix:].transpose(1, 2).unflatten(2, (height, width)).contiguous()


def _config(architecture: str, arguments: dict[str, Any]) -> Any:
    try:
        from transformers import AutoConfig
    except ImportError:
        raise InputError(f"encoder {architecture}: transformers builds it, and is not installed: {EXTRA}") from None
    if architecture not in _FAMILIES:
        raise ValueError(f"no architecture {architecture!r}; choose from {', '.join(ARCHITECTURES)}")
    known = AutoConfig.for_model(architecture).to_dict()
    if unknown := [name for name in arguments if name not in known or name.startswith(("_", "out_"))]:
        raise ValueError(f"{architecture} has no argument {unknown[0]!r}")
    plain = {name: list(value) if isinstance(value, list | tuple) else value for name, value in arguments.items()}
    return AutoConfig.for_model(architecture, **plain)


def _network(config: Any, family: _Family, names: Sequence[str]) -> nn.Module:
    from transformers import AutoBackbone, AutoModel

    if family.tokens:
        return AutoModel.from_config(config)
    config.out_features = list(names)
    return AutoBackbone.from_config(config)


def _channels(config: Any) -> dict[str, int]:
    sizes = getattr(config, "hidden_sizes", None)
    if sizes is None and (first := getattr(config, "embed_dim", None)) is not None:
        sizes = [first * 2**index for index in range(len(config.depths))]
    names = config.stage_names[1:]
    return dict(zip(names, sizes or [config.hidden_size] * len(names), strict=True))


def _strides(architecture: str, config: Any, count: int) -> list[int]:
    """Px of the image along a feature of each stage."""
    first = getattr(config, "patch_size", 4)  # of ConvNets, whose stem has this stride
    if _FAMILIES[architecture].tokens:
        return [first] * count
    return [first * 2**index for index in range(count)]


def _loaded(net: Any, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights by the names that this release of transformers has for them, and what did not fit."""
    with _quiet():
        made, info = type(net).from_pretrained(
            None,
            config=net.config,
            state_dict=dict(state),
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            local_files_only=True,
            dtype=torch.float32,
        )
    return made.state_dict(), info


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the table that transformers prints of what it did not find: `check_shapes` says it."""
    from transformers.utils import logging as loud

    before = loud.get_verbosity()
    loud.set_verbosity_error()
    loud.disable_progress_bar()
    try:
        yield
    finally:
        loud.set_verbosity(before)
        loud.enable_progress_bar()
