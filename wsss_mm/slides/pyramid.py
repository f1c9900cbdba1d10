"""Label maps as pyramidal TIFFs that OpenSlide, QuPath and tifffile open, in the classes' colours."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from wsss_mm.files import atomic_path

_TILE = 256
_BIG = 1 << 31  # bytes before compression; a label map shrinks many times, so offsets then still fit 32 bits


def write_label_pyramid(path: Path | str, label_map: NDArray[np.uint8], mpp: float, palette: Sequence[int]) -> None:
    """Write a label map as a tiled pyramid with a colour table.

    Pixel values are the labels (tifffile reads those), the colour table is how they look (OpenSlide, QuPath). Levels
    halve down to one tile, each sample taken from the middle of the pixels it stands for: labels are never mixed. Equal
    maps give equal bytes, and a failed write leaves nothing behind.

    Args:
        path: the TIFF.
        label_map: (H, W) uint8; may be memory-mapped.
        mpp: um/px, stored as the resolution.
        palette: 768 values of 0..255, as for `PIL.Image.putpalette`.
    """
    colours = np.asarray(palette, np.uint16).reshape(256, 3).T * 257
    with (
        atomic_path(path) as temporary,
        tifffile.TiffWriter(temporary, bigtiff=label_map.nbytes > _BIG) as tiff,
    ):
        step = 1
        while True:
            level = label_map[step // 2 :: step, step // 2 :: step]
            pixels_per_cm = 10_000 / (mpp * step)
            tiff.write(
                level,
                photometric="palette",
                colormap=colours,
                tile=(_TILE, _TILE),
                compression="zlib",
                subfiletype=1 if step > 1 else 0,
                resolution=(pixels_per_cm, pixels_per_cm),
                resolutionunit="CENTIMETER",
                metadata=None,
                software=False,
                maxworkers=1,
            )
            if max(level.shape) <= _TILE:
                break
            step *= 2
