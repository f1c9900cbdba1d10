import numpy as np
import pytest
from scipy.spatial import cKDTree

from wsss_mm.slides.phantom.fields import enlarge, smooth_field, spaced_points, warp


class TestSmoothField:
    @pytest.mark.parametrize("sigma", [0.8, 2.0, 7.0, 20.0])
    def test_has_unit_variance_and_the_correlation_of_a_gaussian(self, sigma):
        field = smooth_field(np.random.default_rng(0), (1200, 1100), sigma)

        assert field.shape == (1200, 1100)
        assert field.std() == pytest.approx(1, abs=0.12)
        lag = round(2 * sigma)
        expected = np.exp(-(lag**2) / (4 * sigma**2))  # autocorrelation of white noise under a Gaussian
        assert np.mean(field[:, lag:] * field[:, :-lag]) / field.var() == pytest.approx(expected, abs=0.08)

    def test_same_seed_same_field(self):
        first, second = (smooth_field(np.random.default_rng(3), (90, 70), 9) for _ in range(2))
        np.testing.assert_array_equal(first, second)


def test_enlarge_keeps_the_samples_where_they_are():
    field = smooth_field(np.random.default_rng(1), (40, 50), 3)
    np.testing.assert_allclose(enlarge(field, 4, (120, 160))[::4, ::4], field[:30, :40], atol=1e-5)


def test_warp_by_a_constant_shifts():
    field = smooth_field(np.random.default_rng(1), (40, 50), 2)
    shifted = warp(field, np.full_like(field, 3), np.full_like(field, 2))
    np.testing.assert_allclose(shifted[:30, :40], field[2:32, 3:43], atol=1e-5)


class TestSpacedPoints:
    def test_keeps_the_distance_and_leaves_little_room(self):
        mask = np.zeros((300, 400), bool)
        mask[40:260, 50:350] = True
        points = spaced_points(np.random.default_rng(0), mask, 12)

        assert mask[points[:, 1], points[:, 0]].all()
        tree = cKDTree(points)
        assert tree.query(points, k=2)[0][:, 1].min() >= 12
        everywhere = np.argwhere(mask)[:, ::-1]
        assert np.mean(tree.query(everywhere)[0] < 12) > 0.95  # nearly no further point would fit

    def test_empty_mask_gives_no_points(self):
        assert spaced_points(np.random.default_rng(0), np.zeros((50, 50), bool), 5).shape == (0, 2)
