"""Class activation maps, background and voting: from a patch and its label set to a label for every pixel.

What needs a `PatchClassifier` is there with mmengine alone; the maps themselves are of torch.
"""

from typing import Any

from wsss_mm.cam.background import background_mask
from wsss_mm.cam.grad_cam import cam, grad_cam, grad_cam_autograd, grad_cam_plus_plus, grad_cam_plus_plus_autograd
from wsss_mm.cam.layers import activations_and_logits
from wsss_mm.cam.voting import vote
from wsss_mm.extras import has_mmengine, without_mmengine

if has_mmengine():
    from wsss_mm.cam.examples import CamExamplesHook
    from wsss_mm.cam.pseudo_label import PseudoLabeller, PseudoLabels
else:

    def __getattr__(name: str) -> Any:
        """Say what is missing where one of the others is asked for."""
        if name in __all__:
            raise without_mmengine(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "CamExamplesHook",
    "PseudoLabeller",
    "PseudoLabels",
    "activations_and_logits",
    "background_mask",
    "cam",
    "grad_cam",
    "grad_cam_autograd",
    "grad_cam_plus_plus",
    "grad_cam_plus_plus_autograd",
    "vote",
]
