"""Nuclei: their kinds, pre-rendered sprites, and stamping them into the stain concentrations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsss_mm.slides.phantom.fields import Field
from wsss_mm.slides.phantom.layout import PX_PER_UM

Numbers = NDArray[np.floating]

_BUMPS = (2, 3, 4, 5)  # per turn, of an outline
_SPRITES = 288  # per kind; mirrored and rescaled in concentration, so that no two neighbours look alike


@dataclass(frozen=True)
class NucleusKind:
    """Look of a kind of nuclei. Lengths in um, stain concentrations in the unit of `stain`."""

    length: float
    length_spread: float  # relative standard deviation
    elongation: float  # long axis over short axis, mean
    irregularity: float  # relative amplitude of the bumps of the outline
    haematoxylin: float
    eosin: float
    spread: float  # relative standard deviation of haematoxylin between nuclei
    clumps: float  # amplitude of the chromatin texture
    clump_size: float  # um
    rim: float  # how much darker the membrane of a vesicular nucleus is than its inside
    nucleoli: float  # mean number
    opacity: float = 1.0
    softness: float = 0.8  # um over which the edge fades
    halo: float = 0.0  # how clear the rim around the nucleus is


TUMOUR = NucleusKind(
    length=12.5, length_spread=0.17, elongation=1.3, irregularity=0.07, haematoxylin=1.02, eosin=0.28, spread=0.2,
    clumps=0.22, clump_size=0.9, rim=0.55, nucleoli=1.3,
)  # fmt: skip
LYMPHOCYTE = NucleusKind(
    length=6.8, length_spread=0.12, elongation=1.14, irregularity=0.045, haematoxylin=1.22, eosin=0.2, spread=0.16,
    clumps=0.24, clump_size=0.7, rim=0.1, nucleoli=0, halo=0.35,
)  # fmt: skip
SPINDLE = NucleusKind(
    length=13.5, length_spread=0.22, elongation=4.2, irregularity=0.05, haematoxylin=1.08, eosin=0.3, spread=0.2,
    clumps=0.14, clump_size=0.8, rim=0.1, nucleoli=0,
)  # fmt: skip
GHOST = NucleusKind(
    length=9.5, length_spread=0.2, elongation=1.25, irregularity=0.1, haematoxylin=0.42, eosin=0.5, spread=0.3,
    clumps=0.25, clump_size=1.0, rim=0.5, nucleoli=0, opacity=0.75, softness=1.8,
)  # fmt: skip
DEBRIS = NucleusKind(
    length=2.6, length_spread=0.4, elongation=1.3, irregularity=0.2, haematoxylin=1.15, eosin=0.4, spread=0.3,
    clumps=0.1, clump_size=0.5, rim=0.0, nucleoli=0, softness=0.7,
)  # fmt: skip
PYKNOTIC = NucleusKind(
    length=5.0, length_spread=0.25, elongation=1.35, irregularity=0.16, haematoxylin=1.25, eosin=0.45, spread=0.25,
    clumps=0.08, clump_size=0.6, rim=0.0, nucleoli=0, softness=1.0, halo=0.3,
)  # fmt: skip


@dataclass(frozen=True)
class Sprites:
    """Rendered nuclei of a kind, (m, P, P) each."""

    opacity: Field
    haematoxylin: Field
    halo: Field
    eosin: float

    @property
    def side(self) -> int:
        """Side of a sprite, px."""
        return self.opacity.shape[1]


@dataclass(frozen=True)
class Library:
    """n nuclei of one kind as they were drawn at random; those that a slide uses are rendered."""

    kind: NucleusKind
    long: Numbers
    short: Numbers  # half axes, (n,) um
    bumps: Sequence[tuple[Numbers, Numbers]]  # of the outline, by order: amplitudes and phases, (n,) each
    chromatin: Numbers  # (n, P, P), white noise
    nucleoli: NDArray[np.integer]  # (n,) how many
    spots: Sequence[tuple[Numbers, Numbers, Numbers]]  # x, y and size of each that there may be, (n,) in half axes

    def __len__(self) -> int:
        return len(self.long)

    def render(self, which: NDArray[np.intp]) -> Sprites:
        """The nuclei with these indices."""
        kind, side = self.kind, self.chromatin.shape[1]
        axis = np.arange(-(side // 2), side // 2 + 1, dtype=np.float32) / np.float32(PX_PER_UM)
        angle = _planes(np.arange(len(self)) * math.pi / len(self), which)
        along = axis[None, None, :] * np.cos(angle) + axis[None, :, None] * np.sin(angle)
        across = axis[None, :, None] * np.cos(angle) - axis[None, None, :] * np.sin(angle)
        long, short = _planes(self.long, which), _planes(self.short, which)
        radius = np.hypot(along / long, across / short) / self._outline(which, np.arctan2(across / short, along / long))
        inside = (1 - radius) * np.sqrt(long * short)  # um from the edge, roughly
        opacity = kind.opacity * _step(inside / kind.softness)
        texture = self._texture(which, radius, along / long, across / short)
        halo = kind.halo * np.exp(-((np.minimum(inside, 0) / 1.6) ** 2)) * _step(-inside / kind.softness)
        return Sprites(
            opacity.astype(np.float32),
            (kind.haematoxylin * texture).astype(np.float32),
            halo.astype(np.float32),
            kind.eosin,
        )

    def _outline(self, which: NDArray[np.intp], phi: Numbers) -> Numbers:
        outline = np.ones_like(phi)
        for order, (size, phase) in zip(_BUMPS, self.bumps, strict=True):
            outline += _planes(size, which) * np.cos(order * phi + _planes(phase, which))
        return np.clip(outline, 0.6, 1.5)

    def _texture(self, which: NDArray[np.intp], radius: Numbers, u: Numbers, v: Numbers) -> Numbers:
        """Relative haematoxylin inside the nucleus: clumps, a membrane, nucleoli; mean about 1."""
        kind, sigma = self.kind, self.kind.clump_size * PX_PER_UM
        noise = ndimage.gaussian_filter(self.chromatin[which].astype(np.float32), (0, sigma, sigma))
        texture = 1 + kind.clumps * noise * 2 * math.sqrt(math.pi) * sigma
        if kind.rim:
            texture *= 1 - 0.4 * kind.rim + kind.rim * np.exp(-(((radius - 0.9) / 0.16) ** 2))
        for number, spot in enumerate(self.spots):
            x, y, size = (_planes(values, which) for values in spot)
            shown = _planes(self.nucleoli > number, which)
            texture += shown * 0.75 * np.exp(-(((u - x) ** 2 + (v - y) ** 2) / size**2))
        return np.maximum(texture, 0.1)


def draw_library(rng: np.random.Generator, kind: NucleusKind, scale: float = 1.0) -> Library:
    """Draw a library of nuclei of one kind, in the directions 0..pi; `scale` is the slide's own nuclear size."""
    count = _SPRITES
    length = kind.length * scale * np.clip(1 + kind.length_spread * rng.standard_normal(count), 0.5, 1.7)
    elongation = np.maximum(1, kind.elongation * (1 + 0.16 * rng.standard_normal(count)))
    # The long axis grows and the short one shrinks with elongation; spindles (`length` is their long axis) only thin.
    long = length / 2 if kind.elongation > 2 else length / 2 * np.sqrt(elongation / kind.elongation)
    half = math.ceil((long.max() * 1.2 + 3 * kind.softness) * PX_PER_UM)
    bumps = [
        (kind.irregularity * rng.standard_normal(count) / math.sqrt(order - 1), rng.uniform(0, 2 * math.pi, count))
        for order in _BUMPS
    ]
    chromatin = rng.standard_normal((count, 2 * half + 1, 2 * half + 1))
    nucleoli, spots = np.zeros(count, int), []
    if kind.nucleoli:
        nucleoli = np.minimum(rng.poisson(kind.nucleoli, count), 3)
        for _ in range(3):
            x, y = rng.uniform(-0.45, 0.45, (2, count))
            spots.append((x, y, rng.uniform(0.13, 0.2, count)))
    return Library(kind, long, long / elongation, bumps, chromatin, nucleoli, spots)


def stamp_nuclei(
    canvas: tuple[Field, Field],
    sprites: Sprites,
    points: NDArray[np.int32],
    gain: NDArray[np.floating],
    choice: NDArray[np.intp],
) -> None:
    """Blend nuclei into the haematoxylin and eosin concentrations, in place and in order.

    Args:
        canvas: haematoxylin and eosin, each with a border of `MARGIN` px around the slide.
        sprites: the library.
        points: (n, 2) x, y of the centres, px of the slide.
        gain: (n,) factor on a nucleus's haematoxylin.
        choice: (n,) which sprite.
    """
    haematoxylin, eosin = canvas
    side = sprites.side
    corner = points + MARGIN - side // 2
    for (x, y), factor, index in zip(corner.tolist(), gain.tolist(), choice.tolist(), strict=True):
        opacity = sprites.opacity[index]
        window = np.s_[y : y + side, x : x + side]
        haematoxylin[window] *= 1 - sprites.halo[index]
        haematoxylin[window] += opacity * (sprites.haematoxylin[index] * factor - haematoxylin[window])
        eosin[window] *= 1 - sprites.halo[index]
        eosin[window] += opacity * (sprites.eosin - eosin[window])


MARGIN = 48
"""Border around the slide within which nuclei may protrude, px."""


def _step(x: NDArray[np.floating]) -> NDArray[np.floating]:
    return 1 / (1 + np.exp(np.clip(-4 * x, -30, 30)))


def _planes(values: NDArray, which: NDArray[np.intp]) -> NDArray:
    """Those of some nuclei, (m, 1, 1)."""
    return values[which][:, None, None]
