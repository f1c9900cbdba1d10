import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss_mm.slides.tiling import cover, grid

windows = st.integers(1, 400).flatmap(lambda window: st.tuples(st.just(window), st.integers(1, window)))


class TestGrid:
    @given(width=st.integers(0, 5000), height=st.integers(0, 5000), side=st.floats(20, 900))
    def test_patches_lie_inside_and_do_not_overlap(self, width, height, side):
        corners = grid(width, height, side)
        assert len(corners) == int(width / side + 1e-9) * int(height / side + 1e-9)
        for axis, length in ((0, width), (1, height)):
            starts = np.unique(corners[:, axis])
            assert (starts >= 0).all()
            assert (starts + side <= length + 1e-6).all()
            steps = np.diff(starts)
            assert (np.abs(steps - side) < 1).all()  # rounding to level-0 px, never adding up:
            assert np.abs(starts - np.arange(len(starts)) * side).max(initial=0) < 1

    @given(width=st.integers(0, 900), height=st.integers(0, 900), side=st.integers(1, 300))
    def test_whole_sides_tile_exactly(self, width, height, side):
        if max(width, height) / side > 60:
            return
        covered = np.zeros((height, width), int)
        for x, y in grid(width, height, side):
            covered[y : y + side, x : x + side] += 1
        full = np.s_[: height // side * side, : width // side * side]
        if width >= side and height >= side:
            assert (covered[full] == 1).all()
        assert covered.sum() == (height // side) * (width // side) * side * side

    def test_row_by_row(self):
        assert grid(20, 20, 10).tolist() == [[0, 0], [10, 0], [0, 10], [10, 10]]


class TestCover:
    @given(length=st.integers(1, 3000), window_step=windows)
    def test_no_gap_and_inside(self, length, window_step):
        window, step = window_step
        starts = cover(length, window, step)
        assert starts[0] == 0
        assert (np.diff(starts) > 0).all()
        assert (np.diff(starts) <= step).all()
        if length <= window:
            assert len(starts) == 1
        else:
            assert starts[-1] + window == length

    def test_the_last_window_is_shifted_inside(self):
        assert cover(10, 6, 3).tolist() == [0, 3, 4]
        assert cover(7, 6, 3).tolist() == [0, 1]

    @pytest.mark.parametrize("step", [0, -1, 11])
    def test_steps_that_leave_gaps_are_refused(self, step):
        with pytest.raises(ValueError, match="step"):
            cover(100, 10, step)
