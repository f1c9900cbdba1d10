import torch

from wsss_mm.engine.hooks import KeyedRandomnessHook


def test_dropout_is_keyed_by_iteration():
    hook = KeyedRandomnessHook(seed=3)

    def draw(iteration):
        hook.before_train_iter(type("Runner", (), {"iter": iteration}), 0)
        return torch.rand(3).tolist()

    first = draw(7)
    assert draw(8) != first
    assert draw(7) == first
