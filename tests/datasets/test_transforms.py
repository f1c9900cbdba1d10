import numpy as np
import pytest

from wsss_mm.datasets import FlipAndRotate, FocusJitter, RandomCrop, RandomDeformation, StainJitter


def sample(seed=0, size=64):
    """An image whose red channel is its label map: after any geometry both must still agree."""
    rng = np.random.default_rng(7)
    blocks = rng.integers(0, 4, (size // 16, size // 16)).astype(np.uint8)
    labels = np.kron(blocks, np.ones((16, 16), np.uint8))
    image = np.stack([labels * 60, labels * 60, labels * 60], axis=-1)
    return {"img": image, "gt_seg_map": labels, "rng": np.random.default_rng(seed)}


GEOMETRY = [
    FlipAndRotate(rotate=True),
    RandomCrop(40),
    RandomDeformation(scale=(0.7, 1.4), degrees=30, elastic=3.0),
]


@pytest.mark.parametrize("transform", GEOMETRY, ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("seed", range(6))
def test_image_and_labels_move_together(transform, seed):
    results = transform(sample(seed))
    image, labels = results["img"], results["gt_seg_map"]
    assert image.shape[:2] == labels.shape == results["img_shape"]
    agree = np.abs(image[..., 0].astype(int) - labels * 60) <= 30
    assert agree.mean() > 0.9  # linear against nearest differ at the borders of the blocks only
    assert (labels != sample(seed)["gt_seg_map"][: labels.shape[0], : labels.shape[1]]).any() or seed


@pytest.mark.parametrize(
    "transform", [*GEOMETRY, StainJitter(0.3), FocusJitter((0.4, 2.5))], ids=lambda t: type(t).__name__
)
def test_a_function_of_the_generator(transform):
    one, two, other = transform(sample(1)), transform(sample(1)), transform(sample(2))
    np.testing.assert_array_equal(one["img"], two["img"])
    assert one["img"].shape != other["img"].shape or (one["img"] != other["img"]).any()


def test_flips_and_turns_reach_all_eight_positions_equally():
    transform, counts = FlipAndRotate(rotate=True), {}
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    rng = np.random.default_rng(0)
    for _ in range(4000):
        key = transform({"img": image, "rng": rng})["img"].tobytes()
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 8
    assert min(counts.values()) > 400


def test_probability_of_a_flip():
    rng = np.random.default_rng(0)
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    never = FlipAndRotate(0, 0)
    assert all((never({"img": image, "rng": rng})["img"] == image).all() for _ in range(50))
    always = FlipAndRotate(1, 0)
    assert all((always({"img": image, "rng": rng})["img"] == image[:, ::-1]).all() for _ in range(50))


def test_zoom_is_exact():
    results = RandomDeformation(scale=(2.0, 2.0))(sample())
    centre = sample()["gt_seg_map"][16:48, 16:48]
    np.testing.assert_array_equal(results["gt_seg_map"][1::2, 1::2][1:-1, 1:-1], centre[1:-1, 1:-1])


def test_elastic_displacement_has_the_size_asked_for():
    x, _ = RandomDeformation(elastic=4.0, smoothness=16)._sources(np.random.default_rng(0), 256, 256)
    shift = x - np.arange(256)[None]
    assert 2.5 < shift.std() < 5
    assert np.abs(np.diff(shift, axis=1)).max() < 4  # smooth


def test_stain_jitter_is_photometric():
    rng = np.random.default_rng(0)
    image = rng.integers(60, 220, (32, 32, 3)).astype(np.uint8)
    assert StainJitter(0)({"img": image, "rng": rng})["img"] is image
    for seed in range(5):
        changed = StainJitter(0.2)({"img": image, "rng": np.random.default_rng(seed)})["img"]
        difference = np.abs(changed.astype(int) - image).mean()
        assert 1 < difference < 60
        assert np.corrcoef(changed.ravel(), image.ravel())[0, 1] > 0.85


def test_crop_of_a_smaller_patch_keeps_it():
    results = RandomCrop(100)(sample())
    assert results["img"].shape == (64, 64, 3)


def test_crops_reach_the_whole_patch():
    corners = {RandomCrop(60)({**sample(), "rng": np.random.default_rng(s)})["img"].tobytes() for s in range(200)}
    assert len(corners) > 20


def test_focus_multiplies_fine_detail_and_leaves_the_rest():
    rng = np.random.default_rng(0)
    image = np.clip(128 + rng.normal(0, 12, (64, 64, 3)), 0, 255).astype(np.uint8)
    detail = {}
    for factor in (0.5, 2.0):
        results = FocusJitter((factor, factor))({"img": image, "rng": np.random.default_rng(0)})
        detail[factor] = results["img"].std() / image.std()
        assert results["img"].mean() == pytest.approx(image.mean(), abs=1)
    assert detail[0.5] == pytest.approx(0.55, abs=0.08)
    assert detail[2.0] == pytest.approx(1.95, abs=0.15)
    flat = {"img": np.full((8, 8, 3), 90, np.uint8), "rng": np.random.default_rng(0)}
    np.testing.assert_array_equal(FocusJitter((0.4, 2.5))(flat)["img"], flat["img"])


def test_focus_that_does_not_vary_draws_nothing():
    """Trainings without it stay what they were, to the byte."""
    rng = np.random.default_rng(3)
    image = np.zeros((4, 4, 3), np.uint8)
    assert FocusJitter()({"img": image, "rng": rng})["img"] is image
    assert rng.random() == np.random.default_rng(3).random()
