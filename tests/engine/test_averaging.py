"""The running mean of the weights, against a reference over the iterates themselves."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from wsss_mm.engine.averaging import WeightAveragingHook


@pytest.fixture
def runner():
    return SimpleNamespace(model=nn.Linear(2, 1, bias=False))


def train(hook, runner, values):
    for value in values:
        nn.init.constant_(runner.model.weight, value)
        hook.after_train_iter(runner, 0)


def weight(runner):
    return runner.model.weight[0, 0].item()


def test_mean_forgets_the_first_weights_soon_and_then_decays(runner):
    hook, values, expected = WeightAveragingHook(0.5), [4.0, 1.0, 2.0, 8.0, 3.0, 5.0, 7.0, 9.0, 6.0, 1.0], 4.0
    train(hook, runner, values)
    for count, value in enumerate(values, start=1):
        kept = min(0.5, (1 + count) / (10 + count))
        expected = kept * expected + (1 - kept) * value
    hook.after_train(runner)
    assert weight(runner) == pytest.approx(expected)


def test_validation_sees_the_mean_and_training_goes_on_without_it(runner):
    hook = WeightAveragingHook(0.9)
    train(hook, runner, [0.0, 10.0])
    hook.before_val_epoch(runner)
    assert 0 < weight(runner) < 10
    checkpoint = {"state_dict": runner.model.state_dict()}
    hook.before_save_checkpoint(runner, checkpoint)
    assert float(checkpoint["state_dict"]["weight"][0, 0]) == 10  # what a resumed training needs
    hook.after_val(runner)
    assert weight(runner) == 10


def test_a_resumed_mean_is_the_undisturbed_one(runner):
    whole, first, second = (WeightAveragingHook(0.8) for _ in range(3))
    train(whole, runner, [1.0, 2.0, 3.0, 4.0])
    train(first, runner, [1.0, 2.0])
    checkpoint = {"state_dict": runner.model.state_dict()}
    first.before_save_checkpoint(runner, checkpoint)
    second.after_load_checkpoint(runner, checkpoint)
    train(second, runner, [3.0, 4.0])
    assert torch.equal(whole.average["weight"], second.average["weight"])


def test_no_decay_is_no_average(runner):
    hook = WeightAveragingHook(0.0)
    train(hook, runner, [1.0, 5.0])
    hook.before_val_epoch(runner)
    hook.after_val(runner)
    hook.after_train(runner)
    assert weight(runner) == 5
