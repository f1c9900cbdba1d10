"""Polygons and their areas as GeoParquet, which geopandas, DuckDB, QGIS and GDAL open.

Version 1.1 of the format is a Parquet file whose metadata say which column holds geometries: pyarrow writes it, and
geopandas, which would do the same with all polygons in memory, is not needed.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from wsss_mm.files import atomic_path
from wsss_mm.slides.pyramid import RowMap
from wsss_mm.vocabulary import TissueClass
from wsss_mm.wsi.polygons import trace_regions
from wsss_mm.wsi.simplify import polygon_of, simplified

_AT_ONCE = 1024  # polygons in memory, and in a row group
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_COLUMNS = [
    ("class", pa.string()),
    ("name", pa.string()),
    ("color", pa.string()),
    ("area_mm2", pa.float64()),
    ("bbox", pa.struct([(side, pa.float64()) for side in _SIDES])),
    ("geometry", pa.binary()),
]
_GEO = {
    "version": "1.1.0",
    "primary_column": "geometry",
    "columns": {
        "geometry": {
            "encoding": "WKB",
            "geometry_types": ["Polygon"],
            "crs": None,  # px of a slide lie nowhere on Earth; without a word it would be longitude and latitude
            "covering": {"bbox": {side: ["bbox", side] for side in _SIDES}},
        }
    },
}


def write_geoparquet(
    path: Path,
    labels: RowMap,
    classes: Sequence[TissueClass],
    *,
    mpp: float,
    factor: float = 1.0,
    limits: tuple[int, int] | None = None,
    min_area: float = 0,
    tolerance: float = 0,
) -> None:
    """Write the polygons that `wsss_mm.wsi.geojson.write_geojson` writes, a row each, in the same order.

    Columns are the class's code, `name` and `color` (#rrggbb), `area_mm2`, which the region has in the map, `bbox` and
    `geometry`, both in level-0 px from the slide's bounds. The metadata say um/px of those under `wsss_mm.mpp`.

    Args:
        path: of the file.
        labels: label map (H, W).
        classes: in the order of label values.
        mpp: um/px of the map.
        factor: as for GeoJSON, and so are `limits`, `min_area` and `tolerance`.
        limits: likewise.
        min_area: likewise.
        tolerance: likewise.

    Raises:
        InputError: no space, or no permission to write.
    """
    metadata = {"geo": json.dumps(_GEO), "wsss_mm.mpp": repr(mpp / factor)}
    schema = pa.schema(_COLUMNS, metadata=metadata)

    def rows() -> Iterator[dict[str, Any]]:
        for value, item in enumerate(classes):
            color = "#{:02x}{:02x}{:02x}".format(*item.color)
            for region in trace_regions(labels, value, min_area, path.parent):
                polygon = polygon_of(simplified(region, tolerance, factor, limits), factor, limits)
                yield {
                    **{"class": item.code, "name": item.name, "color": color},
                    "area_mm2": region.area * mpp**2 / 1e6,
                    "bbox": dict(zip(_SIDES, polygon.bounds, strict=True)),
                    "geometry": shapely.to_wkb(polygon),
                }

    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as file:
        found = rows()
        while some := list(islice(found, _AT_ONCE)):
            file.write_table(pa.Table.from_pylist(some, schema))


def areas_of(path: Path) -> dict[str, tuple[int, float]]:
    """Number of polygons and their area in the map, mm2, of each class that a file has."""
    table = pq.read_table(path, columns=["class", "area_mm2"])
    codes, areas = np.array(table["class"].to_pylist(), object), table["area_mm2"].to_numpy()
    return {code: (int((codes == code).sum()), float(areas[codes == code].sum())) for code in sorted(set(codes))}
