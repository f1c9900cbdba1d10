"""Which levels of a pyramid are downsamples of level 0, and by which factor: pure functions over sizes.

A level says its size, which is rounded, or padded to whole tiles, or that of another picture altogether. OpenSlide
takes the mean of both ratios of sizes for the factor. Here it is the factor that explains both sides:

- A side that is rounded, whichever way, is less than a pixel from the quotient. What is left are a few thousandths
  around the ratio of the longer side; a power of two in there is the factor, then a power of the first level's factor,
  then a whole number. Other factors come from resampling to the rounded size: between that and the simplest fraction,
  which is within half a pixel of both.
- A side of whole tiles may be padded by less than a tile (by less than two where each level is made of the padded one
  before). The factor that continues finer levels explains it, or a power of two, or a whole number, but only one.

What nothing explains is no downsample: a picture of the glass, or a level of which nobody can say where it lies.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise

Size = tuple[int, int]

_STATED = 1e-6  # a driver's own factor differs from the mean of ratios by more, or it does not matter
_SIMPLE = 5  # fractions of larger denominators are nobody's choice
_NEXT = 1.1  # a level is coarser than the one before by more than this


@dataclass(frozen=True)
class Level:
    """A downsample of level 0.

    Attributes:
        number: OpenSlide's.
        factors: level-0 px per px of the level, of x and of y.
        size: width and height of the part that shows the slide, px of the level; what lies beyond is padding.
        extent: width and height of the slide, px of the level, rounded up: where that is one more than `size`, the
            level was cut to whole pixels.
        divisor: OpenSlide's downsample, by which it divides the level-0 positions it is asked for.
    """

    number: int
    factors: tuple[float, float]
    size: Size
    extent: Size
    divisor: float

    @property
    def step(self) -> float:
        """Level-0 px per px, of the coarser axis."""
        return max(self.factors)


def true_levels(
    sizes: Sequence[Size], tiles: Sequence[Size], downsamples: Sequence[float] | None = None
) -> list[Level]:
    """The levels that are downsamples of level 0, from level 0 on.

    Args:
        sizes: width and height of each level, px.
        tiles: width and height of each level's tiles, px; 0 where the format has none.
        downsamples: OpenSlide's. Where one is not the mean of the ratios of sizes, the format states it: it is taken.
    """
    means = [_mean(sizes[0], size) for size in sizes]
    divisors = means if downsamples is None else downsamples
    levels, nominal, stated = [_level(0, sizes[0], sizes[0], 1.0, divisors[0])], [1.0], set()
    for number in range(1, len(sizes)):
        size = sizes[number]
        if abs(divisors[number] / means[number] - 1) > _STATED:
            factor = divisors[number]
            stated.add(number)
        else:
            factor = _factor(sizes[0], size, tiles[number], nominal, regular=len(nominal) == number)
        if factor:
            nominal.append(factor)
            levels.append(_level(number, sizes[0], size, factor, divisors[number]))
    if any(_is_power(factor, 2) for factor in nominal[1:]):  # one family; what is not of it is a picture by the way
        pairs = zip(levels, nominal, strict=True)
        levels = [level for level, factor in pairs if level.number in stated or _is_power(factor, 2)]
    return levels


def _level(number: int, whole: Size, size: Size, factor: float, divisor: float) -> Level:
    across, down = factor, factor
    if factor not in (divisor, round(factor)):  # a level resampled to whole pixels
        across, down = (2 * n0 / (n + n0 / factor) for n0, n in zip(whole, size, strict=True))
    width, height = (math.ceil(n0 / each) for n0, each in zip(whole, (across, down), strict=True))
    shown = (min(size[0], width), min(size[1], height))
    extent = (min(width, shown[0] + 1), min(height, shown[1] + 1))
    return Level(number, (across, down), shown, extent, divisor)


def _factor(whole: Size, size: Size, tile: Size, finer: Sequence[float], *, regular: bool) -> float | None:
    """Level-0 px per px of a level, after those of `finer` ones; None if not exactly one explains both its sides.

    `regular`: it may go on as those do, of which none was left out.
    """
    least = finer[-1] * _NEXT
    rounded = _of_rounded(finer, least, *_explained(whole, size))
    padding = tuple(t if t and n % t == 0 else 0 for n, t in zip(size, tile, strict=True))
    exact = rounded is not None and all(n * rounded == n0 for n0, n in zip(whole, size, strict=True))
    if exact and rounded is not None and float(rounded).is_integer():
        return rounded
    for tiles in (1, 2) if any(padding) else ():
        bounds = _explained(whole, size, (tiles * padding[0], tiles * padding[1]))
        found = _next_factors(finer if regular else (), least, *bounds)
        if found:
            other = rounded is not None and rounded != found[0]
            if len(found) > 1 or (other and _is_simple(rounded, 1 if len(finer) > 1 else _SIMPLE)):
                return None
            return found[0]
    return rounded


def _of_rounded(finer: Sequence[float], least: float, low: float, high: float) -> float | None:
    low = max(low, least)
    for base in (2.0, *finer[1:2]):
        for power in _powers(base, low, high):
            return power
    return float(_simplest(Fraction(low), Fraction(high))) if low < high else None


def _explained(whole: Size, size: Size, padding: Size = (0, 0)) -> tuple[float, float]:
    """Open interval of the factors that explain the size of a level of which up to `padding` px are none of it."""
    low = max(n0 / (n + 1) for n0, n in zip(whole, size, strict=True))
    least = (n - (more or 1) for n, more in zip(size, padding, strict=True))
    return low, min(n0 / n if n > 0 else math.inf for n0, n in zip(whole, least, strict=True))


def _next_factors(finer: Sequence[float], least: float, low: float, high: float) -> list[float]:
    """The next factor of finer levels that are regular, if it lies between; else powers of two, else whole numbers.

    Two at most, which are one too many.
    """
    low = max(low, least)
    ratios = {after / before for before, after in pairwise(finer)}
    if len(ratios) == 1 and low < (following := finer[-1] * ratios.pop()) < high:
        return [following]
    first = math.floor(low) + 1
    return [*_powers(2.0, low, high)] or [float(factor) for factor in (first, first + 1) if factor < high]


def _powers(base: float, low: float, high: float) -> Iterator[float]:
    """The powers of `base` above `low` and below `high`, two at most."""
    exponent = max(1, math.floor(math.log(low, base)))
    powers = (base ** (exponent + more) for more in range(4))
    return islice((power for power in powers if low < power < high), 2)


def _simplest(low: Fraction, high: Fraction) -> Fraction:
    """The fraction of the smallest denominator between two others."""
    whole = math.floor(low) + 1
    if whole < high:
        return Fraction(whole)
    rest_low, rest_high = low - (whole - 1), high - (whole - 1)
    if rest_low == 0:
        return whole - 1 + Fraction(1, math.floor(1 / rest_high) + 1)
    return whole - 1 + 1 / _simplest(1 / rest_high, 1 / rest_low)


def _is_simple(factor: float, largest: int) -> bool:
    return abs(Fraction(factor).limit_denominator(largest) - factor) < _STATED


def _mean(whole: Size, size: Size) -> float:
    return (whole[0] / size[0] + whole[1] / size[1]) / 2


def _is_power(value: float, base: float) -> bool:
    return base ** round(math.log(value, base)) == value
