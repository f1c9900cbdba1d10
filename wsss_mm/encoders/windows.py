"""Whether windows over a slide move enough for a network's features."""

from wsss_mm.encoders.resnet38 import STRIDE


def hardly_moves(window: int, overlap: float, stride: int = STRIDE) -> str | None:
    """What is wrong with windows of this side, px, and overlap, share of it, that move by less than a feature."""
    step = round(window * (1 - overlap))
    if step >= stride:
        return None
    return (
        f"{overlap:g} moves windows of {window} px by {step} px, less than the {stride} px of the network's features, "
        "and nearly for ever; lower it, such as to 0.5"
    )
