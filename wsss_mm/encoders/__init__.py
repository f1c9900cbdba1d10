"""Encoders as plain data: which there are, their layers, what their licences allow; settings ask without torch."""

from wsss_mm.encoders.catalogue import DEFAULT, encoders, get_encoder, read_encoders, unknown_encoder
from wsss_mm.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD, LOADERS, Encoder, Loader, Sizes, Stage
from wsss_mm.encoders.files import check_bytes, check_sha256, checked_file, find_file
from wsss_mm.encoders.resnet38 import LAST, LAYERS, LEVELS, STEM_CHANNELS, STRIDE, ResNetLevel
from wsss_mm.encoders.windows import hardly_moves

__all__ = [
    "DEFAULT",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "LAST",
    "LAYERS",
    "LEVELS",
    "LOADERS",
    "STEM_CHANNELS",
    "STRIDE",
    "Encoder",
    "Loader",
    "ResNetLevel",
    "Sizes",
    "Stage",
    "check_bytes",
    "check_sha256",
    "checked_file",
    "encoders",
    "find_file",
    "get_encoder",
    "hardly_moves",
    "layers",
    "read_encoders",
    "unknown_encoder",
]


def layers(encoder: str = DEFAULT) -> tuple[str, ...]:
    """Layers of an encoder that CAMs can be taken at; of ResNet38 without a look into any file.

    Raises:
        InputError: see `get_encoder`.
    """
    return LAYERS if encoder == DEFAULT else get_encoder(encoder).layers
