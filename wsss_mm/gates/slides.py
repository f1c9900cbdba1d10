"""Gate after `segment_slides`: do the products of each slide agree with each other?

Reads results/slides/<slide_id>/ as `wsss_mm.wsi.segment_slide` writes it, and the slides themselves. A cohort of
labelled patches has no slides: no rows pass, and the report says that there are none.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm.errors import InputError
from wsss_mm.gates.checks import Check, Table
from wsss_mm.gates.quarantine import PATH as QUARANTINE
from wsss_mm.gates.quarantine import quarantined
from wsss_mm.gates.reading import read_object
from wsss_mm.patches.manifest import get_vocabulary
from wsss_mm.patches.vocabulary import IGNORE, Vocabulary
from wsss_mm.settings import Params
from wsss_mm.slides import open_slide
from wsss_mm.slides.roi import read_region
from wsss_mm.slides.table import read_slide_table, resolve
from wsss_mm.slides.tissue import find_tissue

FOLDER = Path("results/slides")
COHORT = Path("data/cohort/slides.csv")

_MAKE = "dvc repro -f segment_slides"
_FILES = ("segmentation.tif", "segmentation.geojson", "overlay.png", "summary.json")
_COLUMNS = (
    "slide_id",
    "problem",
    "weights_md5",
    "precision",
    "size_error",
    "slide_error",
    "tissue_error",
    "mpp_error",
    "extent_error",
    "stray_pixels",
    "share_sum_error",
    "share_error",
    "invalid_polygons",
    "area_error",
)


def tables(params: Params, root: Path) -> Iterator[Table]:
    """Measure each slide's map, figures and polygons against each other."""
    folder = root / FOLDER
    if not folder.is_dir():
        raise InputError(f"{folder}: not found; make it with: {_MAKE}")
    vocabulary = get_vocabulary(params.cohort.vocabulary)
    slides = _wanted(root, params)
    found = {item.name for item in folder.iterdir() if item.is_dir()}
    rows = [
        _measure(folder / name, vocabulary, root / COHORT, slides.get(name)) for name in sorted(found | set(slides))
    ]
    frame, model = pd.DataFrame(rows, columns=list(_COLUMNS)), ["weights_md5", "precision"]
    yield Table("slides", frame.drop(columns=model), "slide_id", lambda gxe: _slide_checks(gxe, params))
    models = frame.groupby(model).size().reset_index(name="slides")
    yield Table("models", models, "weights_md5", _model_checks)


def _wanted(root: Path, params: Params) -> dict[str, Any]:
    """The slides that ought to be segmented: those with a file, of the chosen splits, not quarantined."""
    table = read_slide_table(root / COHORT, check_files=False)
    table = table[table["split"].isin(params.slides.splits) & (table["path"] != "")]
    aside = quarantined("slide", root / QUARANTINE)
    return {slide.slide_id: slide for slide in table.itertuples() if slide.slide_id not in aside}


def _measure(folder: Path, vocabulary: Vocabulary, table: Path, slide: Any) -> dict[str, Any]:
    """Measurements of one slide, or what prevents them: a bad slide does not take good ones with it."""
    row = {"slide_id": folder.name, "problem": "none"}
    if slide is None:
        return row | {"problem": "not among the slides to segment"}
    if not folder.is_dir():
        return row | {"problem": "not segmented"}
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        return row | {"problem": f"{', '.join(missing)} missing"}
    try:
        return row | _numbers(_compare(folder, vocabulary) | _against_slide(folder, table, slide))
    except InputError as error:
        return row | {"problem": str(error)}
    except Exception as error:  # broken files make TIFF and JSON readers raise anything
        return row | {"problem": f"{type(error).__name__}: {' '.join(str(error).split())}"}


def _numbers(measured: dict[str, Any]) -> dict[str, Any]:
    """The measurements, if none of them is NaN, which a check would pass over."""
    unknown = [name for name, value in measured.items() if isinstance(value, float) and math.isnan(value)]
    if unknown:
        raise InputError(f"no number for {', '.join(unknown)}")
    return measured


def _compare(folder: Path, vocabulary: Vocabulary) -> dict[str, Any]:
    summary = read_object(folder / "summary.json", _MAKE)
    figures = summary["classes"]
    if set(figures) != set(vocabulary.codes):
        raise InputError(f"classes are {', '.join(figures)}")
    size, mpp, counts = _read_map(folder / "segmentation.tif")
    mm2 = summary["mpp"] ** 2 / 1e6
    of_class = counts[: len(vocabulary)]
    areas = dict(zip(vocabulary.codes, of_class * mm2, strict=True))
    polygons, invalid = _polygon_areas(folder / "segmentation.geojson", vocabulary)
    slide_mm = summary["slide"]["mpp"] / 1e3
    expected = {code: area - figures[code]["dropped_area_mm2"] for code, area in areas.items()}
    found = {code: area * slide_mm**2 for code, area in polygons.items()}
    bounds = summary["slide"]["bounds"][2:]
    extent = [side * mpp / (wide * summary["slide"]["mpp"]) for side, wide in zip(size, bounds, strict=True)]
    total = float(of_class.sum())
    least = max(total * mm2 / 100, mm2)  # of rare classes one clipped pixel would be much
    shares = {code: figures[code]["share"] or 0.0 for code in vocabulary.codes}
    return {
        "weights_md5": str(summary["model"]["weights_md5"]),
        "precision": str(summary["model"]["precision"]),
        "size_error": max(abs(side - wide) for side, wide in zip(size, summary["size"], strict=True)),
        "mpp_error": abs(mpp / summary["mpp"] - 1),
        "extent_error": max(abs(ratio - 1) for ratio in extent),
        "stray_pixels": int(counts.sum() - total - counts[IGNORE]),
        "share_sum_error": abs(sum(shares.values()) - 1) if total else 0.0,
        "share_error": max(abs(shares[code] - areas[code] / (total * mm2 or 1.0)) for code in vocabulary.codes),
        "invalid_polygons": invalid,
        "area_error": max(abs(found[code] - expected[code]) / max(areas[code], least) for code in vocabulary.codes),
    }


def _against_slide(folder: Path, table: Path, slide: Any) -> dict[str, Any]:
    """The map against the slide: its size and mpp, and where there is tissue."""
    summary = read_object(folder / "summary.json", _MAKE)
    with open_slide(resolve(table, slide.path), None if pd.isna(slide.mpp) else slide.mpp) as reader:
        stated = [*summary["slide"]["bounds"], summary["slide"]["mpp"]]
        # JSON keeps six decimals
        errors = [abs(said - true) for said, true in zip(stated, [*reader.bounds, reader.mpp], strict=True)]
        region = read_region(resolve(table, slide.roi), reader.bounds[:2]) if slide.roi else None
        share = 1.0 if region is None else float(region.share([reader.bounds])[0])
        area = share * reader.bounds[2] * reader.bounds[3] * reader.mpp**2 / 1e6
        tissue = find_tissue(reader)
        if region is not None:
            inside = region.mask((0, 0), tissue.mask.shape[::-1], tissue.scale[0])
            tissue = replace(tissue, mask=tissue.mask & inside)
        expected = float(tissue.share([reader.bounds])[0]) / share
    mapped = sum(figures["area_mm2"] for figures in summary["classes"].values()) / area
    return {"slide_error": float(f"{max(errors):.5f}"), "tissue_error": abs(mapped - expected)}


def _read_map(path: Path) -> tuple[tuple[int, int], float, npt.NDArray[np.int64]]:
    """Width and height (px), um/px and the histogram (256) of a label map, tile by tile."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        if page.dtype != np.uint8:
            raise InputError(f"the map holds {page.dtype}, not uint8")
        counts = np.zeros(256, np.int64)
        for data, (_, _, top, left, _), _ in page.segments():
            if data is None:
                raise InputError("the map has an empty tile")
            inside = data[0, : page.imagelength - top, : page.imagewidth - left]  # tiles at the edge are padded
            counts += np.bincount(inside.ravel(), minlength=256)
        if page.tags["ResolutionUnit"].value != tifffile.RESUNIT.CENTIMETER:
            raise InputError("the map's resolution is not per centimetre")
        pixels, centimetres = page.tags["XResolution"].value
        return (page.imagewidth, page.imagelength), 1e4 * centimetres / pixels, counts


def _polygon_areas(path: Path, vocabulary: Vocabulary) -> tuple[dict[str, float], int]:
    """Area of each class's polygons, level-0 px2, and how many features are no valid polygon of a known class."""
    import shapely
    from shapely.geometry import shape

    content = json.loads(path.read_text(encoding="utf-8"))
    if content.get("type") != "FeatureCollection":
        raise InputError("the GeoJSON is no FeatureCollection")
    codes = {item.name: item.code for item in vocabulary.classes}
    areas, invalid = dict.fromkeys(vocabulary.codes, 0.0), 0
    for feature in content["features"]:
        code = codes.get(feature["properties"]["classification"]["name"])
        try:
            polygon = shape(feature["geometry"])
        except (ValueError, TypeError, KeyError, shapely.errors.ShapelyError):
            code, polygon = None, None
        if code is None or not polygon.is_valid or polygon.is_empty:
            invalid += 1
        else:
            areas[code] += polygon.area
    return areas, invalid


def _slide_checks(gxe: Any, params: Params) -> list[Check]:
    gate = params.gates.slides
    again = f"segment the slide again: {_MAKE}"

    def at_most(name: str, says: str, column: str, most: float) -> Check:
        # Slides without measurements fail `complete`, once is enough.
        expectation = gxe.ExpectColumnValuesToBeBetween(column=column, max_value=most)
        return Check(name, says, expectation, again, optional=True)

    return [
        Check(
            "complete",
            "each slide of slides.splits, and no other, has its files, and they can be read",
            gxe.ExpectColumnValuesToBeInSet(column="problem", value_set=["none"]),
            again,
        ),
        at_most("slide_as_stated", "bounds and um/px in the summary are those of the slide", "slide_error", 0),
        at_most(
            "tissue_area",
            f"the map's tissue differs from the tissue mask by at most {gate.max_tissue_error:.0%} of the slide, or of "
            "its region of interest",
            "tissue_error",
            gate.max_tissue_error,
        ),
        at_most("map_size", "the map is as wide and high as the summary says", "size_error", 0),
        at_most("map_mpp", "the map's um/px is the summary's", "mpp_error", 1e-3),
        at_most(
            "map_covers_slide",
            f"the map is as large as the slide in um, within {gate.max_mpp_error:.0%}",
            "extent_error",
            gate.max_mpp_error,
        ),
        at_most("known_values", "the map holds classes and ignore only", "stray_pixels", 0),
        at_most("shares_sum_to_one", "class shares add up to 1", "share_sum_error", gate.max_share_error),
        at_most("shares_match_map", "class shares are those of the map", "share_error", gate.max_share_error),
        at_most("valid_polygons", "the GeoJSON holds valid polygons of known classes", "invalid_polygons", 0),
        at_most(
            "polygons_match_map",
            f"polygons and dropped islands have the map's area in each class, within {gate.max_area_error:.0%}",
            "area_error",
            gate.max_area_error,
        ),
    ]


def _model_checks(gxe: Any) -> list[Check]:
    return [
        Check(
            "one_model",
            "all slides were segmented with the same model, in the same precision",
            gxe.ExpectTableRowCountToBeBetween(max_value=1),
            f"segment all slides again: {_MAKE}",
        )
    ]
