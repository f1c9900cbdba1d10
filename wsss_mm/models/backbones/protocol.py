"""What a backbone is to the rest of the house: named stages, weights from a file, parts that rest."""

import functools
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from wsss_mm.encoders import IMAGENET_MEAN, IMAGENET_STD

Freeze = Literal["none", "stem", "all"]
FREEZE: tuple[Freeze, ...] = ("none", "stem", "all")

IMAGE = "image"
"""Name under which a backbone gives the normalised image itself, beside its stages: (N, 3, H, W), stride 1."""


class Backbone(BaseModule):
    """A network whose feature maps have names, so that heads and CAMs can ask for them.

    A subclass builds its parts, then calls `freeze`; it says in `_maps` what the stages are and in `_stem` what comes
    first. Mean, standard deviation and sizes are those of images as its pretrained weights know them.

    Args:
        stages: Name to (channels, stride), in the order in which an image passes them. The last has the features that
            are pooled, which are not negative: CAMs have a closed form there.
        out_stages: What a call returns, in this order: stages, and `IMAGE`. None for the last stage alone.
        with_checkpointing: Whether a training forgets the activations inside of parts and makes them again when it
            needs them: less memory, a third more time, the same result.
        init_cfg: mmengine initialisation.
    """

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    size_multiple: int = 1
    mpp: tuple[float, ...] = ()
    cam_layers: tuple[str, ...] = ()
    """Modules below the last stage that CAMs can be taken at, by their names in the network."""

    def __init__(
        self,
        stages: Mapping[str, tuple[int, int]],
        *,
        out_stages: Sequence[str] | None = None,
        with_checkpointing: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.stages = dict(stages)
        self.last = tuple(self.stages)[-1]
        self.out_stages = (self.last,) if out_stages is None else tuple(out_stages)
        if unknown := [name for name in self.out_stages if name not in (*self.stages, IMAGE)]:
            raise ValueError(f"no stage {unknown[0]!r}; the stages are {', '.join(self.stages)}, and {IMAGE}")
        self.out_channels = tuple(3 if name == IMAGE else self.stages[name][0] for name in self.out_stages)
        self.with_checkpointing = with_checkpointing
        self.frozen: Freeze = "none"

    @abstractmethod
    def _maps(self, images: Tensor, wanted: Collection[str]) -> dict[str, Tensor]:
        """The feature maps of these stages at least."""

    @abstractmethod
    def _stem(self) -> Iterator[nn.Module]:
        """The parts that come first, which `freeze: stem` lets rest."""

    def load_pretrained(self, path: Path | str, sha256: str | None = None) -> None:
        """Begin with the weights of a file: a state dict of this network, bare or a classifier's or segmenter's.

        Args:
            path: The file.
            sha256: Which it must have; None for any.

        Raises:
            InputError: it is missing, damaged, another one, or of another network.
        """
        from wsss_mm.models.safetensors_files import load_named_weights

        load_named_weights(self, path, sha256, what=type(self).__name__)

    @property
    def last_layer(self) -> str:
        """What CAMs call the layer under the pooling."""
        return self.last

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """All stages by name, (N, K, h, w) each, of normalised RGB images (N, 3, H, W)."""
        maps = self._maps(images, tuple(self.stages))
        return {name: maps[name] for name in self.stages}

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The feature maps of `out_stages`, of normalised RGB images (N, 3, H, W)."""
        maps = self._maps(images, self.out_stages)
        return tuple(images if name == IMAGE else maps[name] for name in self.out_stages)

    def freeze(self, which: Freeze) -> None:
        """Let parts rest: their weights do not learn, and their batch normalisation keeps the statistics it has.

        Args:
            which: `none`, `stem` or `all`.
        """
        if which not in FREEZE:
            raise ValueError(f"freeze {which!r}: one of {', '.join(FREEZE)}")
        self.frozen = which
        resting = {"none": (), "stem": self._stem(), "all": (self,)}[which]
        for part in resting:
            part.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Backbone":
        """Training or evaluation mode; what is frozen stays in that of evaluation."""
        super().train(mode and self.frozen != "all")
        if self.frozen == "stem":
            for part in self._stem():
                part.train(False)
        return self

    def _run(self, part: nn.Module, images: Any) -> Any:
        """What a part makes of its input, with or without its activations kept."""
        if not (self.with_checkpointing and self.training and torch.is_grad_enabled()):
            return part(images)
        return checkpoint(part, images, use_reentrant=False, context_fn=functools.partial(_contexts, part))


def _contexts(part: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    return nullcontext(), _statistics_kept(part)


@contextmanager
def _statistics_kept(part: nn.Module) -> Iterator[None]:
    """Batch normalisation that learns does not count a batch twice, as its activations are made again."""
    norms = [item for item in part.modules() if isinstance(item, _BatchNorm) and item.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.sub_(1)
