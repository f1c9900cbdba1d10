import pytest
import torch

from wsss_mm.engine.hooks import KeyedRandomnessHook
from wsss_mm.engine.runner import _told_of
from wsss_mm.errors import InputError


def test_dropout_is_keyed_by_iteration():
    hook = KeyedRandomnessHook(seed=3)

    def draw(iteration):
        hook.before_train_iter(type("Runner", (), {"iter": iteration}), 0)
        return torch.rand(3).tolist()

    first = draw(7)
    assert draw(8) != first
    assert draw(7) == first


def test_a_worker_that_is_killed_while_something_is_built_is_no_fault_of_the_config(tmp_path):
    """Torch says so wherever the main process is just then."""
    with pytest.raises(RuntimeError, match="DataLoader worker"), _told_of(tmp_path, "val_dataloader"):
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed.")
    with pytest.raises(InputError, match="val_dataloader cannot be built"), _told_of(tmp_path, "val_dataloader"):
        raise RuntimeError("no such thing")
