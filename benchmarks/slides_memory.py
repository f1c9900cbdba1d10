"""Peak memory of a 100,000 x 100,000-px slide at 0.25 um/px and of one half as high; target below 1 GiB, growth < 10 %.

The slide is a pyramid of JPEG tiles of which a few are repeated, all tissue. The network is a stand-in that takes no
memory of its own; everything else is what `wsss-mm segment` does, exports included. Each height runs in a process of
its own, which reports the highest resident memory above the one it had before the slide was opened.

    python -m benchmarks.slides_memory
"""

import argparse
import io
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter

logger = logging.getLogger("benchmarks.slides_memory")

_TILE, _KINDS = 512, 8
_MIB = 1 << 20


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


def run(slide: Path, out: Path, mpp: float) -> None:
    """Segment a slide and print the peak above the start in MiB, and the seconds."""
    from wsss_mm.slides import open_slide
    from wsss_mm.vocabulary import get_vocabulary
    from wsss_mm.wsi import SlideModel, segment_slide
    from wsss_mm.wsi.viewer import write_overview  # noqa: F401  so that its import counts as loaded

    def predict(images: np.ndarray) -> np.ndarray:
        coarse = images[:, 4::8, 4::8].astype(np.float32)
        share = np.stack([coarse[..., 0], coarse[..., 1] * 1.5, coarse[..., 2], 255 - coarse[..., 0]], axis=1)
        share /= share.sum(axis=1, keepdims=True)
        return share.repeat(8, axis=2).repeat(8, axis=3)

    open_slide(slide).close()
    model = SlideModel(predict, get_vocabulary("lung"), mpp, "0" * 32)
    before, start = _status("VmRSS"), time.perf_counter()
    segment_slide(slide, model, out, batch_size=16, progress=False)
    logger.info("%.0f %.0f", (_status("VmHWM") - before) / 1024, time.perf_counter() - start)


def _status(name: str) -> int:
    """Of this process, kB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


def main() -> None:
    """Measure both heights and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=100_000, help="width of the slide, px")
    parser.add_argument("--height", type=int, help="full height, the width if not given; less is faster, for a proxy")
    parser.add_argument("--mpp", type=float, default=1.0, help="of the map, um/px")
    parser.add_argument("--slide", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    if arguments.slide:
        run(arguments.slide, arguments.slide.parent / "out", arguments.mpp)
        return
    peaks = []
    full = arguments.height or arguments.size
    for height in (full // 2, full):
        with tempfile.TemporaryDirectory() as place:
            slide = Path(place) / "slide.tif"
            write_slide(slide, arguments.size, height)
            command = [sys.executable, "-m", "benchmarks.slides_memory", "--mpp", str(arguments.mpp), "--slide", slide]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        peak, seconds = map(float, done.stdout.split()[-2:])
        peaks.append(peak)
        logger.info("| %d x %d | %.0f MiB | %.0f s |", arguments.size, height, peak, seconds)
    logger.info("growth with twice the height: %.1f %% (target below 10 %%)", 100 * (peaks[1] / peaks[0] - 1))


if __name__ == "__main__":
    main()
