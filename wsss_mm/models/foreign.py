"""Networks of other packages as backbones: what is asked of them, images they take, and maps that lie over those."""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsss_mm.models.backbones.protocol import Backbone, Freeze
from wsss_mm.models.safetensors_files import published_weights
from wsss_mm.models.weight_files import load_checked, shapes_in

Stages = dict[str, tuple[int, int]]
"""Name to (channels, stride)."""

QUARTERS = 4
"""Of a transformer's blocks the stages are these: those after each quarter of them."""


class ForeignBackbone(Backbone):
    """A network of another package, built of its architecture's name and numbers: nothing is fetched or executed.

    Images whose sides are no multiple of the last stride are padded, and their maps cut and resampled so that they lie
    over the image. A subclass says how a network is built and what it makes of padded images.

    Args:
        architecture: What its package calls it.
        arguments: Of it.
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
        net, stages = self._built(architecture, dict(arguments or {}))
        super().__init__(stages, out_stages=out_stages, with_checkpointing=with_checkpointing, init_cfg=init_cfg)
        self.architecture, self.activate = architecture, activate
        self.size_multiple = self.stages[self.last][1]
        self.net: Any = net
        self._made_ready()
        self.freeze(freeze)

    @classmethod
    @abstractmethod
    def _built(cls, architecture: str, arguments: dict[str, Any]) -> tuple[nn.Module, Stages]:
        """The network with weights that it drew, and its stages."""

    def _made_ready(self) -> None:
        """What there is to do with a network that is built, before parts of it are frozen."""

    @abstractmethod
    def _maps_of_padded(self, images: Tensor, wanted: Collection[str]) -> Mapping[str, Tensor]:
        """The feature maps of these stages at least, of images that the network takes as they are."""

    def _maps(self, images: Tensor, wanted: Collection[str]) -> dict[str, Tensor]:
        padded, shares = pad_to(images, self.size_multiple)
        found = self._maps_of_padded(padded, wanted)
        fitted = {name: fit_maps(found[name], shares) for name in found if name in wanted}
        activated = self.last if self.activate else None
        return {name: functional.relu(item) if name == activated else item for name, item in fitted.items()}

    def _may_lack(self) -> Collection[str]:
        """Names of weights that a published file need not have."""
        return ()

    def load_pretrained(self, path: Path | str, sha256: str | None = None) -> None:
        """Begin with the weights of a file as their owner publishes it: safetensors, or a plain state dict.

        Args:
            path: The file.
            sha256: Which it must have; None for any.

        Raises:
            InputError: it is missing, damaged, another one, or of another network.
        """
        state = published_weights(path, shapes_in(self.net.state_dict()), sha256, self.architecture)
        load_checked(self.net, state, path, self.architecture, may_lack=self._may_lack())


def quarters(blocks: int) -> list[int]:
    """Indices of the blocks after which a quarter, half, three quarters and all of them are done."""
    return sorted({max(1, round(blocks * part / QUARTERS)) - 1 for part in range(1, QUARTERS + 1)})


def pad_to(images: Tensor, multiple: int) -> tuple[Tensor, tuple[float, float]]:
    """Images (N, K, H, W) whose sides are multiples, by their own edges; and the shares of them that were there."""
    height, width = images.shape[-2:]
    down, right = (-side % multiple for side in (height, width))
    if not (down or right):
        return images, (1.0, 1.0)
    padded = functional.pad(images, (0, right, 0, down), mode="replicate")
    return padded, (height / (height + down), width / (width + right))


def fit_maps(maps: Tensor, shares: tuple[float, float]) -> Tensor:
    """Maps of padded images, resampled to lie over the share of it that was there, with as many features."""
    if shares == (1.0, 1.0):
        return maps
    high, wide = shares
    theta = torch.tensor([[wide, 0, wide - 1], [0, high, high - 1]], dtype=torch.float32, device=maps.device)
    with torch.autocast(maps.device.type, enabled=False):  # under bf16 the grid would be of another type than the maps
        grid = functional.affine_grid(theta.expand(len(maps), 2, 3), list(maps.shape), align_corners=False)
        fitted = functional.grid_sample(maps.float(), grid, padding_mode="border", align_corners=False)
    return fitted.to(maps.dtype)
