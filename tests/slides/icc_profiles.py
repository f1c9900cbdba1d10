"""Slides that carry a colour profile which changes much: its red is the green of sRGB, and the other way round."""

import struct

import numpy as np
import tifffile
from PIL import ImageCms


def swapped_profile() -> bytes:
    """An ICC profile of RGB, of which pixels have red and green exchanged in sRGB."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entries = {}
    for index in range(struct.unpack_from(">I", profile, 128)[0]):
        at = 132 + 12 * index
        entries[bytes(profile[at : at + 4])] = at
    red, green = entries[b"rXYZ"] + 4, entries[b"gXYZ"] + 4
    profile[red : red + 8], profile[green : green + 8] = profile[green : green + 8], profile[red : red + 8]
    return bytes(profile)


def write_with_profile(path, image, profile, mpp=1.0):
    """A tiled TIFF with an embedded profile, which OpenSlide opens; None for one without."""
    kept = {} if profile is None else {"iccprofile": profile}
    resolution = {"resolution": (1e4 / mpp,) * 2, "resolutionunit": 3}
    how = {"photometric": "rgb", "tile": (64, 64), "compression": "zlib", "metadata": None}
    tifffile.imwrite(path, np.ascontiguousarray(image), **how, **resolution, **kept)
