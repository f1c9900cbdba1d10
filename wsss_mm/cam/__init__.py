"""Class activation maps, background and voting: from a patch and its label set to a label for every pixel."""

from wsss_mm.cam.background import background_mask
from wsss_mm.cam.examples import CamExamplesHook
from wsss_mm.cam.grad_cam import cam, grad_cam, grad_cam_autograd, grad_cam_plus_plus, grad_cam_plus_plus_autograd
from wsss_mm.cam.layers import activations_and_logits
from wsss_mm.cam.pseudo_label import PseudoLabeller, PseudoLabels
from wsss_mm.cam.voting import vote

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
