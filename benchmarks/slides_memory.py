"""Peak memory of a 100,000 x 100,000-px slide at 0.25 um/px and of one half as high; target below 1 GiB, growth < 10 %.

The slide is a pyramid of JPEG tiles of which a few are repeated, all tissue. The network is a stand-in that takes no
memory of its own; everything else is what `wsss-mm segment` does, exports included. Each run is a process of its own,
which reports the highest resident memory above the one it had before the slide was segmented.

    python -m benchmarks.slides_memory
"""

import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter

from benchmarks.command import Option, in_children, peak_above, run
from benchmarks.rows import Measurement
from wsss_mm.slides import open_slide
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.wsi import SlideModel, segment_slide
from wsss_mm.wsi.viewer import write_overview  # noqa: F401  so that its import counts as loaded

_TILE, _KINDS = 512, 8
OPTIONS = {
    "size": Option(100_000, 4096, "width of the slide, px"),
    "height": Option(100_000, 4096, "full height, px; less is faster, for a proxy"),
    "mpp": Option(1.0, 1.0, "of the map, um/px"),
}


def write_slide(path: Path, width: int, height: int) -> None:
    """A tiled JPEG pyramid at 0.25 um/px, levels 1, 4 and 16, of a few tiles repeated."""
    rng = np.random.default_rng(0)
    tiles = [_tile(rng) for _ in range(_KINDS)]
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for step in (1, 4, 16):
            shape = height // step, width // step, 3
            count = -(-shape[0] // _TILE) * -(-shape[1] // _TILE)
            kinds: Iterator[bytes] = (tiles[kind] for kind in rng.integers(0, _KINDS, count))
            tiff.write(
                kinds, shape=shape, dtype=np.uint8, tile=(_TILE, _TILE), compression="jpeg", photometric="ycbcr",
                subsampling=(2, 2), subfiletype=int(step > 1), resolution=(4e4 / step, 4e4 / step), resolutionunit=3,
                metadata=None,
            )  # fmt: skip


def _tile(rng: np.random.Generator) -> bytes:
    noise = gaussian_filter(rng.normal(size=(_TILE, _TILE, 3)), (24, 24, 0), mode="wrap")
    image = np.clip(np.array([170, 100, 150]) + 900 * noise, 20, 200).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=70, subsampling=2)
    return buffer.getvalue()


def segmented(slide: Path, out: Path, mpp: float) -> float:
    """Peak of memory above what the process held before, MiB, as a slide is segmented."""

    def predict(images: np.ndarray) -> np.ndarray:
        coarse = images[:, 4::8, 4::8].astype(np.float32)
        share = np.stack([coarse[..., 0], coarse[..., 1] * 1.5, coarse[..., 2], 255 - coarse[..., 0]], axis=1)
        share /= share.sum(axis=1, keepdims=True)
        return share.repeat(8, axis=2).repeat(8, axis=3)

    open_slide(slide).close()
    model = SlideModel(predict, get_vocabulary("lung"), mpp, "0" * 32)
    return peak_above(lambda: segment_slide(slide, model, out, batch_size=16, progress=False))


def measure(arguments) -> Iterator[Measurement]:
    heights = (arguments.height, arguments.height // 2)
    with tempfile.TemporaryDirectory() as place:
        for height in heights:
            write_slide(Path(place) / f"{height}.tif", arguments.size, height)
        calls = [
            (Path(place) / f"{height}.tif", Path(place) / f"out-{number}-{height}", arguments.mpp)
            for number in range(arguments.repeats)
            for height in heights
        ]
        peaks = in_children(segmented, calls)
    what = f"peak of memory of a slide of {arguments.size:,} x {arguments.height:,} px, map at {arguments.mpp:g} um/px"
    own, half = peaks[::2], peaks[1::2]
    yield Measurement(what, own, "MiB", at_most=1024)
    yield Measurement(what, own, "MiB", over=half, over_what="one of half the height", at_most=1.1)


if __name__ == "__main__":
    sys.exit(run(measure, OPTIONS))
