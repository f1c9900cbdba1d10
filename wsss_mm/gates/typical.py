"""What is typical of a cohort, and what is odd beside it: focus, brightness and stain of its slides, or of its patches.

A value is odd outside of limits that are wide enough for any tissue, and far from what most of its group have: from the
median by more than so many quartile distances on its side, and by more than a factor. Both are taken of logarithms,
since what scanners and stains do multiplies: of densities, of the density that a brightness is, and of the amplitude
that focus is the square of. Each slide counts the same, however many patches it has.

Quartiles bear a quarter of odd slides on either side, and are themselves wide where half of the slides, or a third, are
of another scanner; so is the distance that is allowed. A group is a site with enough slides, else all slides. Where
these are too few, only the wide limits are left.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from wsss_mm.settings.gates import LooksGate

FINE = "none"
"""What is said of a value that is not odd."""
ODD = "odd_"
"""Before the name of a statistic: the column that says what is odd in it."""

_TINY = 1e-3  # stands for values without a logarithm; no limit is as low
_USUAL = (0.05, 0.95)  # of the slides lie between; shown to people

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """What is odd, and beside what.

    Attributes:
        said: by `ODD` and the statistic, for each row what is odd in it, or `FINE`; None where nothing was measured.
        like: by the same, the id of a row that is typical of the row's group; None where nobody knows.
        groups: one row a group: `group`, `slides`, and what is typical and what odd in each statistic.
    """

    said: pd.DataFrame
    like: Mapping[str, pd.Series]
    groups: pd.DataFrame


@dataclass(frozen=True)
class _Group:
    """Rows that are judged by each other."""

    name: str
    slides: int
    rows: npt.NDArray[np.bool_]  # that are judged by it
    members: npt.NDArray[np.bool_]  # that tell what is typical


@dataclass(frozen=True)
class _Typical:
    """Of a statistic in a group: what most have, what is allowed, and the row in the middle."""

    middle: float
    usual: tuple[float, float]
    allowed: tuple[float, float]
    row: int

    def __str__(self) -> str:
        return f"{_text(self.middle)}, from {_text(self.usual[0])} to {_text(self.usual[1])}"


def judge(rows: pd.DataFrame, index: str, limits: "LooksGate", statistics: tuple[str, ...]) -> Judged:
    """Hold each row against the others of its site, or of all sites, and against what is possible at all.

    Args:
        rows: a row a slide or patch: `index`, slide_id, site (empty or None where unknown) and the statistics.
        index: the column that names a row.
        limits: the gate's.
        statistics: of `wsss_mm.patches.appearance.STATISTICS`.
    """
    groups = _groups(rows, limits.min_typical_slides)
    said = {ODD + name: np.full(len(rows), None, object) for name in statistics}
    like = {ODD + name: np.full(len(rows), None, object) for name in statistics}
    table = []
    for group in groups:
        known = group.slides >= limits.min_typical_slides
        cells = {"group": group.name, "slides": group.slides}
        for name in statistics:
            values = rows[name].to_numpy(dtype=float)
            weights = _alike(rows["slide_id"], group.members & np.isfinite(values))
            typical = _typical(values, weights, name, limits) if known and weights.any() else None
            possible = limits.possible(name)
            judged = np.flatnonzero(group.rows & np.isfinite(values))
            for row in judged:
                said[ODD + name][row] = _said(name, values[row], possible, typical, group)
            if typical is None:
                cells[name] = "nothing measured" if known else f"{limits.min_typical_slides} slides or more would tell"
            else:
                like[ODD + name][judged] = rows[index].iloc[typical.row]
                cells[name] = f"{typical}; odd {_outside(_both(possible, typical.allowed))}"
        table.append(cells)
    return Judged(
        pd.DataFrame(said, index=rows.index),
        {name: pd.Series(found, rows.index, dtype=object) for name, found in like.items()},
        pd.DataFrame(table, columns=["group", "slides", *statistics]),
    )


def above_others(rows: pd.DataFrame, index: str, name: str, most: float) -> tuple[pd.Series, pd.Series]:
    """What is said of shares that are far above those of the other rows, and for each row another one that is typical.

    Most slides have none of what is measured so, and quartiles of that are nothing: each share is held against the
    median of all others, however few they are.

    Args:
        rows: a row a slide: `index`, and the share `name`, 0..1, NaN where it was not measured.
        index: the column that names a row.
        name: of the share.
        most: that it may be above the median of the others; what stands alone is held against none.
    """
    values = rows[name].to_numpy(dtype=float)
    said, like = np.full(len(rows), None, object), np.full(len(rows), None, object)
    known = np.flatnonzero(np.isfinite(values))
    for row in known:
        others = known[known != row]
        usual = float(np.median(values[others])) if len(others) else 0.0
        odd = values[row] > usual + most
        beside = f"the others have {usual:.0%}" if len(others) else "there is no other slide"
        said[row] = f"{name} {values[row]:.0%}, above {usual + most:.0%}; {beside}" if odd else FINE
        if len(others):
            like[row] = rows[index].iloc[others[np.abs(values[others] - usual).argmin()]]
    return pd.Series(said, rows.index, dtype=object), pd.Series(like, rows.index, dtype=object)


def _groups(rows: pd.DataFrame, enough: int) -> list[_Group]:
    """Sites with enough slides, then all others, who are judged by all slides there are."""
    sites = rows["site"].fillna("").astype(str)
    slides = rows["slide_id"].groupby(sites).transform("nunique")
    alone = ((sites != "") & (slides >= enough)).to_numpy()
    found = []
    for site in sorted(set(sites[alone])):
        of_site = (sites == site).to_numpy()
        found.append(_Group(f"site {site}", int(rows.loc[of_site, "slide_id"].nunique()), of_site, of_site))
    if not alone.all():
        found.append(_Group("all slides", int(rows["slide_id"].nunique()), ~alone, np.ones(len(rows), bool)))
    return found


def _alike(slides: pd.Series, members: npt.NDArray[np.bool_]) -> Numbers:
    """A weight for each row, such that those of a slide add up to one; zero for those that are no members."""
    weights = np.zeros(len(slides))
    of_slide = slides[members]
    weights[members] = 1 / of_slide.groupby(of_slide).transform("size")
    return weights


def _typical(values: Numbers, weights: Numbers, name: str, limits: "LooksGate") -> _Typical:
    members = np.flatnonzero(weights)
    scaled = _scaled(name, values[members])
    first, middle, third = _quantiles(scaled, weights[members], (0.25, 0.5, 0.75))
    factor = math.log(limits.odd_factor)
    floor = middle - max(limits.odd_spread * (middle - first), factor)
    ceiling = middle + max(limits.odd_spread * (third - middle), factor)
    least, most = limits.possible(name)
    inside = (scaled >= floor) & (scaled <= ceiling) & (values[members] >= least) & (values[members] <= most)
    if not inside.any():
        inside[:] = True
    low, high = _quantiles(scaled[inside], weights[members][inside], _USUAL)
    usual, allowed = (_unscaled(name, *ends) for ends in ((low, high), (floor, ceiling)))
    if name == "focus":  # nothing is too sharp
        allowed = (allowed[0], math.inf)
    typical = int(members[np.abs(scaled - middle).argmin()])
    return _Typical(_unscaled(name, middle, middle)[0], usual, allowed, typical)


def _quantiles(values: Numbers, weights: Numbers, shares: Sequence[float]) -> list[float]:
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order]) - weights[order] / 2
    return [float(value) for value in np.interp(np.array(shares) * weights.sum(), below, values[order])]


def _scaled(name: str, values: Numbers) -> Numbers:
    """Values where a factor is a distance."""
    if name == "focus":  # a variance: of twice the amplitude it is four times as large
        return np.log(np.maximum(values, _TINY)) / 2
    if name == "brightness":
        return np.log(np.maximum(-np.log10((values + 1) / 256), _TINY))
    return np.log(np.maximum(values, _TINY))


def _unscaled(name: str, low: float, high: float) -> tuple[float, float]:
    """The values, in their order, that two scaled ones stand for."""
    if name == "focus":
        return math.exp(2 * low), math.exp(2 * high)
    if name == "brightness":  # what is dense is dark
        return 256 * 10 ** -math.exp(high) - 1, 256 * 10 ** -math.exp(low) - 1
    return math.exp(low), math.exp(high)


def _said(name: str, value: float, possible: tuple[float, float], typical: _Typical | None, group: _Group) -> str:
    low, high = possible if typical is None else _both(possible, typical.allowed)
    if low <= value <= high:
        return FINE
    odd = f"below {_text(low)}" if value < low else f"above {_text(high)}"
    if typical is None:
        known = f"{group.slides} slide{'s are' if group.slides > 1 else ' is'} too few to say what is typical"
    else:
        known = f"typical {'here' if group.name == 'all slides' else f'of {group.name}'} {typical}"
    return f"{name} {_text(value)}, {odd}; {known}"


def _text(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _both(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """What two limits allow."""
    return max(one[0], other[0]), min(one[1], other[1])


def _outside(limits: tuple[float, float]) -> str:
    below = f"below {_text(limits[0])}"
    return below if math.isinf(limits[1]) else f"{below} or above {_text(limits[1])}"
