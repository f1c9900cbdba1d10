"""Whether tissue looks like what a model was trained on: its stain, focus and grain, and all together.

Each patch becomes a few numbers: the mean density of haematoxylin, of eosin and of what is neither, and how much both
stains vary over 1, 2, 4 and 8 pixels. A model carries their mean and covariance over its training patches. How unlike
other tissue is, is the Mahalanobis distance (P. C. Mahalanobis, 1936) of its median patch. What is unlike is said by
the slides of the training themselves, each held against the others. No network is asked: what one has never seen it
does not report.

Nuclei have a size, so the same tissue read at twice or half its mpp varies over other lengths. Tissue that is clearly
more like the training when it is read at another mpp has the wrong one.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtrit

from wsss_mm.errors import InputError
from wsss_mm.patches.appearance import DENSITY, image_statistics, unmixing
from wsss_mm.patches.images import GLASS_GREY, Pixels

Looks = Mapping[str, Any]
"""As model.json and summary.json have them."""

LEAST_TISSUE = 0.5
"""Share of a patch below which it is not looked at: borders of glass have a texture of their own."""
LEAST_PATCHES = 40
"""Of a training, below which nothing is said: a covariance of so many numbers would mean nothing."""
LEAST_WINDOWS = 4
"""Of a slide, below which it is not compared."""
RANGES = ("haematoxylin", "eosin", "focus", "grain")
"""Figures of a patch that are compared each by itself, see `TissueLook`."""
UNLIKENESS = "unlikeness"
"""The figure of all together."""

_SIGMAS = (1, 2, 4, 8)  # px
_NUMBERS = 3 + 2 * len(_SIGMAS)
_LEAST_ENERGY = 1e-6
_RIDGE = 1e-2  # of the correlation: lengths that vary together are not trusted to the last digit
_TAILS = (0.01, 0.99)
_WIDER, _FURTHER = 0.25, 1.25  # what a slide may be beyond the training's patches, and its slides
_ALARMS, _FURTHEST = 0.01, 2.0  # share of slides that `_further` allows for, and the most that it widens by
_USUAL = 0.95  # of the training's slides lie closer than the limit allows for
_CLOSER = 0.85  # of the distance: clearly more alike at another mpp
_MOST_PATCHES = 2000
_LARGEST = 4096  # px, of a patch
_UNMIXING = unmixing().T.astype(np.float32)


@dataclass(frozen=True)
class TissueLook:
    """What a patch looks like.

    Attributes:
        numbers: those of which the distance is made.
        figures: `haematoxylin`, `eosin` (mean optical density) and `focus`, see `image_statistics`; `grain`, the length
            over which haematoxylin varies, px.
    """

    numbers: npt.NDArray[np.float64]
    figures: Mapping[str, float]


def measure_look(image: Pixels) -> TissueLook | None:
    """Measure an image (H, W, 3) uint8 RGB; None where less than half of it is tissue."""
    tissue = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) <= GLASS_GREY
    if tissue.mean() < LEAST_TISSUE:
        return None
    stains = cv2.split(cv2.transform(cv2.LUT(image, DENSITY), _UNMIXING))
    energies = np.array([_energies(stain, tissue) for stain in stains[:2]])
    means = [float(stain[tissue].mean(dtype=np.float64)) for stain in stains]
    statistics = image_statistics(image)
    grain = 2 ** float((energies[0] * np.log2(_SIGMAS)).sum() / energies[0].sum())
    figures = {name: statistics[name] for name in RANGES if name in statistics} | {"grain": grain}
    return TissueLook(np.concatenate([means, np.log(energies).ravel()]), figures)


def _energies(stain: npt.NDArray[Any], tissue: npt.NDArray[np.bool_]) -> list[float]:
    """Mean square of what a stain loses by each further blur, where there is tissue."""
    found, before = [], stain
    for sigma in _SIGMAS:
        blurred = cv2.GaussianBlur(before, (0, 0), sigma)
        found.append(float(np.square(before - blurred)[tissue].mean(dtype=np.float64)) + _LEAST_ENERGY)
        before = blurred
    return found


@dataclass(frozen=True)
class Appearance:
    """What the training patches of a model looked like.

    Attributes:
        size: of the patches, px.
        mean: of the numbers of `TissueLook`.
        deviation: likewise.
        correlation: between them.
        limit: distance beyond which a slide's median patch is unlike them.
        ranges: by figure of `RANGES` the least and the most that a slide's median may be.
        patches: how many were measured.
        slides: of how many slides.
    """

    size: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    correlation: tuple[tuple[float, ...], ...]
    limit: float
    ranges: Mapping[str, tuple[float, float]]
    patches: int
    slides: int

    def to_json(self) -> dict[str, Any]:
        """For model.json."""
        return {
            **{name: getattr(self, name) for name in ("size", "limit", "patches", "slides")},
            **{name: list(getattr(self, name)) for name in ("mean", "deviation")},
            "correlation": [list(row) for row in self.correlation],
            "ranges": {name: list(ends) for name, ends in self.ranges.items()},
        }

    @classmethod
    def from_json(cls, content: Any, source: Path | str) -> "Appearance | None":
        """Of model.json, which may come from anywhere; None where it says nothing.

        Raises:
            InputError: it says something else.
        """
        if content is None:
            return None
        try:
            low, high = zip(*(_finite(content["ranges"][name], 2) for name in RANGES), strict=True)
            found = cls(
                size=int(content["size"]),
                mean=_finite(content["mean"], _NUMBERS),
                deviation=_finite(content["deviation"], _NUMBERS),
                correlation=tuple(_finite(row, _NUMBERS) for row in _listed(content["correlation"], _NUMBERS)),
                limit=_finite([content["limit"]], 1)[0],
                ranges=dict(zip(RANGES, zip(low, high, strict=True), strict=True)),
                patches=int(content["patches"]),
                slides=int(content["slides"]),
            )
            if min(*found.deviation, found.size, found.limit) <= 0 or found.size > _LARGEST:
                raise ValueError
            np.linalg.cholesky(found._spread)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, np.linalg.LinAlgError):
            raise InputError(
                f"{source}: appearance: not what training patches look like; export the model again"
            ) from None
        return found

    @property
    def _spread(self) -> npt.NDArray[np.float64]:
        return np.array(self.correlation) + _RIDGE * np.eye(len(self.mean))

    def distances(self, numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """How unlike patches (N, D) are, (N,)."""
        off = (numbers - np.array(self.mean)) / np.array(self.deviation)
        return np.sqrt(np.einsum("ni,ij,nj->n", off, np.linalg.inv(self._spread), off))

    def unlikeness(self, patches: Sequence[TissueLook]) -> float:
        """How unlike the median patch is."""
        return float(np.median(self.distances(np.stack([patch.numbers for patch in patches]))))


def _listed(values: Any, count: int) -> list[Any]:
    if not isinstance(values, list | tuple) or len(values) != count:
        raise ValueError
    return list(values)


def _finite(values: Any, count: int) -> tuple[float, ...]:
    found = tuple(map(float, _listed(values, count)))
    if not all(map(math.isfinite, found)):
        raise ValueError
    return found


def appearance_of(patches: Iterable[tuple[str, Callable[[], Pixels]]], size: int) -> Appearance | None:
    """What training patches look like; None where too few of them are mostly tissue.

    Args:
        patches: the slide of each, and what reads it; at most 2000 of them are, evenly taken.
        size: px.
    """
    patches = list(patches)
    count = min(len(patches), _MOST_PATCHES)
    taken = (patches[index * len(patches) // count] for index in range(count))
    found = [(slide, one) for slide, read in taken if (one := measure_look(read())) is not None]
    if len(found) < LEAST_PATCHES:
        return None
    slides, numbers = np.array([slide for slide, _ in found]), np.stack([one.numbers for _, one in found])
    ranges = {}
    for name in RANGES:
        low, high = np.quantile([one.figures[name] for _, one in found], _TAILS)
        ranges[name] = (low - _WIDER * (high - low), high + _WIDER * (high - low))
    count = len(set(slides))
    of_all = _fitted(numbers, size, ranges, count)
    far, held_out = [_further(count) * np.quantile(of_all.distances(numbers), _TAILS[1])], []
    for slide in sorted(set(slides)):
        own = slides == slide
        if (~own).sum() >= LEAST_PATCHES:
            others = _fitted(numbers[~own], size, ranges, 1)
            held_out.append(float(np.median(others.distances(numbers[own]))))
    if held_out:
        far.append(_FURTHER * np.quantile(held_out, _USUAL))
    return _fitted(numbers, size, ranges, count, float(max(far)))


def _further(slides: int) -> float:
    """How much further than the patches of so many slides another slide of their kind may be.

    The fewer slides, the less is known of how slides differ: the logarithm grows as a prediction of one more does, with
    Student's t in place of the normal distribution, times sqrt(1 + 1/n). Slides that were held out need none of it:
    they are measured against one slide less.
    """
    if slides < 2:
        return _FURTHEST
    wider = stdtrit(slides - 1, _ALARMS) / ndtri(_ALARMS) * math.sqrt(1 + 1 / slides)
    return min(_FURTHEST, _FURTHER ** float(wider))


def _fitted(
    numbers: npt.NDArray[np.float64],
    size: int,
    ranges: Mapping[str, tuple[float, float]],
    slides: int,
    limit: float = 1.0,
) -> Appearance:
    deviation = np.maximum(numbers.std(axis=0), 1e-4)
    off = (numbers - numbers.mean(axis=0)) / deviation
    rounded = {
        "mean": tuple(np.round(numbers.mean(axis=0), 6).tolist()),
        "deviation": tuple(np.round(deviation, 6).tolist()),
        "correlation": tuple(map(tuple, np.round(off.T @ off / len(off), 6).tolist())),
    }
    plain = {name: (round(float(low), 6), round(float(high), 6)) for name, (low, high) in ranges.items()}
    return Appearance(size=size, limit=round(limit, 6), ranges=plain, patches=len(numbers), slides=slides, **rounded)


def compared(
    appearance: Appearance,
    patches: Sequence[TissueLook],
    at_other_mpp: Mapping[float, tuple[Sequence[TissueLook], Sequence[TissueLook]]],
    mpp: float,
) -> dict[str, Any]:
    """Hold a slide's tissue against that of a training.

    Args:
        appearance: of the training.
        patches: of the slide, at the model's mpp by what the slide says.
        at_other_mpp: by a factor on the slide's mpp: some of these patches, and the same places read as if it were
            that.
        mpp: um/px at level 0, as the slide says.

    Returns:
        `windows`, their number; `figures`, of each what was `found`, the `least` and the `most` of the training;
        `mpp`, what level 0 seems to have, None where nothing speaks for another; `warning`, a line, None where there
        is none.
    """
    if len(patches) < LEAST_WINDOWS:
        return {"windows": len(patches), "figures": {}, "mpp": None, "warning": None}
    figures = {UNLIKENESS: {"found": appearance.unlikeness(patches), "least": 0.0, "most": appearance.limit}}
    for name in RANGES:
        low, high = appearance.ranges[name]
        median = float(np.median([patch.figures[name] for patch in patches]))
        figures[name] = {"found": median, "least": low, "most": high}
    out = [name for name, item in figures.items() if not item["least"] <= item["found"] <= item["most"]]
    factor = _likelier(appearance, at_other_mpp)
    says = []
    if out:
        listed = ", ".join(_shown(name, figures[name]) for name in sorted(out, key=UNLIKENESS.__eq__))
        says.append(f"its tissue is unlike what the model was trained on: {listed}")
    if factor is not None:
        says.append(
            f"its tissue is like that at {mpp * factor:g} um/px, and it is said to have {mpp:g}: is that right?"
        )
    return {
        "windows": len(patches),
        "figures": figures,
        "mpp": None if factor is None else mpp * factor,
        "warning": "; ".join(says) or None,
    }


def _shown(name: str, figure: Mapping[str, float]) -> str:
    if name == UNLIKENESS:
        return f"{name} {figure['found']:.4g} (at most {figure['most']:.4g})"
    return f"{name} {figure['found']:.4g} (training {figure['least']:.4g} to {figure['most']:.4g})"


def _likelier(
    appearance: Appearance, at_other_mpp: Mapping[float, tuple[Sequence[TissueLook], Sequence[TissueLook]]]
) -> float | None:
    """The factor on the mpp with which a slide is clearly more like the training; None where there is none."""
    best = (1.0, None)
    for factor, (here, there) in at_other_mpp.items():
        if min(len(here), len(there)) < LEAST_WINDOWS:
            continue
        own, other = appearance.unlikeness(here), appearance.unlikeness(there)
        if other <= appearance.limit and other / own < min(_CLOSER, best[0]):
            best = (other / own, factor)
    return best[1]
