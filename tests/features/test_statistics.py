"""Statistics of patches: finite, the same however a patch is turned, and different where tissue is."""

import cv2
import numpy as np
import pytest

from tests.gates.project import tissue_image
from wsss_mm.features.statistics import names, simple_features
from wsss_mm.patches.appearance import image_statistics


@pytest.fixture(scope="module")
def image():
    return tissue_image(np.random.default_rng(0), 224, 224)


def column(found, name):
    return found[:, names().index(name)]


def test_one_row_an_image_and_a_name_a_column(image):
    found = simple_features(np.stack([image, image[::-1]]))
    assert found.shape == (2, len(names()))
    assert found.dtype == np.float32
    assert 40 <= len(names()) <= 60
    assert len(set(names())) == len(names())
    assert simple_features(np.zeros((0, 32, 32, 3), np.uint8)).shape == (0, len(names()))


@pytest.mark.parametrize("value", [0, 255, 128])
def test_all_are_finite_where_nothing_is_to_be_seen(value):
    found = simple_features(np.full((1, 64, 64, 3), value, np.uint8))
    assert np.isfinite(found).all()
    assert column(found, "skew_haematoxylin") == 0
    assert column(found, "glass") == (value == 255)
    assert column(found, "pattern_0_1") == 1
    assert np.isfinite(found.astype(np.float16)).all()


def test_stain_is_what_the_gates_measure(image):
    whole = image_statistics(image)  # of tissue, which all of it is
    found = simple_features(image[None])
    assert column(found, "glass")[0] < 1e-3
    assert column(found, "mean_haematoxylin")[0] == pytest.approx(whole["haematoxylin"], abs=2e-3)
    assert column(found, "mean_eosin")[0] == pytest.approx(whole["eosin"], abs=2e-3)


def test_turned_and_mirrored_it_is_the_same(image):
    image = cv2.GaussianBlur(image, (0, 0), 1.5)
    image[:, :60] = 245
    turned = [image, np.rot90(image), image[::-1], image[:, ::-1], image.swapaxes(0, 1)]
    found = simple_features(np.stack(turned))
    np.testing.assert_allclose(found, np.broadcast_to(found[0], found.shape), rtol=1e-3, atol=1e-4)


def test_what_differs_is_told(image):
    y, x = np.mgrid[:224, :224]
    fibres = np.where(((x + y) // 8 % 2)[..., None] == 0, image, np.uint8(235)).astype(np.uint8)
    blurred = cv2.GaussianBlur(image, (0, 0), 3)
    pale = (255 - (255 - image.astype(int)) // 2).astype(np.uint8)
    plain, striped, soft, light = simple_features(np.stack([image, fibres, blurred, pale]))[:, :, None]
    value = {
        name: {key: row[names().index(name), 0] for key, row in rows.items()}
        for rows in [{"plain": plain, "striped": striped, "soft": soft, "light": light}]
        for name in names()
    }
    assert value["alignment_4"]["striped"] > 0.8 > 0.5 > value["alignment_4"]["plain"]
    assert value["laplacian_1"]["soft"] < value["laplacian_1"]["plain"] - 2
    assert value["mean_haematoxylin"]["light"] < 0.7 * value["mean_haematoxylin"]["plain"]
    assert value["nuclei"]["light"] < value["nuclei"]["plain"]
