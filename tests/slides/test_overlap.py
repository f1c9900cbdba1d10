import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_mm.slides.overlap import overlap, sketches, tissue_alone

MPP = 8.0


def slide(seed: int, height: int = 300, width: int = 360) -> np.ndarray:
    """Tissue with structures of all sizes, and a margin of glass."""
    rng, picture = np.random.default_rng(seed), np.zeros((height, width, 3))
    for size in (6, 12, 24, 48, 96):
        picture += cv2.resize(rng.normal(size=(size, size, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
    picture = np.clip(150 + 15 * picture, 0, 220).astype(np.uint8)
    picture[:20], picture[:, -30:] = 245, 245
    return picture


def sketched(picture: np.ndarray, mpp: float = MPP) -> list:
    return sketches(np.ascontiguousarray(picture), picture[..., 1] < 235, mpp)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    turns=st.integers(0, 3),
    mirrored=st.booleans(),
    left=st.integers(0, 100),
    top=st.integers(0, 100),
    scale=st.sampled_from([0.5, 1.0]),
)
def test_a_part_is_found_in_every_position_and_resolution(seed, turns, mirrored, left, top, scale):
    whole = slide(seed)
    part = np.rot90(whole[top : top + 200, left : left + 240], turns)
    part = np.ascontiguousarray(part[::-1] if mirrored else part)
    part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    assert overlap(sketched(whole), sketched(part, MPP / scale)) > 0.7


@pytest.mark.parametrize("seed", range(10))
def test_other_tissue_of_the_same_outline_is_not_alike(seed):
    assert overlap(sketched(slide(2 * seed)), sketched(slide(2 * seed + 1))) < 0.5


def test_slides_of_very_different_size_and_empty_ones_share_nothing():
    large = sketched(slide(0), 64.0)
    assert overlap(large, sketched(slide(0), 1.0)) == 0
    assert overlap(large, sketched(np.full((300, 360, 3), 245, np.uint8), 64.0)) == 0


def test_the_tissue_alone_has_no_outline():
    picture = np.full((100, 200, 3), 245, np.uint8)
    picture[20:60, 50:150] = 100
    alone = tissue_alone(picture, picture[..., 0] < 200)
    assert (alone == 100).all()
    assert 30 <= alone.shape[0] <= 40
    assert tissue_alone(picture, np.zeros((100, 200), bool)).shape == (1, 1, 3)
