"""Class probabilities of patches: test-time augmentation, and gating by the classifier (METHOD.md sections 4 and 5)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from wsss_mm.errors import InputError
from wsss_mm.inference.patches import BATCH_SIZE, Batch, Pixels, predict
from wsss_mm.inference.runtime import device_of
from wsss_mm.models import PatchClassifier, Segmenter
from wsss_mm.patches.images import read_label_map, read_listed


@dataclass(frozen=True)
class PatchPrediction:
    """A patch with what is predicted for it; maps are (H, W) uint8 with values 0..C-1, `truth` also `IGNORE`.

    `probabilities` (C, H, W) float32 are those of `ungated`.
    """

    patch_id: str
    slide_id: str
    image: Pixels  # (H, W, 3) RGB
    truth: Pixels | None  # None where the patch has no mask
    ungated: Pixels
    gated: Pixels
    probabilities: npt.NDArray[np.float32]


@torch.inference_mode()
def augmented_probabilities(
    segmenter: Segmenter, images: Tensor, *, scales: Sequence[float] = (1.0,), flip: bool = True
) -> Tensor:
    """Average the softmax over scaled and mirrored copies of the images.

    Args:
        segmenter: the network.
        images: (N, 3, H, W) uint8 RGB.
        scales: sizes at which the network sees an image, as factors.
        flip: also show it each image mirrored left to right.

    Returns:
        (N, C, H, W) float32, sums to 1 over C.
    """
    height, width = images.shape[-2:]
    total, count = None, 0
    for scale in scales:
        scaled = _resize(images, (max(1, round(height * scale)), max(1, round(width * scale))))
        for mirrored in (False, True) if flip else (False,):
            shown = scaled.flip(-1) if mirrored else scaled
            probabilities = segmenter.predict_probabilities(shown)
            probabilities = probabilities.flip(-1) if mirrored else probabilities
            if probabilities.shape[-2:] != (height, width):
                probabilities = functional.interpolate(
                    probabilities, (height, width), mode="bilinear", align_corners=False
                )
            total = probabilities if total is None else total + probabilities
            count += 1
    if total is None:
        raise ValueError("no scales")
    return total / count


def gate(probabilities: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Suppress the classes that the classifier does not see in a patch.

    Args:
        probabilities: (N, C, H, W).
        scores: (N, C) of the classifier, 0..1.
        threshold: a class scored below it is set to 0; a patch's best-scored class never is.

    Returns:
        (N, C, H, W), not normalised.
    """
    kept = scores >= threshold
    kept |= functional.one_hot(scores.argmax(dim=1), scores.shape[1]).bool()
    return probabilities * kept[:, :, None, None]


def predict_patches(
    segmenter: Segmenter,
    classifier: PatchClassifier,
    rows: pd.DataFrame,
    folder: Path,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = True,
    threshold: float = 0.1,
    batch_size: int = BATCH_SIZE,
) -> Iterator[PatchPrediction]:
    """Predict the patches of manifest rows, in their order, under a progress bar.

    Args:
        segmenter: in evaluation mode.
        classifier: likewise, on the same device; gates.
        rows: rows of the manifest.
        folder: where their paths start.
        scales: see `augmented_probabilities`.
        flip: see `augmented_probabilities`.
        threshold: see `gate`.
        batch_size: patches a forward pass, see `wsss_mm.inference.patches.predict`.

    Raises:
        InputError: an image or mask is missing or unreadable, or they differ in size.
    """
    folder = Path(folder)

    def step(batch: Batch) -> list[tuple[Pixels, Pixels, npt.NDArray[np.float32]]]:
        probabilities = augmented_probabilities(segmenter, batch.images, scales=scales, flip=flip)
        gated = gate(probabilities, classifier.predict(batch.images), threshold)
        maps = [part.max(dim=1).indices.to(torch.uint8).cpu().numpy() for part in (probabilities, gated)]
        return list(zip(*maps, probabilities.float().cpu().numpy(), strict=True))

    for patch in predict(rows, folder, step, device_of(segmenter), name="predict", batch_size=batch_size):
        row, truth = patch.row, None
        if isinstance(row["mask_path"], str):
            truth = read_listed(read_label_map, folder / row["mask_path"])
            if truth.shape != patch.image.shape[:2]:
                raise InputError(f"{folder / row['mask_path']}: not of its image's size; run: dvc repro -f patches")
        yield PatchPrediction(row["patch_id"], row["slide_id"], patch.image, truth, *patch.found)


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(images.shape[-2:]) == size:
        return images
    resized = functional.interpolate(images.float(), size, mode="bilinear", align_corners=False, antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)
