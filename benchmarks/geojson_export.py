"""Number (d): memory of the GeoJSON export of a map with 10^5 polygons, from a file to a file.

The map is synthetic: four classes and background, blobs with rough edges, holes and islands, one large field mirrored
from tile to tile. A process of its own loads the exporter, notes its memory, exports, and notes its peak.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from wsss_mm.vocabulary import IGNORE, get_vocabulary
from wsss_mm.wsi.geojson import write_geojson
from wsss_mm.wsi.rawmap import RawMap

TILE = 2048
CLASSES = get_vocabulary("lung").classes


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


def export(path: Path, side: int, min_area: float) -> dict[str, float]:
    """In the measured process: the export, and what it took."""
    with RawMap(path, (side, side)) as labels:
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        start = time.perf_counter()
        written = write_geojson(path.with_suffix(".geojson"), labels, CLASSES, factor=2.0, min_area=min_area)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "polygons": sum(item.polygons for item in written.values()),
        "seconds": seconds,
        "peak_mib": (peak - resident) / 2**20,
        "file_mib": path.with_suffix(".geojson").stat().st_size / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--side", type=int, default=16_384, help="px, of the square map")
    parser.add_argument("--sigma", type=float, default=12.0, help="px, of the blobs")
    parser.add_argument("--min-area", type=float, default=50.0, help="px, of the smallest island exported")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        sys.stdout.write(json.dumps(export(arguments.measure, arguments.side, arguments.min_area)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.raw"
        make_map(path, arguments.side, arguments.sigma).close()
        again = [sys.executable, __file__, *sys.argv[1:], "--measure", str(path)]
        found = json.loads(subprocess.run(again, check=True, capture_output=True, text=True).stdout)
    sys.stdout.write(
        f"map {arguments.side} x {arguments.side} px: {found['polygons']} polygons, {found['file_mib']:.0f} MiB of "
        f"GeoJSON, {found['seconds']:.0f} s, peak {found['peak_mib']:.0f} MiB above the loaded exporter\n"
    )


if __name__ == "__main__":
    main()
