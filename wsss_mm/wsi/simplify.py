"""Outlines with fewer points: what lies nearly on a line between two corners of a region is left out.

Each region is simplified by itself (Douglas-Peucker, which keeps rings apart), so the outlines of neighbours may part
or overlap by as much as the tolerance. What no longer is a valid polygon keeps its exact outline, and so does a region
so small that three points do not hold it within the tolerance.
"""

from dataclasses import replace

import numpy as np
import shapely

from wsss_mm.wsi.polygons import Region

_FEWEST = 8  # points; an outline of no more has nothing to lose


def simplified(region: Region, tolerance: float, factor: float = 1.0, limits: tuple[int, int] | None = None) -> Region:
    """A region whose outline has some of its points, and moves by at most a tolerance.

    Args:
        region: as `wsss_mm.wsi.polygons.trace_regions` gives it; its `area` stays that of the map.
        tolerance: px of the map.
        factor: see `level0`.
        limits: likewise.
    """
    if tolerance <= 0 or len(region.exterior) + sum(map(len, region.holes)) <= _FEWEST:
        return region
    polygon = shapely.Polygon(region.exterior, region.holes)
    fewer = shapely.simplify(polygon, tolerance, preserve_topology=True)
    same = fewer.geom_type == "Polygon" and len(fewer.interiors) == len(region.holes)
    if not same or not _holds(fewer, polygon, tolerance):
        return region
    exterior, *holes = (_points(ring) for ring in (fewer.exterior, *fewer.interiors))
    drawn = replace(region, exterior=exterior, holes=holes)
    return drawn if polygon_of(drawn, factor, limits).is_valid else region


def polygon_of(region: Region, factor: float, limits: tuple[int, int] | None) -> shapely.Polygon:
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


def _holds(fewer: shapely.Polygon, exact: shapely.Polygon, tolerance: float) -> bool:
    """Whether each point that an outline had is as near to the new one as the tolerance."""
    border = fewer.boundary
    shapely.prepare(border)
    return bool(shapely.dwithin(border, shapely.points(shapely.get_coordinates(exact)), tolerance).all())


def _points(ring: shapely.LinearRing) -> np.ndarray:
    """Lattice points of a ring, not closed."""
    return np.rint(shapely.get_coordinates(ring)[:-1]).astype(np.int64)
