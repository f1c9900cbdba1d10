"""Outlines with fewer points: what lies nearly on a line between two corners of a region is left out.

Each region is simplified by itself (Douglas-Peucker, which keeps rings apart), so the outlines of neighbours may part
or overlap by as much as the tolerance. A ring so small that three points do not hold it within that stays exact, and so
does a region whose rings would cross.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import shapely

from wsss_mm.wsi.polygons import TracedRegion

_FEWEST = 8  # points; an outline of no more has nothing to lose
_LEAST = 3  # points of a ring
_LESS = 1, 0.5, 0.25  # of the tolerance, where rings cross with more


def simplified(
    region: TracedRegion, tolerance: float, factor: float = 1.0, limits: tuple[int, int] | None = None
) -> TracedRegion:
    """A region whose outline has some of its points, and moves by at most a tolerance.

    Args:
        region: as `wsss_mm.wsi.polygons.trace_regions` gives it; its `area` stays that of the map.
        tolerance: px of the map.
        factor: see `level0`.
        limits: likewise.
    """
    if tolerance <= 0 or len(region.exterior) + sum(map(len, region.holes)) <= _FEWEST:
        return region
    for share in _LESS:
        exterior, *holes = _rings(region, tolerance * share)
        drawn = replace(region, exterior=exterior, holes=holes)
        if polygon_of(drawn, factor, limits).is_valid:
            return drawn
    return region


def polygon_of(region: TracedRegion, factor: float, limits: tuple[int, int] | None) -> shapely.Polygon:
    """The polygon of a region as files have it; see `level0`."""
    exterior, *holes = (level0(ring, factor, limits) for ring in (region.exterior, *region.holes))
    return shapely.Polygon(exterior, holes)


def level0(points: np.ndarray, factor: float, limits: tuple[int, int] | None) -> np.ndarray:
    """Points of the lattice in level-0 px; rounding is monotone, so what is valid on the lattice stays valid.

    Args:
        points: (n, 2) x, y in px of the map.
        factor: level-0 px per px of the map.
        limits: width and height that no coordinate exceeds, level-0 px.
    """
    scaled = np.round(points * factor, 2)
    return scaled if limits is None else np.minimum(scaled, limits)


def _rings(region: TracedRegion, tolerance: float) -> Iterator[np.ndarray]:
    """Exterior and holes with fewer points, or as they are where these would not be as near as the tolerance."""
    fewer = shapely.simplify(shapely.Polygon(region.exterior, region.holes), tolerance, preserve_topology=True)
    exact = (region.exterior, *region.holes)
    rings = (fewer.exterior, *fewer.interiors) if fewer.geom_type == "Polygon" else ()
    if len(rings) != len(exact):
        yield from exact
        return
    for ring, points in zip(rings, exact, strict=True):
        shapely.prepare(ring)
        near = shapely.dwithin(ring, shapely.points(points), tolerance).all()
        yield _open(ring) if near else _alone(points, tolerance)


def _alone(points: np.ndarray, tolerance: float) -> np.ndarray:
    """A ring with fewer points that keeps its first, without a look at others; itself if too few would be left."""
    line = shapely.LineString([*points, points[0]])
    fewer = _open(shapely.simplify(line, tolerance, preserve_topology=False))
    return fewer if len(fewer) >= _LEAST else points


def _open(ring: shapely.LineString) -> np.ndarray:
    """Lattice points of a closed line, the first once."""
    return np.rint(shapely.get_coordinates(ring)[:-1]).astype(np.int64)
