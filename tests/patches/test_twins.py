import io

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.gates.project import tissue_image
from wsss_mm.patches.twins import READ, look, look_difference, twins
from wsss_mm.slides import open_slide


def tissue(seed: int, side: int = 224) -> np.ndarray:
    """A picture with structures of all sizes."""
    rng, picture = np.random.default_rng(seed), np.zeros((side, side, 3))
    for size in (4, 8, 16, 32, 64):
        picture += cv2.resize(rng.normal(size=(size, size, 3)), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(170 + 20 * picture, 0, 255).astype(np.uint8)


def jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


@given(
    seed=st.integers(0, 10_000),
    turns=st.integers(0, 3),
    mirrored=st.booleans(),
    quality=st.integers(20, 95),
    scale=st.sampled_from([0.5, 0.8, 1.0, 2.0]),
    contrast=st.floats(0.5, 1.0),
)
def test_a_picture_is_found_in_every_position_and_encoding(seed, turns, mirrored, quality, scale, contrast):
    pictures = [tissue(seed), tissue(seed + 1)]
    changed = np.rot90(pictures[0], turns)
    changed = changed[:, ::-1] if mirrored else changed
    changed = np.ascontiguousarray((changed * contrast + 20).clip(0, 255).astype(np.uint8))
    changed = cv2.resize(jpeg(changed, quality), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    looks = np.stack([look(picture) for picture in (*pictures, changed)])
    assert twins(looks) == [(0, 2)]
    assert twins(looks, ["train", "train", "test"]) == [(0, 2)]
    assert twins(looks, ["test", "train", "test"]) == []


def test_neighbours_and_outlines_are_no_twins():
    """Half of a picture again, and two pieces of tissue with one outline on glass."""
    large = tissue(0, 448)
    overlapping = [large[:224, :224], large[:224, 112:336], large[112:336, :224]]
    disc = np.hypot(*(np.mgrid[:224, :224] - 112)) < 100
    cores = [np.where(disc[..., None], tissue(seed), 240).astype(np.uint8) for seed in (1, 2)]
    looks = np.stack([look(np.ascontiguousarray(picture)) for picture in (*overlapping, *cores)])
    assert twins(looks) == []


def test_pictures_that_show_nothing_are_no_twins():
    blank = np.full((3, 32, 32, 3), 240, np.uint8)
    assert twins(blank) == []
    assert twins(blank[:0]) == []


def test_many_are_compared_in_blocks(monkeypatch):
    monkeypatch.setattr("wsss_mm.patches.twins._BLOCK", 7)
    looks = np.stack([look(tissue(seed, 64)) for seed in range(30)])
    looks[29], looks[12] = looks[3][::-1], looks[11].transpose(1, 0, 2)
    assert twins(looks, np.arange(30)) == [(3, 29), (11, 12)]


def test_difference_is_in_grey_levels():
    one = np.minimum(look(tissue(5)), 245)
    assert look_difference(one, one) == 0
    assert look_difference(one, one + np.uint8(10)) == pytest.approx(10)
    assert look_difference(one, look(tissue(6))) > 10


@pytest.mark.parametrize("step", [4, 16])
@pytest.mark.parametrize("size", [64, 112, 224, 256])
def test_a_patch_is_known_again_whatever_its_size_and_however_the_slide_was_made_coarser(tmp_path, size, step):
    """As 32 px of a level that holds every fourth pixel alone, a patch of 64 px at 1 um/px was another one."""
    rng = np.random.default_rng(0)
    image = tissue_image(rng, 1024, 1024, rng.integers(0, 4, (16, 16)).repeat(64, 0).repeat(64, 1))
    with tifffile.TiffWriter(tmp_path / "slide.tiff") as tiff:
        for level in (1, step):
            tiff.write(
                *[np.ascontiguousarray(image[::level, ::level])],
                tile=(128, 128),
                photometric="rgb",
                compression="zlib",
                subfiletype=int(level > 1),
                resolution=(2e4 / level, 2e4 / level),
                resolutionunit=3,
                metadata=None,
            )
    with open_slide(tmp_path / "slide.tiff") as reader:
        assert reader.steps == pytest.approx([1, step])
        for x, y in rng.integers(0, 1024 - 2 * size, (12, 2)).tolist():
            stored, side = look(reader.read(x, y, size, 1.0)), min(READ, size)
            assert look_difference(stored, look(reader.read(x, y, side, size / side))) < 6  # of the gate
            elsewhere = look(reader.read(x + size, y + size, side, size / side))
            assert look_difference(stored, elsewhere) > 6
