"""Small slides."""

import pytest
import tifffile


@pytest.fixture(scope="session")
def write_tiff():
    """Writes a tiled TIFF that OpenSlide opens, with pixels of `mpp` um/px."""

    def write(path, image, mpp):
        resolution = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": 3}
        tifffile.imwrite(path, image, photometric="rgb", tile=(64, 64), compression="zlib", metadata=None, **resolution)

    return write
