"""Tissue, blood and ink by Beer-Lambert, as they look at 8 um/px."""

import cv2
import numpy as np

WHITE = np.array([244, 242, 243])
HAEMATOXYLIN, EOSIN, BLOOD = (0.65, 0.70, 0.29), (0.10, 0.95, 0.45), (0.15, 0.72, 0.67)


def field(side, texture, seed=0, grain=0.8):
    """About 1, uneven by `texture` from cell to cell and somewhat over larger distances."""
    rng = np.random.default_rng(seed)
    fine, coarse = (cv2.GaussianBlur(rng.standard_normal((side, side)), (0, 0), sigma) for sigma in (grain, 6))
    return np.clip(1 + texture * (fine / fine.std() + 0.5 * coarse / coarse.std()), 0.2, 2.5)


def density(side, haematoxylin, eosin, *, blood=0.0, texture=0.2):
    """Optical density (side, side, 3) of tissue with these mean densities of its stains."""
    parts = (haematoxylin, HAEMATOXYLIN), (eosin, EOSIN), (blood, BLOOD)
    return sum(
        mean * field(side, texture, seed)[..., None] * np.array(vector) for seed, (mean, vector) in enumerate(parts)
    )


def ink(side, color, strength=1.0, width=60, *, column=None):
    """Optical density (side, side, 3) and thickness (side, side) of a stroke from top to bottom, `width` px wide."""
    column = side // 2 if column is None else column
    drawn = np.zeros((side, side))
    drawn[:, max(0, column - width // 2) : column + width // 2] = 1
    thickness = cv2.GaussianBlur(drawn, (0, 0), 1.2) * field(side, 0.02, seed=9, grain=2)
    return thickness[..., None] * -np.log10((np.array(color) + 1) / 256) * strength, thickness


def seen(total, seed=0):
    """The RGB image of an optical density, with the noise of a camera."""
    light = WHITE * 10.0**-total + np.random.default_rng(seed).normal(0, 0.7, total.shape)
    return np.clip(light, 0, 255).astype(np.uint8)
