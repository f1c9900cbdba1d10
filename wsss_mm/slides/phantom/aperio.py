"""Slides as an Aperio scanner writes them: a tiled pyramidal TIFF whose description carries mpp and magnification."""

from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

_TILE = 256
_QUALITY = 80
_DOWNSAMPLES = (1, 4, 16)


def write_aperio(path: Path, image: NDArray[np.uint8], mpp: float, magnification: int) -> None:
    """Write (H, W, 3) uint8 RGB as a slide that OpenSlide opens as `aperio`; equal images give equal bytes."""
    height, width = image.shape[:2]
    pixels_per_cm = 10_000 / mpp
    with tifffile.TiffWriter(path) as tiff:
        for downsample in _DOWNSAMPLES:
            if min(height, width) < downsample * _TILE and downsample > 1:
                break
            level = image
            if downsample > 1:
                shape = (width // downsample, height // downsample)
                level = cv2.resize(image, shape, interpolation=cv2.INTER_AREA)
            size = f"{width}x{height}"
            if downsample > 1:
                size = f"{size} -> {level.shape[1]}x{level.shape[0]}"
            tiff.write(
                level,
                photometric="rgb",
                tile=(_TILE, _TILE),
                compression="jpeg",
                compressionargs={"level": _QUALITY},
                subfiletype=1 if downsample > 1 else 0,
                description=f"Aperio Image Library (wsss-mm phantom)\r\n{size} ({_TILE}x{_TILE}) JPEG/RGB Q={_QUALITY}"
                f"|AppMag = {magnification}|MPP = {mpp:.4f}",
                resolution=(pixels_per_cm / downsample, pixels_per_cm / downsample),
                resolutionunit="CENTIMETER",
                metadata=None,
                software=False,
                maxworkers=1,
            )
