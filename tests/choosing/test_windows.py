"""Validation patches are cut and labelled like training patches."""

import numpy as np
import pandas as pd
import pytest

from wsss_mm.choosing.windows import validation_windows
from wsss_mm.patches.images import store_patch
from wsss_mm.vocabulary import IGNORE, get_vocabulary

VOCABULARY = get_vocabulary("luad_normal")
CODES = VOCABULARY.codes


def _row(folder, name, split, mask, *, slide, corner=(0, 0), with_mask=True):
    image = (np.stack([mask] * 3, axis=2).astype(int) * 40 % 256).astype(np.uint8)
    kept = store_patch(folder, name, split, image=image, mask=mask if with_mask else None, vocabulary=VOCABULARY)
    flags = {code: bool((mask == index).any()) for index, code in enumerate(CODES)}
    return kept | {"slide_id": slide, "patient_id": slide, "x": corner[0], "y": corner[1], "mpp": 1.0} | flags


@pytest.fixture
def mask():
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 40:] = 1
    mask[:2, 40:42] = 2  # 4 px of the 1024 of its window
    return mask


def _manifest(folder, mask, corners=((0, 0), (64, 0))):
    train = [
        _row(folder, f"t{index}", "train", mask[:32, 16:48], slide="t", corner=corner, with_mask=False)
        for index, corner in enumerate(corners)
    ]
    return pd.DataFrame([*train, _row(folder, "v", "valid", mask, slide="v", corner=(100, 200))])


def test_larger_patches_are_cut_side_by_side(tmp_path, mask):
    windows = validation_windows(_manifest(tmp_path, mask), tmp_path, CODES, least=0.01, placed=True)
    assert windows.images.shape == (4, 32, 32, 3)
    assert windows.label_sets.tolist() == [[1, 0, 0], [1, 1, 0]] * 2  # the third class is too small to be seen
    assert (windows.masks[1] == mask[:32, 32:]).all()
    assert windows.places is None
    assert set(windows.patches) == {"v"}


def test_they_overlap_where_training_patches_do(tmp_path, mask):
    manifest = _manifest(tmp_path, mask, corners=((0, 0), (16, 0)))
    windows = validation_windows(manifest, tmp_path, CODES, least=0.01, placed=True)
    assert len(windows) == 9
    assert windows.places.corners[:2].tolist() == [[100, 200], [116, 200]]
    narrowed = windows.allowed(slice(0, 3), neighbours=True)
    assert narrowed.shape == (3, 3, 32, 32)
    assert not narrowed[1, 1, :, :16].any()  # the window left of it holds the first class alone
    assert validation_windows(manifest, tmp_path, CODES, least=0.01, placed=False).places is None


def test_as_many_as_are_wanted_are_taken(tmp_path, mask):
    manifest = _manifest(tmp_path, mask, corners=((0, 0), (16, 0)))
    assert len(validation_windows(manifest, tmp_path, CODES, least=0.01, placed=True, most=5)) == 5


def test_without_masks_or_with_one_class_there_is_nothing_to_try_on(tmp_path, mask):
    manifest = _manifest(tmp_path, mask)
    assert validation_windows(manifest[:2], tmp_path, CODES, least=0.01, placed=True) is None
    one = np.where(mask == 0, 0, IGNORE).astype(np.uint8)
    manifest = _manifest(tmp_path / "one", one)
    assert validation_windows(manifest, tmp_path / "one", CODES, least=0.01, placed=True) is None


def test_what_nobody_is_sure_of_may_appear(tmp_path, mask):
    manifest = _manifest(tmp_path, mask)
    small = _row(tmp_path, "w", "valid", mask[:32, 16:48], slide="w")
    small |= {CODES[1]: False, "unsure": CODES[1]}
    manifest = pd.concat([manifest, pd.DataFrame([small])], ignore_index=True)
    windows = validation_windows(manifest, tmp_path, CODES, least=0.01, placed=False)
    assert windows.label_sets[-1].tolist() == [True, True, bool((mask[:32, 16:48] == 2).any())]
