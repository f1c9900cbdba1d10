"""Memory of the GeoJSON export of a map with 10^5 polygons, from a file to a file: at most 500 MiB.

The map is synthetic: four classes and background, blobs with rough edges, holes and islands, one large field mirrored
from tile to tile. A process of its own loads the exporter, notes its memory, exports, and notes its peak.

    python -m benchmarks.geojson_export
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

from benchmarks.command import Option, in_children, peak_above, run
from benchmarks.rows import Measurement
from wsss_mm.vocabulary import IGNORE, get_vocabulary
from wsss_mm.wsi.geojson import write_geojson
from wsss_mm.wsi.rawmap import RawMap

TILE = 2048
CLASSES = get_vocabulary("lung").classes
OPTIONS = {
    "side": Option(16_384, 2048, "px, of the square map"),
    "sigma": Option(12.0, 12.0, "px, of the blobs"),
    "min_area": Option(50.0, 50.0, "px, of the smallest island exported"),
}


def make_map(path: Path, side: int, sigma: float) -> RawMap:
    rng = np.random.default_rng(0)
    scores = np.stack([ndimage.gaussian_filter(rng.standard_normal((TILE, TILE), np.float32), sigma) for _ in range(5)])
    scores += 0.1 * scores.std() * rng.standard_normal(scores.shape, np.float32)  # as ragged as a network's maps
    tile = scores.argmax(axis=0).astype(np.uint8)
    tile[tile == len(CLASSES)] = IGNORE
    row = np.concatenate([tile, tile[:, ::-1]], axis=1)
    row = np.tile(row, (1, -(-side // row.shape[1])))[:, :side]
    made = RawMap(path, (side, side))
    for number, top in enumerate(range(0, side, TILE)):
        rows = row[:: -1 if number % 2 else 1][: side - top]
        made.write(top, rows)
    return made


def export(path: Path, side: int, min_area: float) -> tuple[int, float, float]:
    """In the measured process: polygons, seconds and the peak of memory, MiB."""
    written = {}
    with RawMap(path, (side, side)) as labels:
        start = time.process_time()
        peak = peak_above(
            lambda: written.update(
                write_geojson(path.with_suffix(".geojson"), labels, CLASSES, factor=2.0, min_area=min_area)
            )
        )
        seconds = time.process_time() - start
    return sum(item.polygons for item in written.values()), seconds, peak


def measure(arguments) -> Iterator[Measurement]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.raw"
        make_map(path, arguments.side, arguments.sigma).close()
        found = in_children(export, [(path, arguments.side, arguments.min_area)] * arguments.repeats)
        size = path.with_suffix(".geojson").stat().st_size / 2**20
    polygons, seconds, peaks = zip(*found, strict=True)
    what = f"GeoJSON of {polygons[0]:,} polygons, map of {arguments.side:,} x {arguments.side:,} px, {size:.0f} MiB"
    yield Measurement(f"{what}: peak of memory", peaks, "MiB", at_most=500)
    yield Measurement(f"{what}: CPU time", seconds, "s")


if __name__ == "__main__":
    sys.exit(run(measure, OPTIONS))
