"""Class activation maps: Grad-CAM++ (the method), and plain Grad-CAM and CAM to compare it with.

With g = dS_c / dA_k and S the logit of class c, Grad-CAM++ (Chattopadhay et al. 2018, arXiv 1710.11063) is

    alpha = g^2 / (2 g^2 + (sum_ab A_k) g^3 + eps),   w_ck = sum_ij ReLU(g) alpha,   CAM_c = sum_k w_ck A_k.

Under global average pooling and a linear head, g = W_ck / (h w) everywhere and no backward pass is needed; at any other
layer the gradients of all classes come from one batched backward pass.

`eps` is 0 in the published formula. Implementations that guard the division with 1e-6 change the method: on a 28 x 28
map g^2 is about 1e-9, so eps takes over the denominator and the weights become proportional to W^3.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def grad_cam_plus_plus(features: Tensor, head_weight: Tensor, eps: float = 0.0) -> Tensor:
    """Grad-CAM++ of every class under global average pooling and a linear head, without a backward pass.

    The sum over pixels collapses to w_ck = ReLU(W_ck) / (2 + W_ck mean(A_k) + eps (h w)^2 / W_ck^2).

    Args:
        features: activations A before the pooling, (N, K, h, w).
        head_weight: weight of the head, (C, K) or (C, K, 1, 1).
        eps: added to the denominator of alpha, as above; 0 is the published formula.

    Returns:
        Class activation maps, (N, C, h, w), not normalised.

    Examples:
        Two channels, of which each fires at one pixel, and a class for each:

        >>> features = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
        >>> grad_cam_plus_plus(features, torch.eye(2))
        tensor([[[[0.4000, 0.0000]],
        <BLANKLINE>
                 [[0.0000, 0.4000]]]])
    """
    head_weight = head_weight.flatten(1)
    pixels = features.shape[-2] * features.shape[-1]
    mean = features.mean(dim=(-2, -1))
    # Weights that are not positive contribute nothing; they get a harmless 1 so that no denominator vanishes for them.
    safe = torch.where(head_weight > 0, head_weight, 1.0)
    denominator = 2 + safe * mean[:, None]
    if eps:
        denominator = denominator + eps * (pixels / safe) ** 2
    return _weighted(_divide(head_weight.clamp(min=0), denominator), features)


def grad_cam_plus_plus_autograd(features: Tensor, logits: Tensor, eps: float = 0.0) -> Tensor:
    """Grad-CAM++ of every class at any layer, from one batched backward pass.

    Args:
        features: activations A of the layer, (N, K, h, w), part of the graph that leads to `logits`.
        logits: class scores S, (N, C). Images must not depend on each other (evaluation mode).
        eps: added to the denominator of alpha; 0 is the published formula.

    Returns:
        Class activation maps, (N, C, h, w), not normalised, detached. The graph stays usable.
    """
    gradient = class_gradients(features, logits)
    activations = features.detach()
    # alpha is divided through by g^2, so that small gradients do not underflow in g^3; ReLU(g) drops the rest.
    safe = torch.where(gradient > 0, gradient, 1.0)
    denominator = 2 + activations.sum(dim=(-2, -1))[:, None, :, None, None] * safe
    if eps:
        denominator = denominator + eps / safe**2
    return _weighted(_divide(gradient.clamp(min=0), denominator).sum(dim=(-2, -1)), activations)


def grad_cam(features: Tensor, head_weight: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017) under global average pooling and a linear head: ReLU(sum_k W_ck / (h w) A_k).

    Args and result as in `grad_cam_plus_plus`.
    """
    return cam(features, head_weight).clamp(min=0) / (features.shape[-2] * features.shape[-1])


def grad_cam_autograd(features: Tensor, logits: Tensor) -> Tensor:
    """Grad-CAM at any layer: ReLU(sum_k w_ck A_k), w_ck the mean of g over pixels.

    Args and result as in `grad_cam_plus_plus_autograd`.
    """
    weights = class_gradients(features, logits).mean(dim=(-2, -1))
    return _weighted(weights, features.detach()).clamp(min=0)


def cam(features: Tensor, head_weight: Tensor) -> Tensor:
    """CAM (Zhou et al. 2016): sum_k W_ck A_k, the head applied to every pixel.

    Args and result as in `grad_cam_plus_plus`.
    """
    return torch.einsum("ck,nkhw->nchw", head_weight.flatten(1), features)


def function(name: str) -> Callable[..., Tensor]:
    """One of these functions by its name, as `wsss_mm.cam_methods.METHODS` has it."""
    found: Callable[..., Tensor] = globals()[name]
    return found


def class_gradients(features: Tensor, logits: Tensor) -> Tensor:
    """dS_c / dA of every class, (N, C, K, h, w), from one backward pass that carries all classes.

    Args as in `grad_cam_plus_plus_autograd`.
    """
    classes = torch.eye(logits.shape[1], dtype=logits.dtype, device=logits.device)
    with torch.enable_grad():
        scores = logits.sum(dim=0)
    (gradients,) = torch.autograd.grad(scores, features, grad_outputs=classes, retain_graph=True, is_grads_batched=True)
    return gradients.transpose(0, 1)


def _weighted(weights: Tensor, features: Tensor) -> Tensor:
    """(N, C, K) weights and (N, K, h, w) features to (N, C, h, w) maps."""
    return torch.einsum("nck,nkhw->nchw", weights, features)


def _divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Quotient that is 0 where the denominator is: possible only at layers whose activations are not rectified."""
    vanishes = denominator == 0
    return torch.where(vanishes, 0.0, numerator / torch.where(vanishes, 1.0, denominator))
