"""A network of this project gives the same bytes whatever the batch, and the precision that was asked for."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from benchmarks.networks import random_model
from wsss_mm.errors import InputError
from wsss_mm.models import load_model
from wsss_mm.wsi import SlideModel


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    random_model(folder, 1 / 32)
    return folder


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), np.uint8)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_batch_does_not_matter_to_the_last_bit(folder, images, precision):
    model = SlideModel.from_folder(folder, "cpu", precision)
    whole = model.predict(images)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole.sum(axis=1), 1, atol=1e-5)
    for size in (1, 2, 3):
        parts = [model.predict(images[start : start + size]) for start in range(0, 7, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_equals_the_network_itself(folder, images):
    network, _ = load_model(folder)
    with torch.inference_mode():
        expected = network.predict_probabilities(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    predict = SlideModel.from_folder(folder, "cpu", "fp32").predict
    np.testing.assert_allclose(predict(images), expected, atol=1e-5)
    np.testing.assert_allclose(predict(images[:2, :32, :48]).sum(axis=1), 1, atol=1e-5)  # another size


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_cores_do_not_matter_to_the_last_bit(folder, images, precision):
    """Nor does what else is asked at the same time; and torch's threads elsewhere stay as they are."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = SlideModel.from_folder(folder, "cpu", precision).predict(images)
        torch.set_num_threads(3)
        predict = SlideModel.from_folder(folder, "cpu", precision).predict
        with ThreadPoolExecutor(2) as pool:
            together = list(pool.map(predict, [images] * 4))
            assert list(pool.map(lambda _: torch.get_num_threads(), range(2))) == [3, 3]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    for found in together:
        np.testing.assert_array_equal(found, alone)


def test_precision(folder, images):
    exact, reduced = (SlideModel.from_folder(folder, "cpu", precision) for precision in ("fp32", "bf16"))
    assert (exact.precision, reduced.precision) == ("fp32", "bf16")
    difference = np.abs(exact.predict(images) - reduced.predict(images)).max()
    assert 0 < difference < 0.05
    with pytest.raises(InputError, match="precision: fp16 needs a GPU"):
        SlideModel.from_folder(folder, "cpu", "fp16")


@pytest.mark.parametrize(("amx", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_takes_bf16_where_a_cpu_multiplies_it_in_hardware(folder, monkeypatch, amx, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx})
    assert SlideModel.from_folder(folder, "cpu").precision == expected
