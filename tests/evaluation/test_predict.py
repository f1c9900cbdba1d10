import numpy as np
import pandas as pd
import pytest
import torch

from wsss_mm.errors import InputError
from wsss_mm.evaluation.judge import Judgement, judge_patches, typical_patches
from wsss_mm.evaluation.predict import augmented_probabilities, gate, predict_patches
from wsss_mm.patches import IGNORE, get_vocabulary
from wsss_mm.patches.images import store_patch

LUNG = get_vocabulary("lung")


class ByColour(torch.nn.Module):
    """A segmenter that reads the class out of the red channel, and notes what it was shown."""

    def __init__(self, classes=4):
        super().__init__()
        self.classes, self.shown = classes, []

    def predict_probabilities(self, images):
        assert images.dtype == torch.uint8
        self.shown.append(images)
        index = (images[:, 0].float() / 50).round().long().clamp(0, self.classes - 1)
        return torch.nn.functional.one_hot(index, self.classes).permute(0, 3, 1, 2).float()


class Fixed(torch.nn.Module):
    """A segmenter blind to its input: left half class 0, right half class 1."""

    def predict_probabilities(self, images):
        probabilities = torch.zeros(len(images), 2, *images.shape[-2:])
        half = images.shape[-1] // 2
        probabilities[:, 0, :, :half] = probabilities[:, 1, :, half:] = 1
        return probabilities


class Scores(torch.nn.Module):
    def __init__(self, scores):
        super().__init__()
        self.scores = torch.tensor(scores)

    def predict(self, images):
        return self.scores.expand(len(images), -1)


def striped(size=32):
    labels = np.repeat(np.arange(4, dtype=np.uint8), size // 4)
    mask = np.tile(labels, (size, 1))
    return np.repeat((mask * 50)[..., None], 3, axis=2), mask


class TestAugmentation:
    def test_mirrored_answers_are_mirrored_back(self):
        image, mask = striped()
        images = torch.from_numpy(image).permute(2, 0, 1)[None]
        probabilities = augmented_probabilities(ByColour(), images, flip=True)
        np.testing.assert_array_equal(probabilities.argmax(1)[0], mask)
        assert probabilities.max() == 1

    def test_a_blind_segmenter_is_averaged_with_its_mirror_image(self):
        probabilities = augmented_probabilities(Fixed(), torch.zeros(1, 3, 8, 8, dtype=torch.uint8), flip=True)
        torch.testing.assert_close(probabilities, torch.full((1, 2, 8, 8), 0.5))

    def test_scales_change_what_is_shown_but_not_the_answers_size(self):
        image, mask = striped(64)
        model = ByColour()
        images = torch.from_numpy(image).permute(2, 0, 1)[None]
        probabilities = augmented_probabilities(model, images, scales=(0.75, 1, 1.25), flip=False)
        assert [tuple(shown.shape[-2:]) for shown in model.shown] == [(48, 48), (64, 64), (80, 80)]
        torch.testing.assert_close(probabilities.sum(1), torch.ones(1, 64, 64))
        assert (probabilities.argmax(1)[0].numpy() == mask).mean() > 0.95

    def test_no_scales_is_an_error(self):
        with pytest.raises(ValueError, match="scales"):
            augmented_probabilities(ByColour(), torch.zeros(1, 3, 8, 8, dtype=torch.uint8), scales=())


class TestGate:
    def test_suppressed_classes_are_zero_and_the_others_unchanged(self):
        probabilities = torch.rand(2, 3, 4, 4)
        gated = gate(probabilities, torch.tensor([[0.9, 0.05, 0.2], [0.0, 0.1, 0.9]]), 0.1)
        assert (gated[0, 1] == 0).all()
        assert (gated[1, 0] == 0).all()
        for patch, kept in ((0, [0, 2]), (1, [1, 2])):
            torch.testing.assert_close(gated[patch, kept], probabilities[patch, kept])

    def test_the_best_class_survives_when_all_are_below_the_threshold(self):
        gated = gate(torch.ones(1, 3, 2, 2), torch.tensor([[0.01, 0.03, 0.02]]), 0.5)
        assert gated.amax(dim=(2, 3)).tolist() == [[0, 1, 0]]


@pytest.fixture
def patches(tmp_path):
    image, mask = striped()
    hole = mask.copy()
    hole[:4] = IGNORE
    rows = [
        store_patch(tmp_path, name, "test", image=image, mask=truth, vocabulary=LUNG) | {"slide_id": "s"}
        for name, truth in (("a", mask), ("b", hole), ("c", None), ("d", np.full_like(mask, IGNORE)))
    ]
    big = np.zeros((40, 40, 3), np.uint8)
    rows.append(
        store_patch(tmp_path, "e", "test", image=big, mask=big[..., 0] + 1, vocabulary=LUNG) | {"slide_id": "s"}
    )
    return tmp_path, pd.DataFrame(rows)


class TestSplit:
    def test_every_patch_in_order_whatever_its_size(self, patches):
        folder, rows = patches
        found = list(predict_patches(ByColour(), Scores([0.9] * 4), rows, folder, batch_size=2))
        assert [patch.patch_id for patch in found] == list("abcde")
        assert found[2].truth is None
        assert found[4].ungated.shape == (40, 40)
        np.testing.assert_array_equal(found[0].ungated, found[0].truth)

    def test_gating_changes_the_gated_map_alone(self, patches):
        folder, rows = patches
        patch = next(iter(predict_patches(ByColour(), Scores([0.9, 0.0, 0.9, 0.9]), rows, folder, threshold=0.1)))
        assert 1 in patch.ungated
        assert 1 not in patch.gated

    def test_judgement_counts_truth_once(self, patches):
        folder, rows = patches
        found = judge_patches(predict_patches(ByColour(), Scores([0.9] * 4), rows, folder), LUNG)
        assert found.ungated.sum() == 32 * 32 + 28 * 32 + 40 * 40
        assert found.patches["patch_id"].tolist() == ["a", "b", "e"]  # c has no mask, d no truth
        assert found.patches["miou"].tolist() == [1, 1, 0]
        np.testing.assert_array_equal(found.gated, found.ungated)

    def test_missing_file_is_named(self, patches):
        folder, rows = patches
        (folder / "images/test/a.png").unlink()
        with pytest.raises(InputError, match=r"a\.png: not found.*dvc checkout"):
            list(predict_patches(ByColour(), Scores([0.9] * 4), rows, folder))


class TestTypicalPatches:
    def test_best_median_worst(self):
        patches = pd.DataFrame({"patch_id": list("abcdefg"), "wrong": [90, 10, 50, 0, 70, 30, 80], "classes": 2})
        assert typical_patches(patches, 1) == {"best": ["d"], "median": ["c"], "worst": ["a"]}

    def test_wrong_pixels_make_a_patch_the_worst_and_not_a_corner_of_a_second_class(self):
        """In `corner` all is right but 4 pixels, which are all that there is of a class; in `half` half is wrong."""
        corner, half = np.zeros((2, 4, 4), dtype=np.int64)
        corner[0, 0], corner[1, 0] = 96, 4
        half[0, 0], half[0, 1], half[1, 1], half[1, 0] = 25, 25, 25, 25
        patches = pd.DataFrame({"patch_id": ["half", "corner"], "slide_id": "s"})
        judged = Judgement.of(patches, np.stack([half, corner]), np.stack([half, corner]), LUNG.codes).patches
        assert judged["wrong"].tolist() == [50, 4]
        assert judged["known"].tolist() == [100, 100]
        assert typical_patches(judged, 1) == {"best": ["corner"], "median": [], "worst": ["half"]}
        half[1], half[0, 1] = 0, 25  # now its mIoU is the better one, and 25 pixels are wrong all the same
        judged = Judgement.of(patches, np.stack([half, corner]), np.stack([half, corner]), LUNG.codes).patches
        assert typical_patches(judged, 1)["worst"] == ["half"]

    def test_among_equals_those_with_more_classes(self):
        patches = pd.DataFrame({"patch_id": list("abc"), "wrong": 0, "classes": [1, 3, 2]})
        assert typical_patches(patches, 1) == {"best": ["b"], "median": ["c"], "worst": ["a"]}

    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_few_patches_are_each_named_once(self, count):
        patches = pd.DataFrame({"patch_id": list("ab"), "wrong": [1, 2], "classes": 1})
        names = [name for group in typical_patches(patches, count).values() for name in group]
        assert sorted(names) == ["a", "b"]
