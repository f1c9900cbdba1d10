"""What lies between the nuclei: cytoplasm, fibres, necrotic debris, the pale ground of lymphocyte sheets."""

import math
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from wsss_mm.slides.phantom.fields import Field, smooth_field
from wsss_mm.slides.phantom.layout import LYMPHOCYTES, NECROSIS, PX_PER_UM, STROMA, TUMOUR

_TEXTURE = 2048  # px, largest side of the fibre texture, which wraps around
_EDGE = 1.4  # px, over which neighbouring tissues blend


@dataclass(frozen=True)
class Fibres:
    """Fibres of the stroma: `density` (H, W) about 0 with unit spread, `direction` (H/8, W/8) radians."""

    density: Field
    direction: Field
    step: int = 8

    def direction_at(self, points: NDArray[np.int32]) -> NDArray[np.float32]:
        """Direction of the fibres at (n, 2) x, y px."""
        return self.direction[points[:, 1] // self.step, points[:, 0] // self.step]


def make_fibres(rng: np.random.Generator, size: int) -> Fibres:
    """Wavy bundles: a texture of straight fibres, looked up along two displaced coordinates."""
    shape = (size, size)
    um = PX_PER_UM
    tilt = rng.uniform(0, math.pi)
    x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    across = np.float32(-math.sin(tilt)) * x + np.float32(math.cos(tilt)) * y
    across += 120 * um * smooth_field(rng, shape, 150 * um) + 5 * um * smooth_field(rng, shape, 16 * um)
    along = np.float32(math.cos(tilt)) * x + np.float32(math.sin(tilt)) * y
    along += 60 * um * smooth_field(rng, shape, 150 * um)
    side = min(_TEXTURE, size)
    texture = sum(
        weight * _straight(rng, side, thickness * um, length * um)
        for weight, thickness, length in ((0.6, 0.7, 14), (0.65, 1.6, 30), (0.45, 4.5, 60))
    )
    texture = cast("Field", texture)
    density = cv2.remap(texture, along % side, across % side, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    step = 8
    down, right = np.gradient(cv2.GaussianBlur(across[::step, ::step], (0, 0), 1.5))
    return Fibres(cast("Field", density), np.arctan2(-right, down).astype(np.float32) % np.float32(math.pi), step)


def _straight(rng: np.random.Generator, side: int, thickness: float, length: float) -> Field:
    """Horizontal fibres: white noise under a long, thin Gaussian, in units of its spread, wrapping around."""
    frequency_x = np.fft.rfftfreq(side).astype(np.float32)[None, :]
    frequency_y = np.fft.fftfreq(side).astype(np.float32)[:, None]
    gain = np.exp(-2 * np.float32(math.pi) ** 2 * ((frequency_x * length) ** 2 + (frequency_y * thickness) ** 2))
    noise = rng.standard_normal((side, side), dtype=np.float32)
    field = np.fft.irfft2(np.fft.rfft2(noise) * gain, s=(side, side)).astype(np.float32)
    return field / field.std()


def fill(
    rng: np.random.Generator, labels: NDArray[np.uint8], fibres: Fibres, cells: NDArray[np.int32]
) -> tuple[Field, Field]:
    """Concentrations of haematoxylin and eosin of everything but nuclei.

    Args:
        rng: the slide's generator.
        labels: (H, W) uint8.
        fibres: of the stroma.
        cells: (n, 2) x, y of the tumour cells.
    """
    shape = labels.shape
    haematoxylin = np.zeros(shape, np.float32)
    eosin = np.zeros(shape, np.float32)
    fine = smooth_field(rng, shape, 0.8 * PX_PER_UM)
    medium = smooth_field(rng, shape, 2.2 * PX_PER_UM)
    tint = smooth_field(rng, shape, 60 * PX_PER_UM)
    grounds = {
        TUMOUR: lambda: _tumour(rng, shape, cells, fine, medium),
        NECROSIS: lambda: _necrosis(rng, shape, fine, medium),
        LYMPHOCYTES: lambda: _lymphoid(fine, medium),
        STROMA: lambda: _stroma(rng, shape, fibres.density, fine),
    }
    for label, ground in grounds.items():
        weight = cv2.GaussianBlur((labels == label).astype(np.float32), (0, 0), _EDGE)
        blue, pink = ground()
        haematoxylin += weight * np.maximum(blue * (1 + 0.18 * tint), 0)
        eosin += weight * np.maximum(pink * (1 - 0.1 * tint), 0)
    return haematoxylin, eosin


def _tumour(
    rng: np.random.Generator, shape: tuple[int, int], cells: NDArray[np.int32], fine: Field, medium: Field
) -> tuple[Field, Field]:
    """Cytoplasm that differs from cell to cell, with faint cell borders."""
    seeds = np.full(shape, 255, np.uint8)
    seeds[cells[:, 1], cells[:, 0]] = 0
    _, cell = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    tone = rng.standard_normal(int(cell.max()) + 1).astype(np.float32)[cast("NDArray[np.int32]", cell)]
    border = np.zeros(shape, np.float32)
    border[1:] = cell[1:] != cell[:-1]
    border[:, 1:] = np.maximum(border[:, 1:], cell[:, 1:] != cell[:, :-1])
    border = cv2.GaussianBlur(border, (0, 0), 1.1)
    tone = cv2.GaussianBlur(tone, (0, 0), 1.5)
    blue = 0.24 + 0.05 * tone + 0.06 * medium + 0.05 * fine
    pink = 0.56 + 0.07 * tone + 0.1 * medium + 0.05 * fine - 0.35 * border
    return blue, pink


def _necrosis(rng: np.random.Generator, shape: tuple[int, int], fine: Field, medium: Field) -> tuple[Field, Field]:
    """Granular: chromatin dust on clumps of eosin, no direction."""
    clumps = smooth_field(rng, shape, 6 * PX_PER_UM)
    blue = 0.2 + 0.08 * fine + 0.08 * medium + 0.05 * clumps
    pink = 0.55 + 0.16 * fine + 0.18 * medium + 0.1 * clumps
    return blue, pink


def _lymphoid(fine: Field, medium: Field) -> tuple[Field, Field]:
    blue = 0.2 + 0.05 * medium + 0.04 * fine
    pink = 0.42 + 0.14 * medium + 0.06 * fine
    return blue, pink


def _stroma(rng: np.random.Generator, shape: tuple[int, int], fibres: Field, fine: Field) -> tuple[Field, Field]:
    """Collagen: fibres, tight in some places and loose in others."""
    loose = 1 + 0.3 * smooth_field(rng, shape, 40 * PX_PER_UM)
    blue = 0.09 + 0.03 * fibres + 0.02 * fine
    pink = 0.62 + 0.24 * fibres * loose + 0.03 * fine
    return blue, pink
