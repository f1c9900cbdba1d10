"""Pseudo-labels: Grad-CAM++ at several scales, background, argmax, vote (Pan et al. 2025; METHOD.md section 3)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from wsss_mm.cam.grad_cam import function
from wsss_mm.cam.layers import activations_and_logits, is_last, last_layer
from wsss_mm.cam.voting import vote_with_agreement
from wsss_mm.cam_methods import LAST_LAYER, METHODS
from wsss_mm.errors import InputError
from wsss_mm.models import PatchClassifier
from wsss_mm.patches.background import background_mask
from wsss_mm.vocabulary import IGNORE

_MIRRORS = ((), (-1,), (-2,), (-2, -1))


@dataclass(frozen=True)
class PseudoLabels:
    """Label maps of a batch: `labels` (N, H, W) uint8, 0..C-1 and `IGNORE`.

    `agreement` (N,) float in 0..1 is the mean share of scales that voted for the winner, over the labelled pixels.
    """

    labels: np.ndarray
    agreement: np.ndarray


@dataclass(frozen=True)
class ClassEvidence:
    """What the classifiers show at one scale: `maps` (N, C, h, w), not yet resized, and `logits` (N, C).

    Maps of one classifier are not yet scaled, either; those of several are the mean of scaled ones.
    """

    maps: Tensor
    logits: Tensor


@dataclass(frozen=True)
class PseudoLabeller:
    """Turns patches and their label sets into label maps.

    Attributes:
        model: the classifier, in evaluation mode; images are sent to its device.
        method: which class activation maps, a name in `wsss_mm.cam_methods.METHODS`.
        layer: layer of the backbone they are taken at, see `unit_names`; `last`, under the pooling, has a closed form.
            Of several, the mean is taken of the maps, each scaled to 0..1.
        scales: sizes at which the patch is shown to the classifier, as factors.
        eps: of Grad-CAM++, see `wsss_mm.cam.grad_cam_plus_plus`.
        gating: which classes may appear: those of the label set (`labels`), those the classifier sees in the patch at
            the scale nearest to 1 (`predicted`), or all (`off`).
        gate_threshold: probability from which on a class counts as seen; the likeliest class always does.
        normalization: whether CAMs are scaled to 0..1 over classes and pixels together (`joint`, as published), or each
            class over its own pixels (`class`), so that one which the classifier is less sure of is not outshone
            wherever it stands beside another.
        voting: how scales become one label: a majority per pixel (`majority`), the mean of their CAMs before the argmax
            (`mean`), or the scale nearest to 1 alone (`single`).
        background: whether white pixels become `IGNORE` (lung; in breast white is fat and belongs to a tissue).
        background_grey: grey value above which a pixel is white.
        background_min_area: px, smaller white components stay tissue.
        flips: average the CAMs of the patch and its three mirror images.
        neighbours: whether `wsss_mm.cam.store.label_patches` narrows label sets by those of overlapping patches.
        temperatures: of the classes, in their order: their CAMs are divided by it before the argmax, so that a class
            above 1 gives way to others, as its logit would. Empty for 1 each.
        others: further classifiers of the same network, on the same device. CAMs are the mean of those of all, each
            scaled to 0..1 as `normalization` says, and so are logits.
    """

    model: PatchClassifier
    method: str = "grad_cam_plus_plus"
    layer: str | Sequence[str] = LAST_LAYER
    scales: Sequence[float] = (0.75, 1.0, 1.25)
    eps: float = 0.0
    gating: Literal["labels", "predicted", "off"] = "labels"
    gate_threshold: float = 0.1
    normalization: Literal["joint", "class"] = "joint"
    voting: Literal["majority", "mean", "single"] = "majority"
    background: bool = True
    background_grey: int = 200
    background_min_area: int = 50
    flips: bool = False
    neighbours: bool = False
    temperatures: Sequence[float] = ()
    others: Sequence[PatchClassifier] = ()

    @property
    def device(self) -> torch.device:
        """Where the classifier is."""
        return self.model.head_weight.device

    def __call__(self, images: np.ndarray, label_sets: np.ndarray) -> PseudoLabels:
        """Label a batch.

        Args:
            images: RGB, (N, H, W, 3) uint8.
            label_sets: (N, C) bool, the classes each patch holds, or (N, C, H, W), those each pixel may be of; where
                there is none, a patch gated by its labels becomes `IGNORE`.
        """
        return self.label(images, label_sets, [self.evidence(images, scale) for scale in self.shown_at()])

    def shown_at(self) -> list[float]:
        """The scales that are asked: the one nearest to 1 comes first, because the first map decides ties."""
        scales = sorted(self.scales, key=lambda scale: (abs(scale - 1), scale))
        return scales[:1] if self.voting == "single" else scales

    def label(
        self,
        images: np.ndarray,
        label_sets: np.ndarray,
        evidence: Sequence[ClassEvidence],
        white: np.ndarray | None = None,
    ) -> PseudoLabels:
        """Label a batch by what the classifier showed of it; the classifier itself is not asked.

        Args:
            images: as of a call.
            label_sets: likewise.
            evidence: at each of `shown_at()`.
            white: what `background_of` gives, where it is known.
        """
        cams = torch.stack([self.normalised(found.maps, images.shape[1:3]) for found in evidence])
        if self.temperatures:
            cams = cams / torch.as_tensor(self.temperatures, dtype=cams.dtype, device=cams.device)[:, None, None]
        present = self._present(label_sets, evidence[0].logits)
        maps = torch.stack([label_map(maps, present) for maps in cams])
        if self.voting == "mean":
            labels = label_map(cams.mean(dim=0), present)
            votes = (maps == labels).sum(dim=0)
        else:
            labels, votes = vote_with_agreement(maps)
        result = labels.cpu().numpy().astype(np.uint8)
        # White beats every CAM at every scale and does not depend on the scale: it would win each vote.
        result[self.background_of(images) if white is None else white] = IGNORE
        return PseudoLabels(result, _agreement(votes.cpu().numpy() / len(evidence), result != IGNORE))

    def background_of(self, images: np.ndarray) -> np.ndarray:
        """(N, H, W) bool: the white pixels of images (N, H, W, 3) that become `IGNORE`, see `background`."""
        if not self.background:
            return np.zeros(images.shape[:3], dtype=bool)
        return np.stack([background_mask(image, self.background_grey, self.background_min_area) for image in images])

    def cams(self, images: np.ndarray, scale: float = 1.0) -> Tensor:
        """Class activation maps at one scale, resized to the patch and scaled to 0..1, see `normalization`.

        Args:
            images: RGB, (N, H, W, 3) uint8.
            scale: factor of the patch's size.

        Returns:
            (N, C, H, W) float in 0..1, on the device; a map that is constant becomes 0.
        """
        return self.normalised(self.evidence(images, scale).maps, images.shape[1:3])

    def evidence(self, images: np.ndarray, scale: float) -> ClassEvidence:
        """What the classifier shows of images (N, H, W, 3) uint8 at one scale, averaged over mirror images."""
        return self.evidence_by_method(images, scale, (self.method,))[self.method]

    @torch.no_grad()
    def evidence_by_method(self, images: np.ndarray, scale: float, methods: Sequence[str]) -> dict[str, ClassEvidence]:
        """`evidence` of several methods; under the pooling they share one forward pass of each classifier."""
        if self.others:
            each = [
                replace(self, model=model, others=()).evidence_by_method(images, scale, methods)
                for model in (self.model, *self.others)
            ]
            return {name: self._mean_evidence([found[name] for found in each]) for name in methods}
        batch = torch.tensor(images, device=self.device).permute(0, 3, 1, 2).float()
        height, width = batch.shape[-2:]
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        if size != (height, width):
            batch = functional.interpolate(batch, size=size, mode="bilinear", align_corners=False)
        batch = self.model.normalize(batch)
        mirrors = _MIRRORS if self.flips else _MIRRORS[:1]
        found = [self._mirrored_maps(batch, mirror, methods) for mirror in mirrors]
        logits = _mean([own for _, own in found])
        return {name: ClassEvidence(_mean([maps[name] for maps, _ in found]), logits) for name in methods}

    def _mean_evidence(self, each: Sequence[ClassEvidence]) -> ClassEvidence:
        maps = fused([found.maps for found in each], each_class=self.normalization == "class")
        return ClassEvidence(maps, _mean([found.logits for found in each]))

    def normalised(self, maps: Tensor, size: Sequence[int]) -> Tensor:
        """Class activation maps (N, C, h, w) resized to the patch's height and width, and scaled to 0..1."""
        maps = functional.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
        return min_max(maps, each_class=self.normalization == "class")

    def _mirrored_maps(
        self, batch: Tensor, mirror: tuple[int, ...], methods: Sequence[str]
    ) -> tuple[dict[str, Tensor], Tensor]:
        maps, logits = self._maps(batch.flip(mirror) if mirror else batch, methods)
        return ({name: own.flip(mirror) for name, own in maps.items()} if mirror else maps), logits

    def _maps(self, batch: Tensor, methods: Sequence[str]) -> tuple[dict[str, Tensor], Tensor]:
        """Class activation maps (N, C, h, w) by method, and logits (N, C), of normalised images."""
        if isinstance(self.layer, str):
            return self._maps_at(self.layer, batch, methods)
        found = [self._maps_at(layer, batch, methods) for layer in self.layer]
        return {name: fused([maps[name] for maps, _ in found]) for name in methods}, found[0][1]

    def _maps_at(self, layer: str, batch: Tensor, methods: Sequence[str]) -> tuple[dict[str, Tensor], Tensor]:
        if not is_last(self.model, layer):
            features, logits = activations_and_logits(self.model, batch, layer)
            return {name: self._anywhere(name, features, logits) for name in methods}, logits.detach()
        features, head = self.model.features(batch), self.model.head_weight.flatten(1)
        logits = features.mean(dim=(-2, -1)) @ head.T
        return {
            name: function(METHODS[name].closed_form)(features, head, **self._options(name)) for name in methods
        }, logits

    def _anywhere(self, name: str, features: Tensor, logits: Tensor) -> Tensor:
        """Maps of a layer that is not under the pooling."""
        any_layer = METHODS[name].any_layer
        if any_layer is None:
            raise InputError(
                f"params.yaml: pseudo_labels.layer is {self.layer}, but method {name} exists at "
                f"{last_layer(self.model)} alone"
            )
        return function(any_layer)(features, logits, **self._options(name))

    def _options(self, name: str) -> dict[str, float]:
        return {"eps": self.eps} if METHODS[name].takes_eps else {}

    def _present(self, label_sets: np.ndarray, logits: Tensor) -> Tensor:
        """(N, C) or (N, C, H, W) bool: the classes that may appear."""
        if self.gating == "labels":
            return torch.as_tensor(np.asarray(label_sets, dtype=bool), device=logits.device)
        if self.gating == "off":
            return torch.ones_like(logits, dtype=torch.bool)
        return (logits.sigmoid() >= self.gate_threshold) | (logits == logits.amax(dim=1, keepdim=True))


def min_max(maps: Tensor, *, each_class: bool = False) -> Tensor:
    """Scale each image's maps (N, C, H, W) to 0..1, jointly or each class by itself; what is constant becomes 0."""
    over = (2, 3) if each_class else (1, 2, 3)
    low = maps.amin(dim=over, keepdim=True)
    span = maps.amax(dim=over, keepdim=True) - low
    return torch.where(span > 0, (maps - low) / torch.where(span > 0, span, 1.0), 0.0)


def fused(maps: Sequence[Tensor], *, each_class: bool = False) -> Tensor:
    """The mean of class activation maps (N, C, h, w) of layers or classifiers, each scaled to 0..1, at the finest size.

    Args:
        maps: of each.
        each_class: see `min_max`.
    """
    size = max((tuple(own.shape[-2:]) for own in maps), key=lambda sides: sides[0] * sides[1])
    resized = [functional.interpolate(own, size=size, mode="bilinear", align_corners=False) for own in maps]
    return _mean([min_max(own, each_class=each_class) for own in resized])


def label_map(cams: Tensor, present: Tensor) -> Tensor:
    """The strongest class present at each pixel.

    Args:
        cams: (N, C, H, W) in 0..1, see `min_max`.
        present: (N, C) or (N, C, H, W) bool, the classes that may appear.

    Returns:
        (N, H, W) int64, 0..C-1, or `IGNORE` where no class is present.
    """
    present = present if present.dim() == 4 else present[:, :, None, None]
    # Absent classes go below 0, not to 0: a present class whose CAM is 0 must still win over an absent one.
    winners = cams.masked_fill(~present, -1).max(dim=1).indices  # as argmax, of equal ones the first: a seventh
    return torch.where(present.any(dim=1), winners, IGNORE)


def _mean(parts: Sequence[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total / len(parts)


def _agreement(shares: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Mean share of votes over the labelled pixels of each image, 1 where there is none."""
    counts = labelled.sum(axis=(1, 2))
    sums = (shares * labelled).sum(axis=(1, 2))
    return np.where(counts > 0, sums / np.maximum(counts, 1), 1.0)
