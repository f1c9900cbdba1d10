"""Temperature, calibration error and risk over coverage, against what is known of made-up networks."""

import numpy as np
import pandas as pd
import pytest

from wsss_mm.errors import InputError
from wsss_mm.evaluation.calibration import COLDEST, HOTTEST, Calibration, Reliability, fit_temperature, tempered
from wsss_mm.evaluation.tables import write_plot
from wsss_mm.files import rounded
from wsss_mm.gates.segmenter import _calibration
from wsss_mm.vocabulary import IGNORE


def drawn(scale: float, seed: int = 0, pixels: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits `scale` times too sure of classes that were drawn from them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (pixels, 3))
    chances = np.cumsum(tempered(np.exp(logits).T, 1.0), axis=0)
    truth = (rng.random(pixels) > chances[:2]).sum(axis=0).astype(np.uint8)
    return logits * scale, truth


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.5])
def test_the_temperature_is_how_much_too_sure_it_was(scale):
    assert fit_temperature(*drawn(scale)) == pytest.approx(scale, rel=0.04)


def test_pixels_without_a_class_do_not_count():
    logits, truth = drawn(2.0)
    blurred = np.where(np.arange(len(truth)) % 3 == 0, IGNORE, truth).astype(np.uint8)
    known = blurred != IGNORE
    assert fit_temperature(logits, blurred) == fit_temperature(logits[known], truth[known])
    assert fit_temperature(logits, np.full(len(truth), IGNORE, np.uint8)) is None


@pytest.mark.parametrize("seed", range(12))
def test_it_is_what_fifty_halvings_give(seed):
    logits, truth = drawn(0.3 + 0.4 * seed, seed, pixels=300)
    scores = logits - logits.max(axis=1, keepdims=True)
    own = scores[np.arange(len(scores)), truth].mean()
    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(50):
        middle = (low + high) / 2
        weights = np.exp(middle * scores)
        expected = ((weights * scores).sum(axis=1) / weights.sum(axis=1)).mean()
        low, high = (low, middle) if expected > own else (middle, high)
    assert fit_temperature(logits, truth) == round(2 / (low + high), 4)


def test_it_stays_in_bounds():
    logits = np.array([[5.0, 0.0], [0.0, 5.0]])
    assert fit_temperature(logits, np.array([0, 1], np.uint8)) == COLDEST
    assert fit_temperature(logits, np.array([1, 0], np.uint8)) == HOTTEST


def test_a_temperature_changes_no_prediction():
    probabilities = np.random.default_rng(1).dirichlet([0.3] * 4, (20, 30)).transpose(2, 0, 1)
    for temperature in (0.3, 4.0):
        found = tempered(probabilities, temperature)
        np.testing.assert_allclose(found.sum(axis=0), 1)
        np.testing.assert_array_equal(found.argmax(axis=0), probabilities.argmax(axis=0))


def test_the_error_is_the_distance_of_confidence_and_accuracy():
    found = Reliability()
    probabilities = np.array([[[0.9, 0.9, 0.9, 0.9]], [[0.1, 0.1, 0.1, 0.1]]])
    found.add(probabilities, np.array([[0, 0, 1, IGNORE]], np.uint8))
    assert found.error == pytest.approx(0.9 - 2 / 3)
    assert Reliability().error is None
    assert Reliability().risk_coverage() == []


def test_pieces_add_up_to_the_whole():
    probabilities = np.random.default_rng(2).dirichlet([0.4] * 3, (40, 50)).transpose(2, 0, 1)
    truth = np.random.default_rng(3).integers(0, 3, (40, 50)).astype(np.uint8)
    whole, pieces = Reliability(), Reliability()
    whole.add(probabilities, truth)
    for rows in (slice(0, 11), slice(11, 40)):
        pieces.add(probabilities[:, rows], truth[rows])
    assert pieces.error == pytest.approx(whole.error)
    assert pieces.risk_coverage() == whole.risk_coverage()


def test_a_temperature_mends_what_is_too_sure():
    logits, truth = drawn(2.5)
    powers = np.exp(logits.T - logits.T.max(axis=0))
    probabilities = (powers / powers.sum(axis=0))[:, None]
    calibration = Calibration(fit_temperature(*drawn(2.5, seed=9)))
    calibration.add(probabilities, truth[None])
    figures = calibration.figures()
    assert figures["error_before"] > 0.1
    assert figures["error_after"] < 0.015
    assert figures["bins"] == 15


def test_risk_falls_with_coverage_where_confidence_means_something():
    logits, truth = drawn(1.0)
    calibration = Calibration()
    calibration.add(tempered(np.exp(logits.T), 1.0)[:, None], truth[None])
    curve = np.array(calibration.figures()["risk_coverage"])
    assert curve[-1, 0] == 1
    assert curve[-1, 1] == pytest.approx((logits.argmax(axis=1) != truth).mean())
    assert (np.diff(curve[:, 0]) > 0).all()
    assert curve[0, 1] < curve[-1, 1] / 4


def test_figures_follow_from_the_table(tmp_path):
    logits, truth = drawn(2.0, pixels=5000)
    calibration = Calibration(2.0)
    calibration.add(tempered(np.exp(logits.T), 1.0)[:, None], truth[None])
    write_plot(calibration.table(), tmp_path / "table.csv")
    table = pd.read_csv(tmp_path / "table.csv")
    again = Calibration.of_table(table, 2.0).figures()
    assert rounded(again) == rounded(calibration.figures())
    assert len(again["risk_coverage"]) > 15
    for damage in (pd.concat([table, table]), table.assign(level=-1), table.drop(columns="right")):
        with pytest.raises((ValueError, KeyError)):
            Calibration.of_table(damage, 2.0)
    with pytest.raises(InputError, match=r"damaged\.csv: not a table of confidence .*dvc repro -f evaluate"):
        table.assign(level=-1).to_csv(tmp_path / "damaged.csv")
        _calibration(tmp_path / "damaged.csv", 2.0)
    assert _calibration(tmp_path / "none.csv", 2.0) is None
