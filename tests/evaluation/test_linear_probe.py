"""The first baseline: what colour and texture alone tell of patches, by average precision and as a map."""

import numpy as np
import pandas as pd
import pytest

from wsss_mm.evaluation.judge import Judgement
from wsss_mm.evaluation.linear_probe import linear_probe
from wsss_mm.patches.images import store_patch
from wsss_mm.vocabulary import get_vocabulary

LUNG = get_vocabulary("lung")
SIDE = 32
COLOURS = ((200, 90, 160), (120, 60, 150), (225, 170, 205), (90, 140, 90))


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    """Patches of one class each, told by their colour; and a folder of them."""
    folder, rng, rows = tmp_path_factory.mktemp("probe"), np.random.default_rng(0), []
    for split, count in (("train", 24), ("valid", 8), ("test", 8)):
        for number in range(count):
            index = number % 4
            image = np.clip(rng.normal(COLOURS[index], 12, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
            kept = store_patch(folder, f"{split}-{number}", split, image=image, mask=None, vocabulary=LUNG)
            flags = {code: index == place for place, code in enumerate(LUNG.codes)}
            place = {"slide_id": split, "patient_id": split, "x": -1, "y": -1, "mpp": 1.0, "unsure": ""}
            rows.append(kept | place | flags)
    return folder, pd.DataFrame(rows)


def _judgement(manifest, mixed):
    """Of the test patches: all pixels are of the labelled class, but for some of `mixed` that are of the next one."""
    rows = manifest[manifest["split"] == "test"]
    counts = np.zeros((len(rows), 4, 4), np.int64)
    for patch, index in zip(counts, rows[list(LUNG.codes)].to_numpy().argmax(axis=1), strict=True):
        patch[index, index], patch[(index + 1) % 4, index] = 100 - mixed, mixed
    return Judgement.of(rows, counts, counts, LUNG.codes)


def test_what_colour_tells_is_found(patches, tmp_path):
    folder, manifest = patches
    found = linear_probe(_judgement(manifest, 0), manifest, folder, tmp_path, LUNG.codes)
    assert found["on"] == "statistics"
    assert found["mean_ap.valid"] == found["mean_ap.test"] == 1.0
    assert found["miou"] == 1.0


def test_as_a_map_a_patch_is_wholly_of_its_likeliest_class(patches, tmp_path):
    """A quarter of each patch is another tissue: 75 right, 25 missed and 25 wrongly taken, of each class."""
    folder, manifest = patches
    found = linear_probe(_judgement(manifest, 25), manifest, folder, tmp_path, LUNG.codes)
    assert found["miou"] == pytest.approx(75 / 125)
    assert [found[f"iou.{code}"] for code in LUNG.codes] == pytest.approx([75 / 125] * 4)


def test_without_training_patches_there_is_none(patches, tmp_path):
    folder, manifest = patches
    others = manifest[manifest["split"] != "train"]
    assert linear_probe(_judgement(manifest, 0), others, folder, tmp_path, LUNG.codes) == {}
