"""Closed form and autograd Grad-CAM++ agree, and both equal a case worked out by hand."""

import pytest
import torch
from torch import nn

from wsss_mm.cam import cam, grad_cam, grad_cam_autograd, grad_cam_plus_plus, grad_cam_plus_plus_autograd


def _linear_head(features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return features.mean(dim=(2, 3)) @ weight.T


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 16, 7, 9, generator=generator).relu()
    return features, torch.randn(4, 16, generator=generator)


def test_closed_form_by_hand():
    features = torch.tensor([[[[1.0, 3.0]], [[0.0, 2.0]]]])  # means 2 and 1
    weight = torch.tensor([[1.0, -5.0], [0.5, 2.0]])
    maps = grad_cam_plus_plus(features, weight)
    # class 0: w = [1 / (2 + 1*2), 0] = [1/4, 0]; class 1: w = [0.5 / (2 + 0.5*2), 2 / (2 + 2*1)] = [1/6, 1/2]
    expected = torch.tensor([[[[1 / 4, 3 / 4]], [[1 / 6, 3 / 6 + 1]]]])
    torch.testing.assert_close(maps, expected)


@pytest.mark.parametrize("eps", [0.0, 1e-6, 1e-3])
def test_autograd_equals_closed_form(case, eps):
    features, weight = case
    leaf = features.clone().requires_grad_()
    autograd = grad_cam_plus_plus_autograd(leaf, _linear_head(leaf, weight), eps)
    closed = grad_cam_plus_plus(features, weight, eps)
    assert ((autograd - closed).abs().amax() / closed.abs().amax()) < 1e-5
    torch.testing.assert_close(autograd, closed, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("eps", [0.0, 1e-6])
def test_autograd_equals_the_published_formula(case, eps):
    """The formula as it is printed, in float64, through a nonlinear head where g varies over the map."""
    features, weight = case
    features = features.double().requires_grad_()
    conv = nn.Conv2d(16, 4, 3, padding=1).double()
    logits = conv(features).tanh().mean(dim=(2, 3)) + _linear_head(features, weight.double())
    maps = grad_cam_plus_plus_autograd(features, logits, eps)
    for image in range(3):
        for c in range(4):
            g = torch.autograd.grad(logits[image, c], features, retain_graph=True)[0][image]
            total = features[image].sum(dim=(1, 2), keepdim=True)
            alpha = g**2 / (2 * g**2 + total * g**3 + eps)
            w = (g.relu() * alpha).sum(dim=(1, 2))
            torch.testing.assert_close(maps[image, c], (w[:, None, None] * features[image]).sum(0).detach())


def test_head_may_be_a_convolution(case):
    features, weight = case
    torch.testing.assert_close(
        grad_cam_plus_plus(features, weight[..., None, None]), grad_cam_plus_plus(features, weight)
    )


@pytest.mark.parametrize("eps", [0.0, 1e-6])
def test_negative_weights_never_give_nan(eps):
    """W mean(A) = -2 makes the denominator of the formula vanish, but ReLU(W) drops that channel."""
    features = torch.full((1, 2, 4, 4), 2.0)
    weight = torch.tensor([[-1.0, 0.0], [-3.0, 1.0]])
    leaf = features.clone().requires_grad_()
    for maps in (
        grad_cam_plus_plus(features, weight, eps),
        grad_cam_plus_plus_autograd(leaf, _linear_head(leaf, weight), eps),
    ):
        assert torch.isfinite(maps).all()
        assert (maps[:, 0] == 0).all()
        assert (maps[:, 1] > 0).all()


def test_large_eps_makes_weights_cubic():
    """The trap: eps far above g^2 turns w into W^3 / (eps (hw)^2)."""
    features = torch.ones(1, 2, 28, 28)
    features[:, 1] = 0
    one, two = (grad_cam_plus_plus(features, torch.tensor([[w, 0.0]]), eps=1e-2).amax() for w in (0.1, 0.2))
    assert two / one == pytest.approx(8, rel=0.05)


def test_autograd_keeps_the_graph_and_gradients_clean(case):
    features, weight = case
    leaf = features.clone().requires_grad_()
    logits = _linear_head(leaf, weight)
    assert not grad_cam_plus_plus_autograd(leaf, logits).requires_grad
    assert leaf.grad is None
    logits.sum().backward()


def test_grad_cam_equals_its_closed_form(case):
    features, weight = case
    leaf = features.clone().requires_grad_()
    closed = grad_cam(features, weight)
    torch.testing.assert_close(grad_cam_autograd(leaf, _linear_head(leaf, weight)), closed, rtol=1e-5, atol=1e-7)
    assert closed.min() == 0


def test_cam_averages_to_the_logits(case):
    """Zhou et al. 2016: the class map is the class score before it is pooled."""
    features, weight = case
    torch.testing.assert_close(cam(features, weight[..., None, None]).mean(dim=(2, 3)), _linear_head(features, weight))
