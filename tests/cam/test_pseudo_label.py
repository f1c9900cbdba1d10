"""Pseudo-labels of a classifier whose features are the colours of the image."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from wsss_mm.cam import PseudoLabeller
from wsss_mm.cam.pseudo_label import label_map, min_max
from wsss_mm.cam.store import label_patches, write_pseudo_labels
from wsss_mm.errors import InputError
from wsss_mm.patches import IGNORE, VOCABULARIES

VOCABULARY = VOCABULARIES["luad_normal"]


class ColourClassifier:
    """Three classes, one for each colour channel; features at half the image's size."""

    head_weight = torch.eye(3)

    def normalize(self, images):
        return images / 255

    def features(self, images):
        return torch.nn.functional.avg_pool2d(images, 2)


@pytest.fixture
def image() -> np.ndarray:
    """Left third red, middle green, right blue."""
    picture = np.zeros((48, 48, 3), dtype=np.uint8)
    for channel in range(3):
        picture[:, 16 * channel : 16 * (channel + 1), channel] = 160
    return picture


def _labels(image, present, **options):
    return PseudoLabeller(ColourClassifier(), **options)(image[None], np.array([present]))


def test_classes_land_where_their_evidence_is(image):
    labels = _labels(image, [True, True, True]).labels[0]
    for index in range(3):
        assert (labels[:, 16 * index + 4 : 16 * index + 12] == index).all()


@pytest.mark.parametrize("flips", [False, True])
def test_absent_classes_never_appear(image, flips):
    labels = _labels(image, [True, False, True], flips=flips).labels[0]
    assert set(np.unique(labels)) <= {0, 2}


def test_single_label_fills_the_patch_and_agrees(image):
    result = _labels(image, [False, True, False])
    assert (result.labels == 1).all()
    assert result.agreement[0] == 1


def test_empty_label_set_is_ignored_throughout(image):
    result = _labels(image, [False, False, False])
    assert (result.labels == IGNORE).all()


def test_background_beats_every_cam(image):
    image[8:24, 8:40] = 230
    labels = _labels(image, [True, True, True]).labels[0]
    assert (labels[8:24, 8:40] == IGNORE).all()
    assert (labels == IGNORE).sum() == 16 * 32
    assert not (_labels(image, [True, True, True], background=False).labels == IGNORE).any()


def test_mirrored_patch_gives_mirrored_labels(image):
    rng = np.random.default_rng(0)
    noisy = np.clip(image + rng.integers(0, 60, image.shape), 0, 190).astype(np.uint8)
    labeller = PseudoLabeller(ColourClassifier(), flips=True)
    present = torch.ones(1, 3, dtype=torch.bool)
    plain = labeller.cams(noisy[None], 1.0)
    mirrored = labeller.cams(noisy[None, :, ::-1].copy(), 1.0)
    torch.testing.assert_close(plain, mirrored.flip(-1))
    assert (label_map(plain, present) == label_map(mirrored, present).flip(-1)).all()


def test_batch_equals_single(image):
    other = np.ascontiguousarray(image[::-1, ::-1])
    present = np.array([[True, True, False], [False, True, True]])
    labeller = PseudoLabeller(ColourClassifier())
    together = labeller(np.stack([image, other]), present)
    for index, picture in enumerate((image, other)):
        alone = labeller(picture[None], present[index : index + 1])
        np.testing.assert_array_equal(alone.labels[0], together.labels[index])
        assert alone.agreement[0] == pytest.approx(together.agreement[index])


def test_order_of_scales_does_not_matter(image):
    rng = np.random.default_rng(1)
    noisy = rng.integers(0, 190, image.shape).astype(np.uint8)
    results = [_labels(noisy, [True] * 3, scales=scales).labels for scales in ((0.75, 1.0, 1.25), (1.25, 0.75, 1.0))]
    np.testing.assert_array_equal(*results)


def test_min_max_is_joint_over_classes():
    maps = torch.tensor([[[[1.0, 2.0]], [[3.0, 5.0]]], [[[4.0, 4.0]], [[4.0, 4.0]]]])
    torch.testing.assert_close(min_max(maps), torch.tensor([[[[0, 0.25]], [[0.5, 1]]], [[[0.0, 0]], [[0, 0]]]]))


def test_min_max_of_each_class():
    maps = torch.tensor([[[[1.0, 2.0]], [[3.0, 5.0]]], [[[4.0, 4.0]], [[2.0, 4.0]]]])
    scaled = min_max(maps, each_class=True)
    torch.testing.assert_close(scaled, torch.tensor([[[[0.0, 1]], [[0, 1]]], [[[0, 0]], [[0, 1.0]]]]))


def test_present_class_without_evidence_wins_over_absent():
    cams = torch.zeros(1, 3, 2, 2)
    assert (label_map(cams, torch.tensor([[False, False, True]])) == 2).all()


class TestOptions:
    def test_gating_by_what_the_classifier_sees(self, image):
        """Scores are sigmoids of mean colours: only red and green are seen, whatever the label set says."""
        image[:, 32:] = (40, 160, 0)
        threshold = float(torch.sigmoid(torch.tensor(0.1)))
        options = {"gating": "predicted", "gate_threshold": threshold, "background": False}
        assert set(np.unique(_labels(image, [False, False, True], **options).labels)) == {0, 1}

    def test_the_likeliest_class_is_always_seen(self, image):
        image[:, :40] = (160, 0, 0)
        labels = _labels(image, [False, False, True], gating="predicted", gate_threshold=1.0).labels
        assert (labels == 0).all()

    def test_gating_off_lets_every_class_appear(self, image):
        assert set(np.unique(_labels(image, [True, False, False], gating="off").labels)) == {0, 1, 2}

    def test_a_faint_class_keeps_its_place_when_each_is_normalised_by_itself(self, image):
        """Red is bright everywhere, green faint and on the right alone: together red wins each pixel."""
        image[:] = (180, 0, 0)
        image[:, 32:] = (120, 60, 0)
        present = [True, True, False]
        assert (_labels(image, present, background=False).labels == 0).all()
        labels = _labels(image, present, background=False, normalization="class").labels
        assert (labels[0, :, 40:] == 1).all()
        assert (labels[0, :, :24] == 0).all()

    def test_single_is_the_scale_nearest_to_one(self, image):
        noisy = np.random.default_rng(1).integers(0, 190, image.shape).astype(np.uint8)
        single = _labels(noisy, [True] * 3, voting="single")
        alone = _labels(noisy, [True] * 3, scales=(1.0,))
        np.testing.assert_array_equal(single.labels, alone.labels)
        assert single.agreement[0] == 1

    def test_mean_is_the_argmax_of_the_mean_of_the_scaled_cams(self, image):
        noisy = np.random.default_rng(1).integers(0, 190, image.shape).astype(np.uint8)
        labeller = PseudoLabeller(ColourClassifier(), voting="mean", background=False)
        result = labeller(noisy[None], np.ones((1, 3), bool))
        cams = torch.stack([labeller.cams(noisy[None], scale) for scale in labeller.scales])
        np.testing.assert_array_equal(result.labels, cams.mean(dim=0).argmax(dim=1))
        votes = (cams.argmax(dim=2) == torch.from_numpy(result.labels).long()).float().mean()
        assert result.agreement[0] == pytest.approx(float(votes))
        assert 1 / 3 < result.agreement[0] < 1

    def test_methods_at_the_last_layer(self, image):
        """With an identity head all three methods order classes alike: each CAM is the colour channel."""
        labels = [_labels(image, [True] * 3, method=name).labels for name in ("grad_cam_plus_plus", "grad_cam", "cam")]
        np.testing.assert_array_equal(labels[0], labels[1])
        np.testing.assert_array_equal(labels[1], labels[2])


@pytest.fixture
def patches(tmp_path, image) -> pd.DataFrame:
    records = []
    for index, (size, present) in enumerate([(48, (1, 1, 1)), (48, (1, 0, 0)), (32, (0, 1, 1)), (48, (0, 0, 1))]):
        name = f"p{index}"
        Image.fromarray(image[:size, :size]).save(tmp_path / f"{name}.png")
        flags = dict(zip(VOCABULARY.codes, map(bool, present), strict=True))
        records.append({"patch_id": name, "split": "train", "path": f"{name}.png", **flags})
    return pd.DataFrame(records)


class TestStore:
    def _write(self, rows, source, target):
        labeller = PseudoLabeller(ColourClassifier())
        return write_pseudo_labels(label_patches(labeller, rows, source, VOCABULARY, batch_size=2), target, VOCABULARY)

    def test_manifest_describes_the_labels(self, patches, tmp_path):
        target = tmp_path / "out"
        frame = self._write(patches, tmp_path, target)
        assert list(frame["patch_id"]) == ["p0", "p1", "p2", "p3"]
        pd.testing.assert_frame_equal(pd.read_parquet(target / "manifest.parquet"), frame, check_dtype=False)
        for row in frame.to_dict("records"):
            with Image.open(target / row["path"]) as picture:
                assert picture.mode == "P"
                assert picture.getpalette()[:9] == [value for color in VOCABULARY.colors for value in color]
                labels = np.asarray(picture)
            assert labels.shape == ((32, 32) if row["patch_id"] == "p2" else (48, 48))
            assert row["coverage"] == pytest.approx((labels != IGNORE).mean())
            shares = [row[f"share_{code}"] for code in VOCABULARY.codes]
            assert shares == pytest.approx([(labels == index).mean() for index in range(3)])

    def test_same_input_same_bytes(self, patches, tmp_path):
        for name in ("one", "two"):
            self._write(patches, tmp_path, tmp_path / name)
        for path in sorted((tmp_path / "one").rglob("*.*")):
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()

    def test_overlapping_patches_narrow_each_others_classes(self, tmp_path, image):
        """All three colours are labelled left, green and blue right: what both cover is not red, though it is."""
        rows = pd.DataFrame(
            {"patch_id": name, "split": "train", "path": f"{name}.png", "slide_id": "s", "x": x, "y": 0, "size": 32}
            | dict(zip(VOCABULARY.codes, held, strict=True))
            for name, x, held in (("left", 0, (True, True, True)), ("right", 8, (False, True, True)))
        )
        for name, array in (("left", image[:32, :32]), ("right", image[:32, 8:40])):
            Image.fromarray(array).save(tmp_path / f"{name}.png")
        options = {"background": False, "scales": (1.0,)}
        for neighbours in (False, True):
            labeller = PseudoLabeller(ColourClassifier(), **options, neighbours=neighbours)
            for among in (None, rows):
                shown = rows if among is None else rows[:1]
                left = next(iter(label_patches(labeller, shown, tmp_path, VOCABULARY, among=among))).labels
                assert (left[:, :7] == 0).all()
                assert (left[:, 9:15] == 0).all() != neighbours
                assert set(np.unique(left[:, 8:])) <= ({1, 2} if neighbours else {0, 1, 2})

    def test_failure_leaves_what_was_there(self, patches, tmp_path):
        target = tmp_path / "out"
        self._write(patches, tmp_path, target)
        (tmp_path / "p3.png").write_bytes(b"no image")
        with pytest.raises(InputError, match=r"p3\.png"):
            self._write(patches.iloc[:4], tmp_path, target)
        assert len(list((target / "labels").iterdir())) == 4
        assert not list(tmp_path.glob(".out*"))


def test_a_class_of_high_temperature_gives_way(image):
    image = np.where(image > 0, 160, 60).astype(np.uint8)
    image[:, :16, 1] = 100
    even = _labels(image, [True, True, True]).labels[0]
    assert (even == _labels(image, [True, True, True], temperatures=[2.0, 2.0, 2.0]).labels[0]).all()
    cooled = _labels(image, [True, True, True], temperatures=[4.0, 1.0, 1.0]).labels[0]
    assert (even[:, 4:12] == 0).all()
    assert (cooled[:, 4:12] == 1).all()
    alone = _labels(image, [True, False, False], temperatures=[4.0, 1.0, 1.0]).labels[0]
    assert (alone == 0).all()  # what is there alone stays
