"""How far the area of a class on a map may be from the true one, by what was mistaken for what on validation pixels.

A map's pixels are sorted by their class and by how sure the network was (the margin between the two likeliest classes
after the temperature). Of each sort validation says how many were right, and of each class what the wrong ones were:
an error matrix with strata, from which true areas are estimated as land cover is (Olofsson et al., "Good practices for
estimating area and assessing accuracy of land change", Remote Sensing of Environment 2014). Such a matrix says what is
to be expected. How far a slide strays from that is not to be had from pixels, which are wrong in crowds: it is taken
from patients, each held against the matrix of all others, as a multiple of the area that is in doubt. The interval is
Student's, of as few degrees of freedom as patients give.

Pixels whose truth has no class do not take part: what is mistaken for glass is not in the interval.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from wsss_mm.errors import InputError

EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99, 1.0)
"""Of the levels of confidence; the last are narrow because most pixels are sure."""
LEAST_PATIENTS, LEAST_PATCHES = 2, 10
"""Of a validation split, below which nothing is said."""
COVERAGE = 0.95
"""Share of slides whose true area should lie in the interval."""

_LEVELS = len(EDGES) - 1
_PRIOR = 0.05  # of a patch's pixels: what is known of a level before it is looked at, from all classes
_MOST = 1e6  # of a number in a description

Counts = npt.NDArray[np.float64]


def margin(logits: npt.NDArray[np.floating], temperature: float) -> npt.NDArray[np.float64]:
    """Confidence 0..1 of each row of logits (N, C): how much likelier the likeliest class is than the next."""
    if logits.shape[1] == 1:
        return np.ones(len(logits))
    scores = logits.astype(np.float64) / temperature
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    best = np.partition(powers, -2, axis=1)[:, -2:]
    return (best[:, 1] - best[:, 0]) / powers.sum(axis=1)


def level_of(confidence: npt.NDArray[np.floating] | float) -> npt.NDArray[np.intp]:
    """The level 0.. of each confidence 0..1."""
    return np.clip(np.searchsorted(EDGES, confidence, side="right") - 1, 0, _LEVELS - 1)


@dataclass(frozen=True)
class JudgedPatch:
    """A validation patch: whose it is, and pixels (C, levels, C) by class of the map, confidence and true class."""

    patient: str
    pixels: Counts

    @classmethod
    def of(
        cls, patient: str, logits: npt.NDArray[np.floating], truth: npt.NDArray[np.integer], temperature: float
    ) -> "JudgedPatch":
        """Of a patch's known pixels.

        Args:
            patient: whose it is.
            logits: (N, C).
            truth: (N,) classes, 0..C-1.
            temperature: of the model.
        """
        count = logits.shape[1]
        places = (logits.argmax(axis=1), level_of(margin(logits, temperature)), truth.astype(np.intp))
        found = np.bincount(np.ravel_multi_index(places, (count, _LEVELS, count)), minlength=count * _LEVELS * count)
        return cls(patient, found.reshape(count, _LEVELS, count).astype(np.float64))


@dataclass(frozen=True)
class AreaErrors:
    """What a segmenter mistakes for what, of C classes.

    Attributes:
        right: (C, levels) share of right pixels, by class of the map and confidence.
        instead: (C, C) of the wrong pixels of a class, the share whose true class is which.
        spread: how far patients stray from what is expected of them, as a multiple of the area in doubt.
        noise: how far patches stray from their patient's, likewise.
        patch: px of tissue of a patch, at the resolution of the map.
        patients: how many were judged.
        patches: likewise.
    """

    right: Counts
    instead: Counts
    spread: float
    noise: float
    patch: float
    patients: int
    patches: int

    def to_json(self) -> dict[str, Any]:
        """For model.json."""
        arrays = {name: np.round(getattr(self, name), 6).tolist() for name in ("right", "instead")}
        numbers = {name: getattr(self, name) for name in ("spread", "noise", "patch", "patients", "patches")}
        return {"edges": list(EDGES), **arrays, **numbers}

    @classmethod
    def from_json(cls, content: Any, classes: int, source: Path | str) -> "AreaErrors | None":
        """Of model.json, which may come from anywhere; None where it says nothing, or has other levels.

        Raises:
            InputError: it says something else.
        """
        if content is None:
            return None
        try:
            if content["edges"] != list(EDGES):
                return None
            right = np.array(content["right"], np.float64).reshape(classes, _LEVELS)
            instead = np.array(content["instead"], np.float64).reshape(classes, classes)
            spread, noise, patch = (float(content[name]) for name in ("spread", "noise", "patch"))
            patients, patches = (int(content[name]) for name in ("patients", "patches"))
            shares = np.concatenate([right.ravel(), instead.ravel()])
            numbers = np.array([spread, noise, patch, patients, patches])
            if not (((shares >= 0) & (shares <= 1)).all() and ((numbers >= 0) & (numbers <= _MOST)).all()):
                raise ValueError
            if patch <= 0 or patients < 1:
                raise ValueError
        except (KeyError, TypeError, ValueError, OverflowError):
            raise InputError(
                f"{source}: area_errors: not what a model mistakes for what; export the model again"
            ) from None
        return cls(right, instead, spread, noise, patch, patients, patches)

    def shares(self, members: Collection[int]) -> Counts:
        """How likely the true class is one of `members`, (C, levels)."""
        own = np.isin(np.arange(len(self.right)), list(members))
        others = self.instead[:, own].sum(axis=1)
        return np.where(own[:, None], self.right, 0) + (1 - self.right) * others[:, None]

    def interval(self, pixels: Counts, members: Collection[int]) -> tuple[float, float]:
        """Between which numbers of pixels the true area of some classes together lies, `COVERAGE` of the time.

        What was measured is always in it.

        Args:
            pixels: of a map, (C, levels) by class and confidence.
            members: the classes.
        """
        total, shares = float(pixels.sum()), self.shares(members)
        if not total:
            return 0.0, 0.0
        expected, doubt = float((pixels * shares).sum()), float((pixels * shares * (1 - shares)).sum())
        freedom = self.patients * max(1, len(self.right) - 1)
        off = math.sqrt(self.spread**2 + self.noise**2 * min(1.0, self.patch / total))
        half = float(stats.t.ppf((1 + COVERAGE) / 2, freedom)) * off * doubt
        measured = float(pixels[list(members)].sum())
        return max(0.0, min(expected - half, measured)), min(total, max(expected + half, measured))


def area_errors(patches: Iterable[JudgedPatch], per_pixel: float = 1.0) -> AreaErrors | None:
    """What the validation patches say of areas; None where they are too few, or of one class.

    Args:
        patches: of the validation split.
        per_pixel: pixels of a patch for each that was counted.
    """
    found = [patch for patch in patches if patch.pixels.any()]
    patients = sorted({patch.patient for patch in found})
    if len(patients) < LEAST_PATIENTS or len(found) < LEAST_PATCHES or len(found[0].pixels) < 2:
        return None
    by_patient = [np.stack([patch.pixels for patch in found if patch.patient == one]) for one in patients]
    sums = [pixels.sum(axis=0) for pixels in by_patient]
    together = np.sum(sums, axis=0)
    patch = float(together.sum()) / len(found)
    strayed, doubted, scattered, scattered_doubts = 0.0, 0.0, 0.0, 0.0
    for own, pixels in zip(sums, by_patient, strict=True):
        off, doubt = _held_against(_matrix(together - own, patch), pixels)
        strayed += float((off.sum(axis=0) ** 2).sum())
        doubted += float((doubt.sum(axis=0) ** 2).sum())
        usual = np.divide(off.sum(axis=0), doubt.sum(axis=0), out=np.zeros(doubt.shape[1]), where=doubt.any(axis=0))
        scattered += float(((off - doubt * usual) ** 2).sum())
        scattered_doubts += float((doubt**2).sum())
    if not doubted:
        return None
    right, instead = _matrix(together, patch)
    spread, noise = math.sqrt(strayed / doubted), math.sqrt(scattered / scattered_doubts)
    plain = (round(spread, 4), round(noise, 4), round(patch * per_pixel, 1))
    return AreaErrors(right, instead, *plain, patients=len(patients), patches=len(found))


def _matrix(pixels: Counts, patch: float) -> tuple[Counts, Counts]:
    """`right` and `instead` of pixels (C, levels, C); levels that were hardly seen take after those of all classes."""
    classes, prior = len(pixels), _PRIOR * patch
    seen, hits = pixels.sum(axis=2), np.einsum("kbk->kb", pixels)
    middles = (np.array(EDGES[:-1]) + np.array(EDGES[1:])) / 2
    guess = 1 / classes + (1 - 1 / classes) * middles  # of a margin that says what it means
    usual = (hits.sum(axis=0) + prior * guess) / (seen.sum(axis=0) + prior)
    right = (hits + prior * usual) / (seen + prior)
    wrong = pixels.sum(axis=1) * (1 - np.eye(classes)) + prior / classes * (1 - np.eye(classes))
    return right, wrong / wrong.sum(axis=1, keepdims=True)


def _held_against(matrix: tuple[Counts, Counts], pixels: Counts) -> tuple[Counts, Counts]:
    """Of patches (N, C, levels, C): true less expected pixels of each class, and those in doubt, each (N, C)."""
    errors = AreaErrors(*matrix, spread=0, noise=0, patch=1, patients=1, patches=1)
    off, doubt = [], []
    for member in range(len(matrix[0])):
        shares, seen = errors.shares([member]), pixels.sum(axis=3)
        off.append(pixels[..., member].sum(axis=(1, 2)) - (seen * shares).sum(axis=(1, 2)))
        doubt.append((seen * shares * (1 - shares)).sum(axis=(1, 2)))
    return np.stack(off, axis=1), np.stack(doubt, axis=1)


def ratio_interval(above: Sequence[float], below: Sequence[float]) -> tuple[float, float | None]:
    """Between which values a ratio of two areas lies, by their intervals: the least over the most, and so on.

    The upper end is None where the lower area may be nothing.
    """
    low = above[0] / below[1] if below[1] else 0.0
    return low, above[1] / below[0] if below[0] > 0 else None
