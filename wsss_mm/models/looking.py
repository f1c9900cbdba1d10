"""Whether a file holds an encoder's weights, as far as that can be told here."""

from pathlib import Path

from wsss_mm.encoders import Encoder
from wsss_mm.models.safetensors_files import shapes_of
from wsss_mm.models.timm_layouts import has_layout, layout
from wsss_mm.models.weight_files import check_shapes, check_size


def check_file(encoder: Encoder, path: Path) -> None:
    """Refuse a file that is damaged, or of another network.

    What timm builds is told by its layout, without timm; others are built and take the weights.

    Raises:
        InputError: it is; the message says why.
    """
    if encoder.loader == "timm" and has_layout(encoder.architecture):
        wanted = layout(encoder.architecture, encoder.arguments)
        check_size(path, wanted, f"the weights of {encoder.name} and a head")
        check_shapes(path, shapes_of(path), wanted, encoder.name)
        return
    from wsss_mm.models.backbones import built, load_initial_weights

    load_initial_weights(built(encoder), path)
