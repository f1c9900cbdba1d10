"""Class activation maps, background and voting: from a patch and its label set to a label for every pixel.

What needs a `PatchClassifier` is there with mmengine alone; the maps themselves are of torch.
"""

from wsss_mm.cam.grad_cam import cam, grad_cam, grad_cam_autograd, grad_cam_plus_plus, grad_cam_plus_plus_autograd
from wsss_mm.cam.layers import activations_and_logits
from wsss_mm.cam.voting import vote
from wsss_mm.extras import asks_for_mmengine, has_mmengine
from wsss_mm.patches.background import background_mask

if has_mmengine():
    from wsss_mm.cam.examples import CamExamplesHook
    from wsss_mm.cam.pseudo_label import PseudoLabeller, PseudoLabels
else:
    __getattr__ = asks_for_mmengine(__name__)


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
