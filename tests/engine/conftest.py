"""A small cohort of patches with easy textures, and params for nets that train in seconds."""

from functools import cache
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from yapf.yapflib import yapf_api

from wsss_mm.patches import VOCABULARIES, write_manifest
from wsss_mm.settings import Params, load_profile

VOCABULARY = VOCABULARIES["lung"]
COLORS = np.array([[120, 40, 140], [230, 120, 150], [60, 50, 130], [240, 180, 200]], np.uint8)


PAIRS = list(permutations(range(4), 2))


def _picture(rng: np.random.Generator, size: int, pair: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Two classes side by side; each has its colour, with noise."""
    left, right = pair
    labels = np.full((size, size), left, np.uint8)
    labels[:, rng.integers(size // 3, 2 * size // 3) :] = right
    image = COLORS[labels] + rng.integers(-15, 15, (size, size, 1))
    return np.clip(image, 0, 255).astype(np.uint8), labels


def _write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture(autouse=True, scope="session")
def texts_are_laid_out_once():
    """mmengine has the text of each training's config laid out by yapf, 0.3 s of CPU; most trainings have the same."""
    original, known = yapf_api.FormatCode, {}

    def lay_out(text, **options):
        key = (text, repr(options))
        if key not in known:
            known[key] = original(text, **options)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yapf_api, "FormatCode", lay_out)
        yield


@pytest.fixture(scope="session")
def cohort(tmp_path_factory) -> Path:
    """Folder with patches/ and pseudo_labels/: 16 train, 6 valid patches of 48 px."""
    folder, rng, rows, labelled = tmp_path_factory.mktemp("cohort"), np.random.default_rng(0), [], []
    for index in range(22):
        split = "train" if index < 16 else "valid"
        patch_id = f"{split}-{index:02d}"
        image, labels = _picture(rng, 48, PAIRS[index % len(PAIRS)])
        path, mask = f"images/{split}/{patch_id}.png", f"masks/{split}/{patch_id}.png"
        _write(folder / "patches" / path, image)
        _write(folder / "patches" / mask, labels)
        row = {"patch_id": patch_id, "slide_id": split, "patient_id": split, "split": split, "x": 0, "y": 0, "mpp": 1.0}
        row |= {"size": 48, "path": path, "mask_path": mask, "sha256": "0", "tissue": 1.0}
        rows.append(row | {code: bool((labels == i).any()) for i, code in enumerate(VOCABULARY.codes)})
        if split == "train":
            noisy = labels.copy()
            noisy[:4] = 255
            _write(folder / "pseudo_labels" / "labels" / f"{patch_id}.png", noisy)
            labelled.append({"patch_id": patch_id, "path": f"labels/{patch_id}.png"})
    write_manifest(pd.DataFrame(rows), folder / "patches")
    pd.DataFrame(labelled).to_parquet(folder / "pseudo_labels" / "manifest.parquet")
    return folder


@pytest.fixture(scope="session")
def params() -> Params:
    """Profile phantom with a tiny network and a few iterations."""
    loaded = load_profile("phantom")
    small = {"width": 1 / 32, "batch_size": 4}
    classifier = loaded.classifier.model_copy(update={**small, "epochs": 3, "dropout": 0.5, "attention": "published"})
    segmenter = loaded.segmenter.model_copy(
        update={**small, "iterations": 12, "val_interval": 4, "crop": 40, "init": "none"}
    )
    return loaded.model_copy(update={"threads": 1, "classifier": classifier, "segmenter": segmenter})


@pytest.fixture(scope="session")
def trained(cohort, params, project_root, tmp_path_factory):
    """Gives, by kind, where an undisturbed training of `params` lies, and its metrics: to be read, and made once."""
    from tests.engine.test_training import TRAIN, paths

    @cache
    def train(kind: str):
        where = paths(cohort, tmp_path_factory.mktemp(kind))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TQDM_DISABLE", "1")
            patch.chdir(project_root)
            return where, TRAIN[kind](params, where)

    return train
