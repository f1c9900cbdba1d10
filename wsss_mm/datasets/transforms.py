"""Augmentation of H&E patches. Each transform draws from the sample's own generator, `results['rng']`."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from mmengine.structures import BaseDataElement

from wsss_mm.registry import TRANSFORMS

Results = dict[str, Any]

# Ruifrok & Johnston 2001: optical densities of haematoxylin, eosin and a residual, one row a stain.
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], np.float32)
_STAINS /= np.linalg.norm(_STAINS, axis=1, keepdims=True)
_UNMIX = np.linalg.inv(_STAINS)


def _replace(results: Results, image: npt.NDArray, labels: npt.NDArray | None) -> Results:
    results = {**results, "img": image, "img_shape": image.shape[:2]}
    if labels is not None:
        results["gt_seg_map"] = labels
    return results


@TRANSFORMS.register_module()
class FlipAndRotate:
    """Flips, each with its probability, and quarter turns: tissue has no up.

    Args:
        horizontal: Probability of a left-right flip.
        vertical: Probability of an up-down flip.
        rotate: Whether to add a random quarter turn (square patches only).
    """

    def __init__(self, horizontal: float = 0.5, vertical: float = 0.5, *, rotate: bool = False) -> None:
        self.horizontal, self.vertical, self.rotate = horizontal, vertical, rotate

    def __call__(self, results: Results) -> Results:
        """Turn image and labels alike."""
        rng = results["rng"]
        flips = rng.random(2) < (self.horizontal, self.vertical)
        turns = int(rng.integers(4)) if self.rotate else 0

        def turn(array: npt.NDArray) -> npt.NDArray:
            array = array[:: -1 if flips[1] else 1, :: -1 if flips[0] else 1]
            return np.ascontiguousarray(np.rot90(array, turns))

        labels = results.get("gt_seg_map")
        return _replace(results, turn(results["img"]), None if labels is None else turn(labels))


@TRANSFORMS.register_module()
class RandomDeformation:
    """Random zoom, turn and smooth elastic displacement, in one interpolation; beyond the border it mirrors.

    Args:
        scale: Range of the zoom.
        degrees: Greatest turn, either way.
        elastic: Standard deviation of the displacement, px.
        smoothness: Distance over which the displacement changes, px.
        probability: Share of the samples that are deformed.
    """

    def __init__(
        self,
        scale: tuple[float, float] = (1.0, 1.0),
        degrees: float = 0.0,
        *,
        elastic: float = 0.0,
        smoothness: float = 32.0,
        probability: float = 1.0,
    ) -> None:
        self.scale, self.degrees = tuple(scale), degrees
        self.elastic, self.smoothness, self.probability = elastic, smoothness, probability

    def __call__(self, results: Results) -> Results:
        """Deform image (linear) and labels (nearest) alike."""
        rng = results["rng"]
        chosen = rng.random() < self.probability
        if not chosen or (self.scale == (1.0, 1.0) and not self.degrees and not self.elastic):
            return results
        x, y = self._sources(rng, *results["img"].shape[:2])
        image = cv2.remap(results["img"], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        labels = results.get("gt_seg_map")
        if labels is not None:
            labels = cv2.remap(labels, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
        return _replace(results, image, labels)

    def _sources(self, rng: np.random.Generator, height: int, width: int) -> tuple[npt.NDArray, npt.NDArray]:
        """Where each pixel comes from, x and y, float32."""
        zoom = rng.uniform(*self.scale)
        angle = np.deg2rad(rng.uniform(-self.degrees, self.degrees))
        centre_y, centre_x = (height - 1) / 2, (width - 1) / 2
        dy, dx = np.meshgrid(np.arange(height) - centre_y, np.arange(width) - centre_x, indexing="ij")
        x = centre_x + (np.cos(angle) * dx - np.sin(angle) * dy) / zoom
        y = centre_y + (np.sin(angle) * dx + np.cos(angle) * dy) / zoom
        if self.elastic:
            nodes = (max(2, round(height / self.smoothness) + 1), max(2, round(width / self.smoothness) + 1))
            shift = rng.normal(0, self.elastic, (*nodes, 2)).astype(np.float32)
            shift = cv2.resize(shift, (width, height), interpolation=cv2.INTER_CUBIC)
            x, y = x + shift[..., 0], y + shift[..., 1]
        return x.astype(np.float32), y.astype(np.float32)


@TRANSFORMS.register_module()
class RandomCrop:
    """A square crop at a random place; patches that are smaller stay as they are.

    Args:
        size: Side of the crop, px.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, results: Results) -> Results:
        """Crop image and labels alike."""
        height, width = results["img"].shape[:2]
        top = int(results["rng"].integers(max(0, height - self.size) + 1))
        left = int(results["rng"].integers(max(0, width - self.size) + 1))
        window = np.s_[top : top + self.size, left : left + self.size]
        labels = results.get("gt_seg_map")
        return _replace(results, results["img"][window], None if labels is None else labels[window])


@TRANSFORMS.register_module()
class StainJitter:
    """Photometric distortion of H&E: stain amounts, brightness and contrast vary as between laboratories.

    Stains are unmixed in optical density (Ruifrok & Johnston 2001), each is scaled and shifted at random, and the
    image is mixed again (Tellez et al. 2018).

    Args:
        strength: 0 leaves images as they are; 0.2 scales each stain by up to 20 % either way, brightness and contrast
            by up to half of that.
    """

    def __init__(self, strength: float = 0.0) -> None:
        self.strength = strength

    def __call__(self, results: Results) -> Results:
        """Change the image's colours."""
        if not self.strength:
            return results
        rng = results["rng"]
        scale = 1 + rng.uniform(-self.strength, self.strength, 3)
        shift = rng.uniform(-self.strength, self.strength, 3) * 0.1
        contrast = 1 + rng.uniform(-self.strength, self.strength) / 2
        brightness = rng.uniform(-self.strength, self.strength) * 255 / 4
        mix = (_UNMIX * scale) @ _STAINS  # the channel-wise scaling as one 3x3 matrix in optical density
        density = -np.log((results["img"].astype(np.float32) + 1) / 256)
        density = density @ mix.astype(np.float32) + (shift @ _STAINS).astype(np.float32)
        image = 256 * np.exp(-density) - 1
        image = (image - 128) * contrast + 128 + brightness
        return {**results, "img": np.clip(image, 0, 255).astype(np.uint8)}


@TRANSFORMS.register_module()
class FocusJitter:
    """Fine detail that is stronger or weaker, as scanners and focus make it.

    Where slides of one class happen to be sharper than those of another, a network learns sharpness, and fails on the
    slides of another scanner. The detail, what a blur takes away, is multiplied by a random factor.

    Args:
        factor: Range of the factor, drawn evenly on a log scale; 1 leaves the image as it is, 0.5 halves the contrast
            of fine detail.
        blur: Standard deviation of the blur, px.
    """

    def __init__(self, factor: tuple[float, float] = (1.0, 1.0), blur: float = 1.2) -> None:
        self.low, self.high = factor
        self.blur = blur

    def __call__(self, results: Results) -> Results:
        """Change the image's detail."""
        if self.low == self.high == 1:
            return results
        factor = float(np.exp(results["rng"].uniform(np.log(self.low), np.log(self.high))))
        smooth = cv2.GaussianBlur(results["img"], (0, 0), self.blur)
        return {**results, "img": cv2.addWeighted(results["img"], factor, smooth, 1 - factor, 0)}


@TRANSFORMS.register_module()
class PackPatch:
    """The classifier's input: `inputs` (3, H, W) uint8 and a sample with `label`, `known` and `patch_id`."""

    def __call__(self, results: Results) -> Results:
        """Pack."""
        sample = BaseDataElement(metainfo={"patch_id": results["patch_id"]})
        for name in ("label", "known"):
            if name in results:
                sample.set_field(torch.from_numpy(results[name].copy()), name)
        image = np.ascontiguousarray(results["img"].transpose(2, 0, 1))
        return {"inputs": torch.from_numpy(image.copy()), "data_samples": sample}
