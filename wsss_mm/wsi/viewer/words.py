"""How a slide was segmented, in the words of people who look at slides."""

from collections.abc import Mapping

_YES, _NO = "yes", "no"
_PX, _UM2, _UM = "px", "µm²", "µm"

_WORDS: Mapping[str, tuple[str, str]] = {
    "window": ("Field that the model sees at once", _PX),
    "overlap": ("Neighbouring fields share", ""),
    "weighting": ("Edges of a field", ""),
    "background_grey": ("Glass is what is brighter than", "of 255"),
    "tissue_mask": ("Glass found on a thumbnail first", ""),
    "leave_out_pen": ("Pen left out", ""),
    "leave_out_folds": ("Folds left out", ""),
    "leave_out_blur": ("Blurred tissue left out", ""),
    "min_hole": ("Holes filled up to", _UM2),
    "min_island": ("Smallest region in the outlines", _UM2),
    "simplify_um": ("Outlines simplified by at most", _UM),
    "geojson": ("Outlines for QuPath", ""),
    "geoparquet": ("Polygons as GeoParquet", ""),
    "ome_zarr": ("Map as OME-Zarr", ""),
    "dicom_seg": ("Map as DICOM-SEG", ""),
    "probabilities": ("Probabilities kept", ""),
    "confidence": ("Confidence kept", ""),
    "unsure_below": ("No class below a confidence of", ""),
}
_VALUES: Mapping[str, Mapping[str, str]] = {
    "weighting": {
        "linear": "count less than its middle",
        "gaussian": "count much less than its middle",
        "uniform": "count as much as its middle",
    },
    "geojson": {"plain": "as text", "gz": "compressed"},
    "unsure_below": {"off": "every pixel has one"},
}


def in_words(parameters: Mapping[str, str]) -> list[tuple[str, str]]:
    """Parameters of a segmentation as people call them, with their values and units; unknown ones as they are.

    Args:
        parameters: as `wsss_mm.wsi.viewer.results.Result` has them.
    """
    known = [name for name in _WORDS if name in parameters]
    return [_said(name, parameters[name]) for name in (*known, *sorted(parameters.keys() - known))]


def _said(name: str, value: str) -> tuple[str, str]:
    words, unit = _WORDS.get(name, (name.replace("_", " "), ""))
    value = _VALUES.get(name, {}).get(value, value)
    if name == "overlap":
        value = _percent(value)
    return words, f"{value} {unit}" if unit and value not in (_YES, _NO) else value


def _percent(value: str) -> str:
    try:
        return f"{100 * float(value):g} % of their side"
    except ValueError:
        return value
