"""What a loss of the segmenter must be; every registered one is asked, in each variant."""

import inspect
from typing import get_args

import pytest
import torch

from tests.contracts.registered import losses

IGNORED = 255


def variants():
    for name, item in losses().items():
        variant = inspect.signature(item).parameters.get("variant")
        yield from ((name, {"variant": word}) for word in get_args(variant.annotation)) if variant else [(name, {})]


@pytest.fixture(params=variants(), ids=lambda item: "-".join((item[0], *item[1].values())))
def make(request):
    name, options = request.param
    return lambda **more: losses()[name](**options, **more)


@pytest.fixture
def case():
    """Logits (2, 3, 6, 5) and labels, a fifth of which is ignored."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 3, 6, 5, generator=generator)
    target = torch.randint(0, 3, (2, 6, 5), generator=generator)
    target[torch.rand(2, 6, 5, generator=generator) < 0.2] = IGNORED
    return logits, target


def test_it_is_called_as_mmseg_calls_it(make, case):
    loss, (logits, target) = make(), case
    assert {"weight", "ignore_index", "avg_factor", "reduction_override"} <= set(
        inspect.signature(loss.forward).parameters
    )
    assert loss.loss_name.startswith("loss_")
    value = loss(logits, target, weight=None, ignore_index=IGNORED)
    assert value.shape == ()
    assert value > 0


def test_ignored_pixels_do_not_count(make, case):
    logits, target = case
    others = torch.where((target == IGNORED)[:, None], logits + 50, logits).requires_grad_()
    value = make()(others, target, ignore_index=IGNORED)
    torch.testing.assert_close(value, make()(logits, target, ignore_index=IGNORED))
    value.backward()
    assert not others.grad.permute(0, 2, 3, 1)[target == IGNORED].any()
    other = torch.where(target == IGNORED, 9, target)
    torch.testing.assert_close(make()(logits, other, ignore_index=9), value.detach())


def test_nothing_labelled_is_nothing_to_learn(make, case):
    logits = case[0].requires_grad_()
    value = make()(logits, torch.full((2, 6, 5), IGNORED), ignore_index=IGNORED)
    value.backward()
    assert value == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("scale", [1e-3, 1, 1e4])
def test_its_gradient_is_finite_and_leads_downhill(make, case, scale):
    logits, target = (case[0] * scale).requires_grad_(), case[1]
    value = make()(logits, target, ignore_index=IGNORED)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()
    if scale == 1:
        assert make()(logits.detach() - 0.1 * logits.grad, target, ignore_index=IGNORED) < value


def test_weights_of_pixels(make, case):
    """Between none, which takes a pixel out, and one, which changes nothing, they are factors."""
    (logits, target), loss = case, make()
    plain = loss(logits, target, ignore_index=IGNORED, reduction_override="none")
    weight = torch.rand(target.shape, generator=torch.Generator().manual_seed(4))
    weighted = loss(logits, target, weight=weight, ignore_index=IGNORED, reduction_override="none")
    torch.testing.assert_close(weighted, plain * weight)
    ones = loss(logits, target, weight=torch.ones(target.shape), ignore_index=IGNORED)
    torch.testing.assert_close(ones, loss(logits, target, ignore_index=IGNORED))


def test_reductions_agree(make, case):
    (logits, target), loss = case, make()
    each, total, mean = (
        loss(logits, target, ignore_index=IGNORED, reduction_override=word) for word in ("none", "sum", "mean")
    )
    assert each.shape == target.shape
    torch.testing.assert_close(each.sum(), total)
    torch.testing.assert_close(total / (target != IGNORED).sum(), mean)
    torch.testing.assert_close(loss(logits, target, ignore_index=IGNORED), mean)
    torch.testing.assert_close(loss(logits, target, ignore_index=IGNORED, avg_factor=7.0), total / 7)


def test_its_own_weight_is_a_factor(make, case):
    logits, target = case
    once, thrice = (make(loss_weight=factor)(logits, target, ignore_index=IGNORED) for factor in (1.0, 3.0))
    torch.testing.assert_close(thrice, 3 * once)


def test_less_precise_logits_give_the_same_to_their_precision(make, case):
    logits, target = case
    exact = make()(logits.double(), target, ignore_index=IGNORED).item()
    assert make()(logits, target, ignore_index=IGNORED).item() == pytest.approx(exact, rel=1e-5)
    half = make()(logits.bfloat16(), target, ignore_index=IGNORED)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(exact, rel=2e-2)


def test_images_do_not_depend_on_each_other(make, case):
    (logits, target), loss = case, make()
    both = loss(logits, target, ignore_index=IGNORED, reduction_override="none")
    alone = loss(logits[1:], target[1:], ignore_index=IGNORED, reduction_override="none")
    torch.testing.assert_close(both[1:], alone)
