"""From stain concentrations to colours: Beer-Lambert in optical density, as stain separation assumes it.

Stain vectors after Macenko et al., "A method for normalizing histology slides for quantitative analysis", ISBI 2009.
"""

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from wsss_mm.slides.phantom.fields import Field, smooth_field
from wsss_mm.slides.phantom.layout import PX_PER_UM

_HAEMATOXYLIN = np.array([0.60, 0.71, 0.36])
_EOSIN = np.array([0.16, 0.86, 0.47])


@dataclass(frozen=True)
class PhantomStain:
    """A slide's staining and scanner: stain vectors (2, 3), strengths (2,), white (3,) of 0..255, blur and noise."""

    vectors: NDArray[np.float64]
    strengths: NDArray[np.float64]
    white: NDArray[np.float64]
    blur: float  # px
    noise: float  # grey levels


def draw_stain(rng: np.random.Generator) -> PhantomStain:
    """Draw a slide's staining."""
    vectors = np.stack([_HAEMATOXYLIN, _EOSIN]) + rng.normal(0, 0.02, (2, 3))
    vectors = np.maximum(vectors, 0.02)
    return PhantomStain(
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        strengths=rng.uniform([0.9, 0.85], [1.12, 1.15]),
        white=np.array([243.0, 241.0, 243.0]) + rng.normal(0, 1.2, 3),
        blur=float(rng.uniform(0.7, 1.0)),
        noise=float(rng.uniform(1.2, 2.0)),
    )


def colour(rng: np.random.Generator, haematoxylin: Field, eosin: Field, stain: PhantomStain) -> NDArray[np.uint8]:
    """Colour two concentration maps, (H, W) float32; returns (H, W, 3) uint8 RGB.

    Section thickness and uptake vary slowly over the slide, independently of the tissue.
    """
    shape = haematoxylin.shape
    haematoxylin, eosin = (
        cast("Field", cv2.GaussianBlur(plane * _uptake(rng, shape, strength), (0, 0), stain.blur))
        for plane, strength in zip((haematoxylin, eosin), stain.strengths, strict=True)
    )
    noise = rng.standard_normal(shape, dtype=np.float32)
    image = np.empty((*shape, 3), np.uint8)
    for channel in range(3):
        density = haematoxylin * np.float32(stain.vectors[0, channel])
        density += eosin * np.float32(stain.vectors[1, channel])
        light = cv2.exp(-density)
        light *= np.float32(stain.white[channel])
        light += np.float32(stain.noise) * np.roll(noise, 7919 * channel, axis=channel % 2)
        image[..., channel] = np.clip(light, 0, 255)
    return image


def _uptake(rng: np.random.Generator, shape: tuple[int, int], strength: float) -> Field:
    return np.float32(strength) * np.exp(np.float32(0.1) * smooth_field(rng, shape, 110 * PX_PER_UM))
