"""Class probabilities of patches: test-time augmentation, and gating by the classifier (METHOD.md sections 4 and 5)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from wsss_mm.errors import InputError
from wsss_mm.patches.images import read_image, read_label_map

Pixels = npt.NDArray[np.uint8]


class Segmenter(Protocol):
    """What is needed of a segmenter: `wsss_mm.models.Segmenter` has it."""

    def predict_probabilities(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 RGB to (N, C, H, W) float32 softmax."""


class Classifier(Protocol):
    """What is needed of a classifier: `wsss_mm.models.PatchClassifier` has it."""

    def predict(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 RGB to (N, C) probabilities."""


@dataclass(frozen=True)
class PatchPrediction:
    """A patch with what is predicted for it; maps are (H, W) uint8 with values 0..C-1, `truth` also `IGNORE`."""

    patch_id: str
    slide_id: str
    image: Pixels  # (H, W, 3) RGB
    truth: Pixels | None  # None where the patch has no mask
    ungated: Pixels
    gated: Pixels


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


@torch.inference_mode()
def predict_patches(
    segmenter: Segmenter,
    classifier: Classifier,
    rows: pd.DataFrame,
    folder: Path,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = True,
    threshold: float = 0.1,
    batch_size: int = 16,
    device: str | torch.device = "cpu",
) -> Iterator[PatchPrediction]:
    """Predict the patches of manifest rows, in their order, under a progress bar.

    Args:
        segmenter: on `device`, in evaluation mode.
        classifier: likewise; gates.
        rows: rows of the manifest.
        folder: where their paths start.
        scales: see `augmented_probabilities`.
        flip: see `augmented_probabilities`.
        threshold: see `gate`.
        batch_size: patches a forward pass; a patch of another size starts a new batch.
        device: where images are sent.

    Raises:
        InputError: an image or mask is missing or unreadable, or they differ in size.
    """
    folder = Path(folder)
    with tqdm(total=len(rows), desc="predict", unit="patch") as bar:
        for _, same in rows.groupby((rows["size"] != rows["size"].shift()).cumsum(), sort=False):
            for start in range(0, len(same), batch_size):
                batch = same.iloc[start : start + batch_size]
                pictures = [_read(read_image, folder / path) for path in batch["path"]]
                images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous().to(device)
                probabilities = augmented_probabilities(segmenter, images, scales=scales, flip=flip)
                gated = gate(probabilities, classifier.predict(images), threshold)
                maps = [part.argmax(dim=1).to(torch.uint8).cpu().numpy() for part in (probabilities, gated)]
                for row, *arrays in zip(batch.itertuples(), pictures, *maps, strict=True):
                    truth = _read(read_label_map, folder / row.mask_path) if isinstance(row.mask_path, str) else None
                    if truth is not None and truth.shape != arrays[0].shape[:2]:
                        raise InputError(
                            f"{folder / row.mask_path}: not of its image's size; run: dvc repro -f patches"
                        )
                    yield PatchPrediction(row.patch_id, row.slide_id, arrays[0], truth, *arrays[1:])
                bar.update(len(batch))


def _read(reader, path: Path) -> Pixels:  # noqa: ANN001
    if not path.is_file():
        raise InputError(f"{path}: not found, though the manifest names it; run: dvc checkout, or dvc repro -f patches")
    return reader(path)


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(images.shape[-2:]) == size:
        return images
    resized = functional.interpolate(images.float(), size, mode="bilinear", align_corners=False, antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)
