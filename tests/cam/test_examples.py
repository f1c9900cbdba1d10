from types import SimpleNamespace

import numpy as np
import pytest
import torch

from wsss_mm.cam import CamExamplesHook
from wsss_mm.models import PatchClassifier
from wsss_mm.patches import VOCABULARIES

LUNG = VOCABULARIES["lung"]
NORMALISATION = {"type": "mmengine.ImgDataPreprocessor", "mean": [120.0] * 3, "std": [60.0] * 3}


class Patches:
    """Six patches; the third holds two classes, the others one."""

    vocabulary = LUNG

    def __len__(self):
        return 6

    def decoded(self, index):
        label = np.array([1, index == 2, 0, 0], np.float32)
        image = np.random.default_rng(index).integers(0, 255, (48, 48, 3), dtype=np.uint8)
        return {"patch_id": f"p{index}", "img": image, "label": label}


@pytest.fixture
def runner():
    torch.manual_seed(0)
    model = PatchClassifier({"type": "wsss_mm.ResNet38", "width": 1 / 32}, 4, data_preprocessor=NORMALISATION)
    logged = []
    loader = SimpleNamespace(dataset=Patches())
    visualizer = SimpleNamespace(add_image=lambda name, image, step: logged.append((name, image, step)))
    return SimpleNamespace(
        model=model, val_dataloader=loader, train_dataloader=loader, visualizer=visualizer, iter=40, logged=logged
    )


def test_the_same_patches_each_time_at_their_step(runner):
    hook = CamExamplesHook(count=3)
    hook.after_val_epoch(runner)
    first = list(runner.logged)
    runner.iter = 80
    hook.after_val_epoch(runner)
    names = [f"examples.{split}.p{index}" for split in ("valid", "train") for index in (0, 2, 5)]
    assert [name for name, _, _ in first] == names
    assert [(name, step) for name, _, step in runner.logged[6:]] == [(name, 80) for name in names]


def test_a_panel_for_each_class_the_patch_holds(runner):
    CamExamplesHook(count=3).after_val_epoch(runner)
    width = {name: image.shape[1] for name, image, _ in runner.logged}
    assert width["examples.valid.p2"] > width["examples.valid.p0"] == width["examples.valid.p5"]


def test_weights_and_random_numbers_stay_as_they_are(runner):
    """Pictures must not change what is learnt."""
    before = {key: value.clone() for key, value in runner.model.state_dict().items()}
    state = torch.get_rng_state()
    CamExamplesHook().after_val_epoch(runner)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in runner.model.state_dict().items())
