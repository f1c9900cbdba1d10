"""The kinds of class activation maps, as plain data: settings ask for their names without importing torch."""

from dataclasses import dataclass

LAST_LAYER = "last"
"""The layer under the pooling, where CAMs have a closed form, of whatever encoder there is."""


@dataclass(frozen=True)
class Method:
    """A kind of class activation maps; its functions are those of `wsss_mm.cam.grad_cam`, by name.

    Attributes:
        closed_form: Of features under the pooling (N, K, h, w) and the head's weight (C, K).
        any_layer: Of the features of any layer and the logits (N, C) they lead to; None if there is none.
        takes_eps: Whether both have a parameter `eps`.
    """

    closed_form: str
    any_layer: str | None = None
    takes_eps: bool = False


METHODS = {
    "grad_cam_plus_plus": Method("grad_cam_plus_plus", "grad_cam_plus_plus_autograd", takes_eps=True),
    "grad_cam": Method("grad_cam", "grad_cam_autograd"),
    "cam": Method("cam"),
}
