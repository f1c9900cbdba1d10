"""Which tissue is where: the label map that drives the rendering and is the truth of a phantom slide."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wsss_mm.errors import InputError
from wsss_mm.slides.phantom.fields import Field, enlarge, smooth_field, warp
from wsss_mm.vocabulary import IGNORE, Role, Vocabulary

TISSUES: tuple[Role, ...] = ("tumour", "necrosis", "lymphocytes", "stroma")
"""What there is on a phantom slide, in the order of the labels of its layout."""

TUMOUR, NECROSIS, LYMPHOCYTES, STROMA = range(len(TISSUES))
PX_PER_UM = 2.0  # 0.5 um/px

_COARSE = 4  # compartments are laid out on a grid of 4 px (2 um) and interpolated
_UM = PX_PER_UM / _COARSE  # coarse px per um
_MEAN_SHARES = np.array([0.30, 0.20, 0.21, 0.29])
_COMPARTMENT = 60.0  # um, sigma of the field whose maxima are the compartments
_DISTRICT = 160.0  # um, sigma of the field that makes a class frequent here and rare there
_DISTRICT_WEIGHT = 1.4


@dataclass(frozen=True)
class Layout:
    """A slide's plan: `labels` (H, W) uint8, 0..3 or `IGNORE`; `glass` (H, W), true where they are that."""

    labels: NDArray[np.uint8]
    glass: NDArray[np.bool_]


def values_of(vocabulary: Vocabulary) -> NDArray[np.uint8]:
    """(256,) what each label of a layout is among the classes: the first that has the tissue's role.

    Raises:
        InputError: one of `TISSUES` is the role of no class.
    """
    values = np.full(256, IGNORE, np.uint8)
    for label, role in enumerate(TISSUES):
        found = vocabulary.with_role(role)
        if not found:
            raise InputError(
                f"params.yaml: cohort.vocabulary: the phantom's slides hold {', '.join(TISSUES)}, but no class of "
                f"{vocabulary.name!r} has role {role}; take another vocabulary, such as lung, or another cohort"
            )
        values[label] = found[0]
    return values


def make_layout(rng: np.random.Generator, size: int) -> Layout:
    """Lay out the tissues of a slide of `size` x `size` px.

    Compartments are the regions where one of four smooth fields is largest, their borders bent by two displacement
    fields; offsets make each slide's shares follow a drawn composition, so that every class is well represented.
    """
    coarse = (size + _COARSE - 1) // _COARSE + 1
    shape = (coarse, coarse)
    bend = [
        9 * _UM * smooth_field(rng, shape, 26 * _UM) + 2.6 * _UM * smooth_field(rng, shape, 8 * _UM) for _ in range(2)
    ]
    scores = np.stack(
        [
            warp(
                smooth_field(rng, shape, _COMPARTMENT * _UM)
                + _DISTRICT_WEIGHT * smooth_field(rng, shape, _DISTRICT * _UM),
                *bend,
            )
            for _ in range(4)
        ]
    )
    glass = _glass(rng, shape)
    scores += _offsets(scores, glass, _composition(rng))[:, None, None]
    lumen = _lumina(rng, scores)
    full = (size, size)
    labels = _largest([enlarge(score, _COARSE, full) for score in scores])
    empty = enlarge(glass, _COARSE, full) > 0
    empty |= _cracks(rng, coarse, full)
    empty |= (enlarge(lumen, _COARSE, full) > 0) & (labels == TUMOUR)
    labels[empty] = IGNORE
    return Layout(labels, empty)


def _composition(rng: np.random.Generator) -> NDArray[np.float64]:
    shares = np.clip(_MEAN_SHARES * rng.uniform(0.8, 1.25, 4), 0.17, 0.37)
    return shares / shares.sum()


def _offsets(scores: Field, glass: Field, shares: NDArray[np.float64]) -> Field:
    """Offsets of the four fields with which the classes take `shares` of the tissue."""
    sample = scores[:, ::4, ::4][:, glass[::4, ::4] < 0]
    offsets = np.zeros(4)
    for _ in range(60):
        got = np.bincount((sample + offsets[:, None]).argmax(0), minlength=4) / sample.shape[1]
        offsets += 1.5 * (shares - got)
    return offsets.astype(np.float32)


def _largest(scores: list[Field]) -> NDArray[np.uint8]:
    best = scores[0].copy()
    labels = np.zeros(best.shape, np.uint8)
    for index, score in enumerate(scores[1:], start=1):
        labels[score > best] = index
        np.maximum(best, score, out=best)
    return labels


def _glass(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Positive on the glass around the section: a rounded square whose outline wanders."""
    axis = np.linspace(-1, 1, shape[0], dtype=np.float32)
    radius = (np.abs(axis[:, None]) ** 5 + np.abs(axis[None, :]) ** 5) ** np.float32(0.2)
    extent = shape[0] / _UM  # um
    wander = sum(
        amplitude * smooth_field(rng, shape, sigma * _UM)
        for amplitude, sigma in ((0.018 * extent, 0.08 * extent), (9, 30), (2.5, 8))
    )
    return ((radius - 0.92) * extent / 2 + wander).astype(np.float32)


def _lumina(rng: np.random.Generator, scores: Field) -> Field:
    """Positive in gland lumina, which lie well inside tumour epithelium."""
    others = scores[[NECROSIS, LYMPHOCYTES, STROMA]].max(0)
    inside = np.ascontiguousarray((scores[TUMOUR] > others).astype(np.uint8))
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5) / _UM
    blobs = smooth_field(rng, inside.shape, 13 * _UM) - np.float32(1.35)
    blobs += np.float32(0.25) * smooth_field(rng, inside.shape, 4 * _UM)
    return np.minimum(blobs, (depth - 14) / 10).astype(np.float32)


def _cracks(rng: np.random.Generator, coarse: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """A few long tears: where a smooth field crosses zero, and only in some places."""
    small = (coarse, coarse)
    crossing = smooth_field(rng, small, 150 * _UM) + np.float32(0.03) * smooth_field(rng, small, 12 * _UM)
    slope = cv2.magnitude(cv2.Sobel(crossing, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(crossing, cv2.CV_32F, 0, 1) / 8)
    distance = np.abs(crossing) / np.maximum(cv2.GaussianBlur(slope, (0, 0), 6), 1e-4) / _UM  # um
    width = 9 * (smooth_field(rng, small, 90 * _UM) - np.float32(0.9))
    return enlarge((width - distance).astype(np.float32), _COARSE, shape) > 0
