"""Encoders of `transformers` as backbones: tokens become feature maps, and nothing is fetched or executed."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsss_mm.errors import InputError
from wsss_mm.models.backbones.protocol import Backbone, Freeze
from wsss_mm.models.safetensors_files import EXTRA, published_weights
from wsss_mm.models.weight_files import check_finite, check_shapes, shapes_in
from wsss_mm.registry import MODELS

_log = logging.getLogger(__name__)

QUARTERS = 4
"""Of a transformer's blocks the stages are these: those after each quarter of them."""


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
class TokenBackbone(Backbone):
    """A network of `transformers`, built of numbers alone.

    Stages are called as there: `stage1` and so on; of a transformer those after each quarter of its blocks, each
    normalised as the last one is. Class and register tokens are dropped. Position embeddings are interpolated for
    images of other sizes. Images whose sides are no multiple of what the network takes are padded, and their maps cut
    and resampled so that they lie over the image.

    Args:
        architecture: One of `ARCHITECTURES`.
        arguments: Of its config, such as `hidden_size`; its own defaults for others.
        out_stages: See `Backbone`.
        freeze: Which parts rest, see `Backbone.freeze`.
        activate: Whether the last stage loses what is negative: Grad-CAM++ has a closed form over what is not.
        with_checkpointing: See `Backbone`.
        init_cfg: mmengine initialisation.
    """

    def __init__(
        self,
        architecture: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        out_stages: Sequence[str] | None = None,
        freeze: Freeze = "none",
        activate: bool = True,
        with_checkpointing: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        config = _config(architecture, dict(arguments or {}))
        names = config.stage_names[1:]
        if _FAMILIES[architecture].tokens:
            names = [names[index] for index in quarters(len(names))]
        strides = _strides(architecture, config, len(names))
        channels = _channels(config)
        super().__init__(
            {name: (channels[name], stride) for name, stride in zip(names, strides, strict=True)},
            out_stages=out_stages,
            with_checkpointing=with_checkpointing,
            init_cfg=init_cfg,
        )
        self.activate = activate
        self.architecture, self.family = architecture, _FAMILIES[architecture]
        self.size_multiple = strides[-1]
        self.net: Any = _network(config, self.family, names)
        self.prefix_tokens = 1 + getattr(config, "num_register_tokens", 0) if self.family.tokens else 0
        for name, parameter in self.net.named_parameters():
            if name.endswith("mask_token"):  # of their training alone
                parameter.requires_grad_(False)
        self._by_layer = with_checkpointing and self.net.supports_gradient_checkpointing
        if self._by_layer:
            self.net.gradient_checkpointing_enable({"use_reentrant": False})
        self.freeze(freeze)

    def init_weights(self) -> None:
        """Nothing: the network drew its weights when it was made."""
        self._is_init = True

    def _stem(self) -> Iterator[nn.Module]:
        yield self.net.get_submodule(self.family.stem)

    def _maps(self, images: Tensor, wanted: Collection[str]) -> dict[str, Tensor]:
        padded, shares = pad_to(images, self.size_multiple)
        run = self._tokens if self.family.tokens else self._own_maps
        return fitted(run(padded, wanted), wanted, shares, self.last if self.activate else None)

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
        """Begin with the weights of a file as their owner publishes it: safetensors, or a plain state dict.

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


def quarters(blocks: int) -> list[int]:
    """Indices of the blocks after which a quarter, half, three quarters and all of them are done."""
    return sorted({max(1, round(blocks * part / QUARTERS)) - 1 for part in range(1, QUARTERS + 1)})


def as_map(tokens: Tensor, prefix: int, height: int, width: int) -> Tensor:
    """(N, K, h, w) of tokens (N, prefix + h * w, K), row by row, without those of the prefix."""
    return tokens[:, prefix:].transpose(1, 2).unflatten(2, (height, width)).contiguous()


def pad_to(images: Tensor, multiple: int) -> tuple[Tensor, tuple[float, float]]:
    """Images (N, K, H, W) whose sides are multiples, by their own edges; and the shares of them that were there."""
    height, width = images.shape[-2:]
    down, right = (-side % multiple for side in (height, width))
    if not (down or right):
        return images, (1.0, 1.0)
    padded = functional.pad(images, (0, right, 0, down), mode="replicate")
    return padded, (height / (height + down), width / (width + right))


def fit(maps: Tensor, shares: tuple[float, float]) -> Tensor:
    """Maps of padded images, resampled to lie over the share of it that was there, with as many features."""
    if shares == (1.0, 1.0):
        return maps
    high, wide = shares
    theta = torch.tensor([[wide, 0, wide - 1], [0, high, high - 1]], dtype=torch.float32, device=maps.device)
    with torch.autocast(maps.device.type, enabled=False):  # under bf16 the grid would be of another type than the maps
        grid = functional.affine_grid(theta.expand(len(maps), 2, 3), list(maps.shape), align_corners=False)
        fitted = functional.grid_sample(maps.float(), grid, padding_mode="border", align_corners=False)
    return fitted.to(maps.dtype)


def fitted(
    maps: Mapping[str, Tensor], wanted: Collection[str], shares: tuple[float, float], activated: str | None
) -> dict[str, Tensor]:
    """The wanted maps of padded images, as `fit` has them; one of them without what is negative."""
    found = {name: fit(maps[name], shares) for name in maps if name in wanted}
    return {name: functional.relu(item) if name == activated else item for name, item in found.items()}


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
