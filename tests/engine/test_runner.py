import pytest
import torch

from wsss_mm.engine import load_config
from wsss_mm.engine.hooks import KeyedRandomnessHook
from wsss_mm.engine.runner import config_text

CONFIGS = ["classifier.py", "segmenter.py"]


@pytest.mark.parametrize("name", CONFIGS)
def test_items_of_lists_are_addressed_by_type(project_root, name):
    config = load_config(
        project_root / "mmconfigs" / name,
        {
            "train_dataloader.dataset.pipeline.StainJitter.strength": 0.7,
            "custom_hooks.CurvesHook.interval": 13,
            "param_scheduler.PolyLR.end": 99,
            "model.backbone.width": 0.5,
        },
    )
    jitter = [item for item in config.train_dataloader.dataset.pipeline if "StainJitter" in item.type]
    assert [item.strength for item in jitter] == [0.7]
    assert [hook.interval for hook in config.custom_hooks if "Curves" in hook.type] == [13]
    assert [item.get("end") for item in config.param_scheduler] == [None, 99]
    assert config.model.backbone.width == 0.5


def test_an_unknown_type_is_an_error(project_root):
    with pytest.raises(KeyError, match="StainJiter"):
        load_config(project_root / "mmconfigs/classifier.py", {"train_dataloader.dataset.pipeline.StainJiter.x": 1})


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_hold_structure_not_values(project_root, name):
    """params.yaml is the one place of the values it has."""
    text = config_text(load_config(project_root / "mmconfigs" / name, {}))
    for value in ("lr=", "batch_size=", "max_iters=", "width=", "momentum=", "weight_decay="):
        assert value not in text.replace(" ", "")


def test_dropout_is_keyed_by_iteration():
    hook = KeyedRandomnessHook(seed=3)

    def draw(iteration):
        hook.before_train_iter(type("Runner", (), {"iter": iteration}), 0)
        return torch.rand(3).tolist()

    first = draw(7)
    assert draw(8) != first
    assert draw(7) == first
