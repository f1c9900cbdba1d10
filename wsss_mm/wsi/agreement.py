"""Whether what was made of a slide agrees: the finished map with its slide, its outlines and its picture.

Everything is read in bands and by features, so that a map of any size can be asked.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from wsss_mm.patches.images import read_image
from wsss_mm.slides import SlideReader
from wsss_mm.slides.artefacts import find_artefacts, is_affordable
from wsss_mm.slides.bands import MapLevel
from wsss_mm.slides.placement import explained_colors
from wsss_mm.slides.roi import Region
from wsss_mm.slides.tissue import find_tissue
from wsss_mm.vocabulary import IGNORE, Vocabulary
from wsss_mm.wsi.geojson import Written
from wsss_mm.wsi.outlines import read_outlines
from wsss_mm.wsi.overlay import artefacts_on, blended, picture_of
from wsss_mm.wsi.runs import find_components

_SIDE, _CELLS = 256, 16  # px of a slide's picture, and cells along it where tissue is compared
_POINTS = 20_000  # of a map, at which polygons are asked for their class
_CHANCE, _FEW = 6, 5  # standard deviations, and points more
_PLACES = 0.02  # level-0 px; outlines have two decimals


def tally(level: MapLevel) -> tuple[npt.NDArray[np.int64], float]:
    """Histogram (256) of a map, and how far neighbours agree beyond chance, 0..1: about 0 for shuffled pixels."""
    counts, same, pairs = np.zeros(256, np.int64), 0, 0
    for _, band in level.bands():
        counts += np.bincount(band.ravel(), minlength=256)
        left, right = band[:, :-1], band[:, 1:]
        known = (left != IGNORE) & (right != IGNORE)
        pairs, same = pairs + int(known.sum()), same + int((known & (left == right)).sum())
    tissue = counts[:IGNORE] / max(1, counts[:IGNORE].sum())
    chance = float((tissue**2).sum())
    return counts, (same / pairs - chance) / (1 - chance) if pairs and chance < 1 else 1.0


def expected_outlines(level: MapLevel, counts: Sequence[int], min_area: float) -> list[Written]:
    """What the GeoJSON of a map must hold of each class, given the pixels of each."""
    areas = [find_components(level, lambda band, value=value: band == value)[1] for value in range(len(counts))]
    kept = [of_class[of_class >= min_area] for of_class in areas]
    sums = [int(of_class.sum()) for of_class in kept]
    return [Written(len(k), s, int(n) - s) for k, s, n in zip(kept, sums, counts, strict=True)]


@dataclass
class Outlines:
    """What a GeoJSON holds, beside its map.

    Attributes:
        invalid: features that are no valid polygon of a known class.
        miscounted: polygons too many or too few.
        area_error: the largest difference of a class's area, relative.
        areas: what the polygons of each class enclose, px of the map.
        misplaced: points of the map in a polygon of another class, or in none though their islands cannot all be too
            small; and polygons that lie on another class.
        recolored: polygons that have another colour than their class.
    """

    invalid: int = 0
    miscounted: int = 0
    area_error: float = 0.0
    misplaced: int = 0
    recolored: int = 0
    areas: list[float] = field(default_factory=list)


def compare_outlines(
    path: Path,
    level: MapLevel,
    vocabulary: Vocabulary,
    written: Sequence[Written],
    *,
    factor: float,
    seed: int,
    tolerance: float = 0,
) -> Outlines:
    """Compare a GeoJSON with its map.

    Args:
        path: the GeoJSON.
        level: the map.
        vocabulary: its classes.
        written: what the GeoJSON must hold of each class.
        factor: level-0 px per px of the map.
        seed: of the random points.
        tolerance: px of the map by which outlines may lie off their regions; points as near as that to one say nothing.
    """
    import shapely

    found, values = Outlines(), {item.name: value for value, item in enumerate(vocabulary.classes)}
    height, width = level.shape
    pixels = height * width
    place = np.arange(pixels) if pixels <= _POINTS else np.random.default_rng(seed).integers(0, pixels, _POINTS)
    y, x = np.divmod(place, width)
    tree = shapely.STRtree(shapely.points((x + 0.25) * factor, (y + 0.25) * factor))  # the last centre may be cut off
    drawn, areas, polygons = np.full(len(place), IGNORE, np.uint8), np.zeros(len(written)), np.zeros(len(written), int)
    reach = tolerance * factor + _PLACES
    twice, near = np.zeros(len(place), int), np.zeros(len(place), bool)
    places: list[tuple[float, float, int]] = []
    for outline in read_outlines(path):
        value = values.get(outline.name) if isinstance(outline.name, str) else None
        if value is None or outline.polygon is None:
            found.invalid += 1
            continue
        inside = tree.query(outline.polygon, predicate="contains")
        twice[inside] += drawn[inside] != IGNORE
        drawn[inside] = value
        inner = outline.polygon.representative_point()
        border = outline.polygon.boundary if tolerance else None
        if border is not None:
            near[tree.query(border, predicate="dwithin", distance=reach)] = True
        if border is None or inner.distance(border) > reach:
            places.append((inner.y / factor, inner.x / factor, value))
        areas[value] += outline.polygon.area / factor**2
        polygons[value] += 1
        found.recolored += outline.color != list(vocabulary.colors[value])
    true = level.at(y, x)
    found.misplaced += int(twice[~near].sum() + ((drawn != IGNORE) & (drawn != true) & ~near).sum())
    row, column, value = np.floor(np.array(places).reshape(-1, 3)).astype(np.int64).T
    on_map = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    same = level.at(np.where(on_map, row, 0), np.where(on_map, column, 0)) == value
    found.misplaced += int((~(same & on_map)).sum())
    totals = np.array([item.pixels + item.dropped_pixels for item in written], float)
    least = max(1.0, totals.sum() / 100)  # of rare classes one clipped pixel would be much
    for value, item in enumerate(written):
        here = true == value
        share = item.dropped_pixels / max(1.0, totals[value])
        most = here.sum() * share + _CHANCE * np.sqrt(here.sum() * share * (1 - share)) + _FEW * (share > 0)
        found.misplaced += max(0, int((here & (drawn == IGNORE) & ~near).sum() - most))
        found.miscounted += abs(int(polygons[value]) - item.polygons)
        found.area_error = max(found.area_error, abs(areas[value] - item.pixels) / max(totals[value], least))
    found.areas = areas.tolist()
    return found


def off_by(areas: Sequence[float], written: Sequence[Written], codes: Sequence[str], most: float) -> str:
    """The classes whose polygons enclose another area than their regions have, by more than a share of that."""
    errors = [area / item.pixels - 1 if item.pixels else 0.0 for area, item in zip(areas, written, strict=True)]
    off = [f"{code} {error:+.1%}" for code, error in zip(codes, errors, strict=True) if abs(error) > most]
    return ", ".join(off) or "none"


@dataclass(frozen=True)
class View:
    """A slide and its map, small.

    Attributes:
        picture: (h, w, 3) RGB.
        labels: (h, w).
        inside: (h, w), the pixels that count.
        in_place: how well the map explains the colours, see `wsss_mm.slides.placement`.
        elsewhere: likewise, where it does not lie.
    """

    picture: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    inside: npt.NDArray[np.bool_]
    in_place: float
    elsewhere: float


def better_elsewhere(view: View, others: Iterable[View]) -> float:
    """By how much the colours of a slide are explained better by its map elsewhere, or by the map of another slide."""
    maps = (other.labels for other in others if other.labels.shape == view.labels.shape and other is not view)
    found = [explained_colors(view.picture, labels, view.inside, elsewhere=False)[0] for labels in maps]
    return max(view.in_place, view.elsewhere, *found) - view.in_place


def on_slide(
    level: MapLevel, reader: SlideReader, region: Region | None, vocabulary: Vocabulary, overlay: Path
) -> tuple[dict[str, float], View]:
    """The map and its overlay against the slide, on a small picture of it."""
    left, top, *sides = reader.bounds
    scale = max(sides) / _SIDE
    width, height = (max(1, round(side / scale)) for side in sides)
    picture = reader.read(left, top, (width, height), reader.mpp * scale)
    rows, columns = np.mgrid[:height, :width] + 0.5
    labels = level.at(
        (rows * level.shape[0] / height).astype(np.int64), (columns * level.shape[1] / width).astype(np.int64)
    )
    inside = np.ones((height, width), bool) if region is None else region.mask((left, top), (width, height), scale)
    tissue = find_tissue(reader)
    place = [
        np.clip((corner + at * scale) / step, 0, most - 1).astype(np.int64)
        for corner, at, step, most in zip(
            (top, left), (rows, columns), tissue.scale[::-1], tissue.mask.shape, strict=True
        )
    ]
    cells = (rows * _CELLS / height).astype(np.int64) * _CELLS + (columns * _CELLS / width).astype(np.int64)
    more = ((labels != IGNORE).astype(float) - tissue.mask[tuple(place)])[inside]
    view = View(picture, labels, inside, *explained_colors(picture, labels, inside))
    shown = picture_of(read_image(overlay), level.shape)
    expected = blended(picture, labels, vocabulary.classes).astype(float)
    error = 255.0
    if shown is not None:
        difference = np.abs(cv2.resize(shown, (width, height), interpolation=cv2.INTER_AREA) - expected).mean(axis=2)
        plain = ~_hatched(reader, (height, width))
        error = float(difference[plain].mean()) if plain.any() else 0.0
    tissue_error = float(np.abs(np.bincount(cells[inside], more)).sum() / max(1, inside.sum()))
    return {"tissue_error": tissue_error, "overlay_error": error}, view


def _hatched(reader: SlideReader, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Where an overlay has lines of artefacts, or their edges, which the map does not explain, on a picture (h, w)."""
    if not is_affordable(reader):
        return np.zeros(shape, bool)
    marks = artefacts_on(shape, find_artefacts(reader), reader.bounds)
    hatched = np.logical_or.reduce(list(marks.values())).astype(np.uint8)
    return cv2.dilate(hatched, np.ones((3, 3), np.uint8)) > 0
