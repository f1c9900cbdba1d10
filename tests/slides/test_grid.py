"""A grid of known lines comes back where it is, at any resolution, with or without the levels in between."""

from typing import ClassVar

import numpy as np
import openslide
import pytest
import tifffile

from wsss_mm.slides import SlideReader, open_slide

SIDE, SPACING, LINE = 2048, 128, 16  # px at 0.25 um/px


@pytest.fixture(scope="module")
def image():
    axis = np.where((np.arange(SIDE) - SPACING // 2) % SPACING < LINE, 40, 240).astype(np.uint8)
    grid = np.minimum(axis[:, None], axis[None, :])
    return np.repeat(grid[..., None], 3, axis=2)


@pytest.fixture(scope="module", params=[(1,), (1, 2, 4), (1, 8)], ids=str)
def grid(request, image, tmp_path_factory):
    path = tmp_path_factory.mktemp("grid") / "grid.tif"
    levels = [image.reshape(SIDE // s, s, SIDE // s, s, 3).mean((1, 3)).astype(np.uint8) for s in request.param]
    with tifffile.TiffWriter(path) as tiff:
        for step, level in zip(request.param, levels, strict=True):
            tiff.write(
                level, tile=(64, 64), photometric="rgb", compression="zlib", subfiletype=int(step > 1), metadata=None,
                resolution=(4e4 / step, 4e4 / step), resolutionunit=3,
            )  # fmt: skip
    return path


@pytest.mark.parametrize("mpp", [0.25, 0.5, 1.0, 1.7, 2.0])
@pytest.mark.parametrize("corner", [(0, 0), (333, 129), (100.5, 7.25)])
def test_lines_are_within_half_a_pixel(grid, mpp, corner):
    scale = mpp / 0.25
    size = int((SIDE - 400) / scale)
    with open_slide(grid) as slide:
        region = slide.read(*corner, size, mpp)
    for axis in (0, 1):  # columns, then rows
        start = corner[axis]
        darkness = 240 - region[..., 0].astype(float).max(axis=axis)  # between the lines that run the other way
        first = np.arange(SPACING // 2, SIDE, SPACING)
        inside = first[(first > start + SPACING / 2) & (first + SPACING < start + size * scale)]
        assert len(inside) >= 10
        for middle in (inside + LINE / 2 - start) / scale:  # px of the region, edges at whole numbers
            near = slice(int(middle - SPACING / 3 / scale), int(middle + SPACING / 3 / scale) + 1)
            centre = np.average(np.arange(near.start, near.stop) + 0.5, weights=darkness[near])
            assert abs(centre - middle) < 0.5


class FakeSlide:
    """What a MIRAX slide is like: content in the middle of an empty, transparent field."""

    dimensions, level_downsamples, level_dimensions = (400, 300), (1.0,), ((400, 300),)
    properties: ClassVar = {
        openslide.PROPERTY_NAME_BOUNDS_X: "100", openslide.PROPERTY_NAME_BOUNDS_Y: "60",
        openslide.PROPERTY_NAME_BOUNDS_WIDTH: "200", openslide.PROPERTY_NAME_BOUNDS_HEIGHT: "150",
    }  # fmt: skip

    def read_region(self, corner, level, size):
        y, x = np.mgrid[corner[1] : corner[1] + size[1], corner[0] : corner[0] + size[0]]
        inside = (x >= 100) & (x < 300) & (y >= 60) & (y < 210)
        return np.dstack([*[np.where(inside, 90, 0)] * 3, np.where(inside, 255, 0)]).astype(np.uint8)


def test_bounds_are_respected_and_transparency_is_white(tmp_path):
    (tmp_path / "a.mrxs").write_bytes(b"")  # from which a slide without a quickhash has its name
    slide = SlideReader(tmp_path / "a.mrxs", FakeSlide(), 0.25)
    assert slide.bounds == (100, 60, 200, 150)
    region = slide.read(50, 30, (300, 200), 0.25)
    assert (region[30:180, 50:250] == 90).all()
    region[30:180, 50:250] = 255
    assert (region == 255).all()
