"""Pseudo-labels: Grad-CAM++ at several scales, background, argmax, vote (Pan et al. 2025; METHOD.md section 3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from wsss_mm.cam.background import background_mask
from wsss_mm.cam.grad_cam import grad_cam_plus_plus
from wsss_mm.cam.voting import vote_with_agreement
from wsss_mm.patches.vocabulary import IGNORE

_MIRRORS = ((), (-1,), (-2,), (-2, -1))


class Classifier(Protocol):
    """What the CAMs need of a classifier: `wsss_mm.models.PatchClassifier` has it."""

    head_weight: Tensor
    """(C, K) or (C, K, 1, 1), the linear head after global average pooling."""

    def normalize(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 or float RGB in 0..255, to what `features` expects."""

    def features(self, images: Tensor) -> Tensor:
        """Normalised images to activations (N, K, h, w)."""


@dataclass(frozen=True)
class PseudoLabels:
    """Label maps of a batch: `labels` (N, H, W) uint8, 0..C-1 and `IGNORE`.

    `agreement` (N,) float in 0..1 is the mean share of scales that voted for the winner, over the labelled pixels.
    """

    labels: np.ndarray
    agreement: np.ndarray


@dataclass(frozen=True)
class PseudoLabeller:
    """Turns patches and their label sets into label maps.

    Attributes:
        model: the classifier, in evaluation mode, on `device`.
        scales: sizes at which the patch is shown to the classifier, as factors.
        eps: of Grad-CAM++, see `wsss_mm.cam.grad_cam_plus_plus`.
        background: whether white pixels become `IGNORE` (lung; in breast white is fat and belongs to a tissue).
        background_grey: grey value above which a pixel is white.
        background_min_area: px, smaller white components stay tissue.
        flips: average the CAMs of the patch and its three mirror images.
        device: where images are sent.
    """

    model: Classifier
    scales: Sequence[float] = (0.75, 1.0, 1.25)
    eps: float = 0.0
    background: bool = True
    background_grey: int = 200
    background_min_area: int = 50
    flips: bool = False
    device: str | torch.device = "cpu"

    def __call__(self, images: np.ndarray, label_sets: np.ndarray) -> PseudoLabels:
        """Label a batch.

        Args:
            images: RGB, (N, H, W, 3) uint8.
            label_sets: (N, C) bool, the classes each patch holds; a patch without any becomes all `IGNORE`.
        """
        # The scale nearest to 1 comes first, because the first map decides ties.
        scales = sorted(self.scales, key=lambda scale: (abs(scale - 1), scale))
        labels, votes = vote_with_agreement(
            torch.stack([label_map(self.cams(images, scale), label_sets) for scale in scales])
        )
        result = labels.cpu().numpy().astype(np.uint8)
        if self.background:
            # White beats every CAM at every scale and does not depend on the scale: it would win each vote.
            for index, image in enumerate(images):
                result[index][background_mask(image, self.background_grey, self.background_min_area)] = IGNORE
        return PseudoLabels(result, _agreement(votes.cpu().numpy() / len(scales), result != IGNORE))

    @torch.inference_mode()
    def cams(self, images: np.ndarray, scale: float = 1.0) -> Tensor:
        """Class activation maps at one scale, resized to the patch, one joint min-max over classes and pixels.

        Args:
            images: RGB, (N, H, W, 3) uint8.
            scale: factor of the patch's size.

        Returns:
            (N, C, H, W) float in 0..1, on the device; a map that is constant becomes 0.
        """
        batch = torch.tensor(images, device=self.device).permute(0, 3, 1, 2).float()
        height, width = batch.shape[-2:]
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        if size != (height, width):
            batch = functional.interpolate(batch, size=size, mode="bilinear", align_corners=False)
        batch = self.model.normalize(batch)
        mirrors = _MIRRORS if self.flips else _MIRRORS[:1]
        maps = sum(self._mirrored_cams(batch, mirror) for mirror in mirrors) / len(mirrors)
        maps = functional.interpolate(maps, size=(height, width), mode="bilinear", align_corners=False)
        return min_max(maps)

    def _mirrored_cams(self, batch: Tensor, mirror: tuple[int, ...]) -> Tensor:
        features = self.model.features(batch.flip(mirror) if mirror else batch)
        maps = grad_cam_plus_plus(features, self.model.head_weight, self.eps)
        return maps.flip(mirror) if mirror else maps


def min_max(maps: Tensor) -> Tensor:
    """Scale each image's maps (N, C, H, W) jointly to 0..1; a constant image becomes 0."""
    low = maps.amin(dim=(1, 2, 3), keepdim=True)
    span = maps.amax(dim=(1, 2, 3), keepdim=True) - low
    return torch.where(span > 0, (maps - low) / torch.where(span > 0, span, 1.0), 0.0)


def label_map(cams: Tensor, label_sets: np.ndarray) -> Tensor:
    """The strongest class present at each pixel.

    Args:
        cams: (N, C, H, W) in 0..1, see `min_max`.
        label_sets: (N, C) bool.

    Returns:
        (N, H, W) int64, 0..C-1, or `IGNORE` throughout where the label set is empty.
    """
    present = torch.as_tensor(np.asarray(label_sets, dtype=bool), device=cams.device)
    # Absent classes go below 0, not to 0: a present class whose CAM is 0 must still win over an absent one.
    winners = cams.masked_fill(~present[:, :, None, None], -1).argmax(dim=1)
    return torch.where(present.any(dim=1)[:, None, None], winners, IGNORE)


def _agreement(shares: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Mean share of votes over the labelled pixels of each image, 1 where there is none."""
    counts = labelled.sum(axis=(1, 2))
    sums = (shares * labelled).sum(axis=(1, 2))
    return np.where(counts > 0, sums / np.maximum(counts, 1), 1.0)
