"""A slide's results as a SpatialData object, which scverse tools (squidpy, napari-spatialdata) take."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from wsss_mm.errors import InputError
from wsss_mm.formats import read_object
from wsss_mm.places import LABEL_MAP, SLIDE_SUMMARY, SUMMARY
from wsss_mm.slides.labels import read_label_tiff
from wsss_mm.slides.pyramid import level_samples
from wsss_mm.vocabulary import IGNORE
from wsss_mm.wsi.outlines import outlines_of, read_outlines

if TYPE_CHECKING:
    from spatialdata import SpatialData

LABELS, REGIONS, AREAS = "segmentation", "regions", "areas"
"""Names of the label image, of the polygons, and of the table that tells of these."""

_REGION, _INSTANCE = "region", "region_id"


def to_spatialdata(folder: Path | str) -> "SpatialData":
    """A folder of results, such as `wsss-mm segment` writes, as labels, polygons and a table of areas.

    Everything lies in um from the upper left corner of what was scanned, the coordinate system `global`. `segmentation`
    is the label map, 1 for the first class and 0 for the background; `regions` has the polygons; `areas` is an AnnData
    with a row a polygon: its `class` in `obs`, and its mm2 as the only variable. `areas.uns` has the figures of the
    classes and the model's digest, as summary.json has them. All of it is in memory: a byte a pixel of the map.

    Args:
        folder: of a slide's results.

    Raises:
        InputError: it holds no results, or the extra is not installed.
    """
    try:
        import anndata
        import geopandas
        from spatialdata import SpatialData, models
        from spatialdata.transformations import Scale
    except ImportError as error:
        raise InputError(f"SpatialData: {error}; install the extra: pip install 'wsss-mm[spatialdata]'") from None
    folder = Path(folder)
    summary = read_object(folder / SUMMARY, SLIDE_SUMMARY)
    outlines = outlines_of(folder)
    if outlines is None:
        raise InputError(f"{folder}: has no GeoJSON of regions; segment the slide again")
    order = summary["model"]["classes"]
    codes = {summary["classes"][code]["name"]: code for code in order}
    found = [(codes[str(item.name)], item.polygon) for item in read_outlines(outlines) if item.polygon is not None]
    fine, coarse = summary["slide"]["mpp"], summary["mpp"]
    names = pd.Categorical([code for code, _ in found], order)
    regions = geopandas.GeoDataFrame({"class": names}, geometry=[polygon for _, polygon in found])
    obs = {_REGION: pd.Categorical([REGIONS] * len(found), [REGIONS]), _INSTANCE: range(len(found)), "class": names}
    table = anndata.AnnData(
        np.array([polygon.area * fine**2 / 1e6 for _, polygon in found], np.float64).reshape(-1, 1),
        obs=pd.DataFrame(obs, index=[str(number) for number in range(len(found))]),
        var=pd.DataFrame(index=["area_mm2"]),
        uns={"classes": summary["classes"], "weights_md5": summary["model"]["weights_md5"]},
    )
    labels = read_label_tiff(folder / LABEL_MAP)
    labels = np.where(labels == IGNORE, np.uint8(0), labels + np.uint8(1))

    halves = [2] * max(1, len(level_samples(labels.shape)) - 1)  # one at least: some releases write no single level

    def um(mpp: float) -> dict[str, Any]:
        return {"global": Scale([mpp, mpp], axes=("x", "y"))}

    image = models.Labels2DModel.parse(labels, dims=("y", "x"), scale_factors=halves, transformations=um(coarse))
    return SpatialData(
        labels={LABELS: image},
        shapes={REGIONS: models.ShapesModel.parse(regions, transformations=um(fine))},
        tables={AREAS: models.TableModel.parse(table, region=REGIONS, region_key=_REGION, instance_key=_INSTANCE)},
    )
