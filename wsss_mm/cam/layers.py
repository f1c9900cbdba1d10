"""A layer's activations as the start of the graph that leads to the logits, for CAMs by autograd."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from wsss_mm.cam_methods import LAST_LAYER
from wsss_mm.encoders import LAST
from wsss_mm.errors import InputError

if TYPE_CHECKING:
    from wsss_mm.models import PatchClassifier


def activations_and_logits(model: "PatchClassifier", images: Tensor, layer: str) -> tuple[Tensor, Tensor]:
    """Run a classifier, recording gradients only from the named unit of its backbone on.

    Args:
        model: a `PatchClassifier` in evaluation mode.
        images: normalised, (N, 3, H, W).
        layer: one of `unit_names` but the last, such as b4_5 or b5_2 of ResNet38.

    Returns:
        The unit's output (N, K, h, w), a leaf of the graph, and the logits (N, C).

    Raises:
        InputError: the backbone has no such unit.
    """
    if layer not in unit_names(model)[:-1]:
        raise InputError(
            f"params.yaml: pseudo_labels.layer: no unit {layer!r}; choose from {', '.join(unit_names(model))}"
        )
    leaves: list[Tensor] = []

    def start_graph(module: nn.Module, inputs: Any, output: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        first, *others = output if isinstance(output, tuple) else (output,)
        leaves.append(first.detach().requires_grad_())
        return (leaves[0], *others) if others else leaves[0]

    # Detached parameters: nothing before the unit is recorded, and no gradient of a weight is ever computed.
    frozen = {name: value.detach() for name, value in model.state_dict().items()}
    with torch.enable_grad(), model.backbone.get_submodule(layer).register_forward_hook(start_graph):
        logits = torch.func.functional_call(model, frozen, (images,))
    return leaves[0], logits


def unit_names(model: "PatchClassifier") -> list[str]:
    """Layers that CAMs can be taken at: the backbone's own `cam_layers`, if it names any, and its last one."""
    return [*getattr(model.backbone, "cam_layers", ()), last_layer(model)]


def last_layer(model: "PatchClassifier") -> str:
    """What the backbone calls the layer under the pooling; one that has no name for it is asked by that of ResNet38."""
    return getattr(getattr(model, "backbone", None), "last_layer", LAST)


def is_last(model: "PatchClassifier", layer: str | Sequence[str]) -> bool:
    """Whether a layer is the one under the pooling, where CAMs have a closed form; several are not."""
    return isinstance(layer, str) and layer in (LAST_LAYER, LAST, last_layer(model))
