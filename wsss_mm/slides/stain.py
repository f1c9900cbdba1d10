"""How a slide is stained, in numbers, and images as if they were stained like others: Macenko's and Reinhard's way.

What is fitted is of a *slide*, not of an image: neighbouring windows of it are changed alike, and one with little
tissue is not made to look like one with much. Both are functions of a pixel alone: size and place do not matter.

- **macenko** (Macenko et al., ISBI 2009): optical densities of tissue lie in a plane; the extreme directions in it are
  haematoxylin and eosin, and the 99th percentile of each is how strong it is. Amounts are mixed again with the target's
  vectors. What lies outside of the plane (pigment, pen, blood) stays as it is, and glass, of density 0, stays glass.
- **reinhard** (Reinhard et al., IEEE CG&A 2001): mean and spread of the tissue in CIE Lab become the target's; pixels
  are changed the less the closer they are to white.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from wsss_mm.errors import InputError
from wsss_mm.slides.reader import SlideReader
from wsss_mm.slides.tissue import find_tissue

Method = Literal["macenko", "reinhard"]
METHODS: tuple[Method, ...] = get_args(Method)
Pixels = NDArray[np.uint8]
Recolour = Callable[[Pixels], Pixels]
"""Takes an RGB image (..., H, W, 3) uint8, and gives one of the same shape."""

_DENSITY = -np.log((np.arange(256, dtype=np.float64) + 1) / 256)  # of a pixel's value; of 255 it is 0
_TISSUE = 0.15  # least optical density (natural logarithm) of tissue, mean of R, G and B: eosin takes hardly any red
_FEWEST = 500  # px of tissue that say how a slide is stained
_ENDS = (1.0, 99.0)  # percentiles of direction, and of amount the second
_APART = 0.05  # sine of the angle between two stains; of one stain alone nothing can be told
_WEAKEST = 0.05  # amount, below which a stain is not there; the same for the spread of a channel of Lab
_GLASS, _WHITE = 210.0, 245.0  # grey: darker is tissue, lighter is glass, between them Reinhard's change fades
_DIGITS = 6  # of every number that is kept, so that what is read is what was fitted
_NUMBERS: Mapping[str, int] = {"macenko": 8, "reinhard": 6}
_TILES, _SIDE, _STEP = 48, 256, 2  # of a slide that are looked at; px of each at the mpp asked for; every so many px
_LEAST_TISSUE = 0.25  # share of such a tile


@dataclass(frozen=True)
class Stain:
    """How a slide is stained.

    Attributes:
        method: how it was found.
        numbers: of macenko, optical densities of haematoxylin in R, G, B, of length 1, those of eosin, and the amount
            of each; of reinhard, means of L, a, b and their standard deviations.
    """

    method: Method
    numbers: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it."""
        return {"method": self.method, "numbers": list(self.numbers)}

    @classmethod
    def from_json(cls, content: object, source: object) -> "Stain":
        """Of a JSON object.

        Args:
            content: the object.
            source: where it stands, for errors.

        Raises:
            InputError: it is none.
        """
        said = content if isinstance(content, Mapping) else {}
        method, numbers = said.get("method"), said.get("numbers")
        if method in METHODS and isinstance(numbers, list) and len(numbers) == _NUMBERS[method]:
            kinds = {type(value) for value in numbers}
            if kinds <= {int, float} and np.isfinite(numbers).all() and _sensible(method, numbers):
                return cls(method, tuple(map(float, numbers)))
        raise InputError(f"{source}: is no stain, {' '.join(str(content).split())[:80]}; make it again: dvc repro")


def fit_stain(pixels: Pixels, method: Method) -> Stain | None:
    """How pixels (..., 3) uint8 RGB of one slide are stained; None where there is too little tissue to tell.

    Args:
        pixels: of the slide, glass among them.
        method: see the module.
    """
    pixels = pixels.reshape(-1, 3)
    density = _DENSITY[pixels]
    tissue = density.mean(axis=1) > _TISSUE
    if np.count_nonzero(tissue) < _FEWEST:
        return None
    numbers = _macenko(density[tissue]) if method == "macenko" else _reinhard(pixels[tissue])
    rounded = [round(float(value), _DIGITS) for value in numbers]
    return Stain(method, tuple(rounded)) if _sensible(method, rounded) else None


def typical(stains: Iterable[Stain]) -> Stain | None:
    """The median of stains of one method, number by number; None of none."""
    stains = list(stains)
    if not stains:
        return None
    numbers = np.median([stain.numbers for stain in stains], axis=0)
    if stains[0].method == "macenko":
        numbers[:6] = _unit(numbers[:6].reshape(2, 3)).ravel()
    return Stain(stains[0].method, tuple(round(float(value), _DIGITS) for value in numbers))


def recolour(source: Stain, target: Stain) -> Recolour:
    """What makes images of a slide that is stained one way look as if it was stained another way.

    Raises:
        ValueError: they were found in different ways.
    """
    if source.method != target.method:
        raise ValueError(f"a stain of {source.method} cannot become one of {target.method}")
    if source == target:
        return np.copy
    return _mixed_again(source, target) if source.method == "macenko" else _moved(source, target)


def stain_of_slide(slide: SlideReader, method: Method, mpp: float) -> Stain | None:
    """How a slide is stained, by tiles at `mpp` um/px that lie evenly over its tissue.

    Returns:
        None where there is too little tissue to tell.

    Raises:
        InputError: the slide is damaged.
    """
    step = _SIDE * mpp / slide.mpp  # level-0 px
    left, top, width, height = slide.bounds
    across, down = (np.arange(max(1, round(side / step))) * step for side in (width, height))
    boxes = np.array([(left + x, top + y, step, step) for y in down for x in across])
    boxes = boxes[find_tissue(slide).share(boxes) >= _LEAST_TISSUE]
    chosen = boxes[np.unique(np.linspace(0, len(boxes) - 1, _TILES).round().astype(int))] if len(boxes) else boxes
    tiles = [slide.read(x, y, _SIDE, mpp)[::_STEP, ::_STEP].reshape(-1, 3) for x, y, *_ in chosen.tolist()]
    return fit_stain(np.concatenate(tiles), method) if tiles else None


def _macenko(density: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors and amounts of the tissue's densities (n, 3)."""
    _, vectors = np.linalg.eigh(np.cov(density.T))
    plane = vectors[:, [2, 1]]
    plane *= np.where(plane.sum(axis=0) < 0, -1.0, 1.0)
    along = density @ plane
    angles = np.percentile(np.arctan2(along[:, 1], along[:, 0]), _ENDS)
    stains = np.stack([np.cos(angles), np.sin(angles)], axis=1) @ plane.T
    if stains[0, 0] < stains[1, 0]:  # haematoxylin takes more of the red
        stains = stains[::-1]
    amounts = density @ np.linalg.pinv(stains)
    return np.concatenate([stains.ravel(), np.percentile(amounts, _ENDS[1], axis=0)])


def _reinhard(tissue: Pixels) -> NDArray[np.float64]:
    lab = _as_lab(tissue[None])[0].astype(np.float64)
    return np.concatenate([lab.mean(axis=0), lab.std(axis=0)])


def _sensible(method: str, numbers: Sequence[float]) -> bool:
    """Whether numbers can be divided by."""
    if method == "reinhard":
        return min(numbers[3:]) >= _WEAKEST
    stains = np.array(numbers[:6]).reshape(2, 3)
    lengths = np.linalg.norm(stains, axis=1)
    if min(lengths) < 0.5 or min(numbers[6:]) < _WEAKEST:
        return False
    return bool(np.linalg.norm(np.cross(stains[0], stains[1])) / lengths.prod() >= _APART)


def _mixed_again(source: Stain, target: Stain) -> Recolour:
    """Macenko's change, which in optical density is one matrix."""
    (ours, our_amounts), (theirs, their_amounts) = (
        (np.array(stain.numbers[:6]).reshape(2, 3), np.array(stain.numbers[6:])) for stain in (source, target)
    )
    unmix = np.linalg.pinv(ours)
    change = unmix * (their_amounts / our_amounts) @ theirs + np.eye(3) - unmix @ ours
    matrix, table = change.T.astype(np.float32), _DENSITY.astype(np.float32)

    def apply(image: Pixels) -> Pixels:
        density = cv2.transform(table[image.reshape(-1, 1, 3)], matrix)
        return np.clip(np.rint(256 * np.exp(-density) - 1), 0, 255).astype(np.uint8).reshape(image.shape)

    return apply


def _moved(source: Stain, target: Stain) -> Recolour:
    """Reinhard's change."""
    ours, theirs = (np.array(stain.numbers, np.float32).reshape(2, 3) for stain in (source, target))
    factor = theirs[1] / ours[1]

    def apply(image: Pixels) -> Pixels:
        flat = image.reshape(-1, 1, 3)
        moved = (_as_lab(flat) - ours[0]) * factor + theirs[0]
        rgb = cv2.cvtColor(moved.astype(np.float32), cv2.COLOR_Lab2RGB) * 255
        grey = cv2.cvtColor(flat, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
        share = np.clip((_WHITE - grey) / (_WHITE - _GLASS), 0, 1)
        return np.clip(np.rint(share * rgb + (1 - share) * flat), 0, 255).astype(np.uint8).reshape(image.shape)

    return apply


def _as_lab(image: Pixels) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab), np.float32)


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
