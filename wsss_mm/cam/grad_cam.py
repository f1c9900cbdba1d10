"""Grad-CAM++ (Chattopadhay et al. 2018, arXiv 1710.11063): in closed form under a linear head, by autograd anywhere.

With g = dS_c / dA_k and S the logit of class c,

    alpha = g^2 / (2 g^2 + (sum_ab A_k) g^3 + eps),   w_ck = sum_ij ReLU(g) alpha,   CAM_c = sum_k w_ck A_k.

`eps` is 0 in the published formula. Implementations that guard the division with 1e-6 change the method: on a 28 x 28
map g^2 is about 1e-9, so eps takes over the denominator and the weights become proportional to W^3.
"""

import torch
from torch import Tensor


def grad_cam_plus_plus(features: Tensor, head_weight: Tensor, eps: float = 0.0) -> Tensor:
    """Grad-CAM++ of every class under global average pooling and a linear head, without a backward pass.

    There g = W_ck / (h w) at every pixel, and the sum over pixels collapses to
    w_ck = ReLU(W_ck) / (2 + W_ck mean(A_k) + eps (h w)^2 / W_ck^2).

    Args:
        features: activations A before the pooling, (N, K, h, w).
        head_weight: weight of the head, (C, K) or (C, K, 1, 1).
        eps: added to the denominator of alpha, as above; 0 is the published formula.

    Returns:
        Class activation maps, (N, C, h, w), not normalised.
    """
    head_weight = head_weight.flatten(1)
    pixels = features.shape[-2] * features.shape[-1]
    mean = features.mean(dim=(-2, -1))
    # Weights that are not positive contribute nothing; they get a harmless 1 so that no denominator vanishes for them.
    positive = head_weight > 0
    safe = torch.where(positive, head_weight, 1.0)
    denominator = 2 + safe * mean[:, None]
    if eps:
        denominator = denominator + eps * (pixels / safe) ** 2
    weights = _divide(head_weight.clamp(min=0), denominator)
    return torch.einsum("nck,nkhw->nchw", weights, features)


def grad_cam_plus_plus_autograd(features: Tensor, logits: Tensor, eps: float = 0.0) -> Tensor:
    """Grad-CAM++ of every class at any layer, one backward pass per class for the whole batch.

    Args:
        features: activations A of the layer, (N, K, h, w), part of the graph that leads to `logits`.
        logits: class scores S, (N, C). Images must not depend on each other (evaluation mode).
        eps: added to the denominator of alpha; 0 is the published formula.

    Returns:
        Class activation maps, (N, C, h, w), not normalised, detached. The graph stays usable.
    """
    activations = features.detach()
    total = activations.sum(dim=(-2, -1), keepdim=True)
    maps = []
    for scores in logits.sum(dim=0):
        (gradient,) = torch.autograd.grad(scores, features, retain_graph=True)
        # alpha is divided through by g^2, so that small gradients do not underflow in g^3; ReLU(g) drops the rest.
        safe = torch.where(gradient > 0, gradient, 1.0)
        denominator = 2 + total * safe
        if eps:
            denominator = denominator + eps / safe**2
        weights = _divide(gradient.clamp(min=0), denominator).sum(dim=(-2, -1), keepdim=True)
        maps.append((weights * activations).sum(dim=1))
    return torch.stack(maps, dim=1)


def _divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Quotient that is 0 where the denominator is: possible only at layers whose activations are not rectified."""
    vanishes = denominator == 0
    return torch.where(vanishes, 0.0, numerator / torch.where(vanishes, 1.0, denominator))
