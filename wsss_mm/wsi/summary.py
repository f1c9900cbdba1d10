"""Areas and shares of the classes on a slide."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsss_mm.slide_parameters import Parameters
from wsss_mm.vocabulary import TissueClass
from wsss_mm.wsi.geojson import Written

LEAST_STROMA = 0.01
"""Share of stroma in tumour and stroma below which their ratio is no number: it would be 100 and more, and depend on
some pixels."""
LEAST_RATIO_AREA = 0.01
"""mm2 of tumour and stroma together, a tenth of a millimetre square, below which it is none either."""


def class_figures(counts: np.ndarray, classes: Sequence[TissueClass], mpp: float) -> dict[str, dict[str, Any]]:
    """Figures of each class.

    Args:
        counts: pixels of each class, (C,).
        classes: in the same order.
        mpp: um/px of the map.

    Returns:
        By code: `name`, `color` (RGB), `area_mm2` and `share` of the tissue (None on a slide without any).
    """
    total, square_mm = int(counts.sum()), mpp**2 / 1e6
    return {
        item.code: {
            "name": item.name,
            "color": list(item.color),
            "area_mm2": int(count) * square_mm,
            "share": int(count) / total if total else None,
        }
        for item, count in zip(classes, counts, strict=True)
    }


def polygon_figures(written: Written, mpp: float) -> dict[str, Any]:
    """Further figures of a class: `polygons` in the GeoJSON, and the areas in it and in islands too small for it.

    Where polygons are simplified, also what these enclose; `polygon_area_mm2` is what the map has there.
    """
    square_mm = mpp**2 / 1e6
    simplified = {} if written.outlined is None else {"simplified_area_mm2": written.outlined * square_mm}
    return {
        "polygons": written.polygons,
        "polygon_area_mm2": written.pixels * square_mm,
        "dropped_area_mm2": written.dropped_pixels * square_mm,
        **simplified,
    }


def artefact_figures(areas: Mapping[str, float], parameters: Parameters) -> dict[str, dict[str, Any]]:
    """What is wrong with parts of a slide: `area_mm2` by cause, and whether that is background in the map."""
    return {cause: {"area_mm2": area, "left_out": cause in parameters.left_out} for cause, area in areas.items()}


def tumour_stroma_ratio(figures: Mapping[str, Mapping[str, Any]], classes: Sequence[TissueClass]) -> float | None:
    """Area of the classes whose role is tumour over that of those whose role is stroma.

    None where no class has one of these roles, where stroma is less than `LEAST_STROMA` of both, and where both are
    less than `LEAST_RATIO_AREA`: a ratio to next to nothing says nothing.
    """
    areas = [[figures[item.code]["area_mm2"] for item in classes if item.role == role] for role in ("tumour", "stroma")]
    if not all(areas):
        return None
    tumour, stroma = map(sum, areas)
    both = tumour + stroma
    return tumour / stroma if both >= LEAST_RATIO_AREA and stroma >= LEAST_STROMA * both else None
