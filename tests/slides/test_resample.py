import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_mm.slides.resample import resample

NOISE = np.random.default_rng(0).integers(0, 256, (60, 70, 3), np.uint8)


def test_whole_windows_are_averaged_blocks():
    block = NOISE[4:24, 6:36].reshape(10, 2, 10, 3, 3).mean((1, 3))
    np.testing.assert_allclose(resample(NOISE, (6, 4, 30, 20), (10, 10)), block, atol=0.51)


def test_fractional_windows_agree_with_an_oversampled_image():
    """Cut into 10 x 10 subpixels, a window at tenths of a pixel is a whole window."""
    fine = np.repeat(np.repeat(NOISE, 10, axis=0), 10, axis=1)
    ours = resample(NOISE, (3.7, 5.2, 33.6, 28.8), (16, 12))
    peer = cv2.resize(fine[52 : 52 + 288, 37 : 37 + 336], (16, 12), interpolation=cv2.INTER_AREA)
    assert np.abs(ours.astype(int) - peer).max() <= 1


def test_a_window_of_its_own_size_is_untouched():
    np.testing.assert_array_equal(resample(NOISE, (7, 3, 20, 10), (20, 10)), NOISE[3:13, 7:27])


@settings(max_examples=60, deadline=None)
@given(
    left=st.floats(0, 20), top=st.floats(0, 20), width=st.floats(5, 60), height=st.floats(5, 60),
    size=st.tuples(st.integers(2, 40), st.integers(2, 40)),
)  # fmt: skip
def test_a_ramp_stays_a_ramp_without_drift(left, top, width, height, size):
    """Of a ramp, every output pixel shows the middle of the area it covers, shrinking or enlarging."""
    ramp = np.zeros((81, 81, 1), np.uint8)
    ramp[..., 0] = np.arange(81)[None, :] * 3
    out = resample(ramp, (left, top, width, height), size).reshape(size[1], size[0])
    middle = left + (np.arange(size[0]) + 0.5) * width / size[0]
    expected = np.clip((middle - 0.5) * 3, 0, 240)
    inside = (middle > 1) & (middle < 80)
    assert np.abs(out[:, inside] - expected[inside]).max(initial=0) <= 1.5


def test_a_flat_image_stays_flat():
    flat = np.full((50, 50, 3), 137, np.uint8)
    for window, size in (((0.3, 0.6, 40.1, 44.9), (13, 17)), ((0, 0, 50, 50), (90, 70))):
        assert set(np.unique(resample(flat, window, size))) == {137}


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_are_kept(channels):
    image = np.zeros((20, 20, channels), np.uint8)
    assert resample(image, (0.5, 0.5, 10, 10), (5, 5)).shape == (5, 5, channels)
