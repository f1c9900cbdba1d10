"""What ResNet38 is made of, as plain data: settings ask for its layers without importing torch."""

from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class ResNetLevel:
    """One row of the architecture: units of two 3x3 convolutions, or bottlenecks with a 1x1 on either side."""

    name: str
    units: int
    mid: int
    out: int
    stride: int = 1
    first_dilation: int = 1
    dilation: int = 1
    bottleneck: bool = False
    dropout: float = 0.0

    def unit_names(self) -> tuple[str, ...]:
        """State-dict names of the units: b4, b4_1, b4_2 ..."""
        return (self.name, *(f"{self.name}_{index}" for index in range(1, self.units)))


STEM_CHANNELS = 64
LEVELS = (
    ResNetLevel("b2", units=3, mid=128, out=128, stride=2),
    ResNetLevel("b3", units=3, mid=256, out=256, stride=2),
    ResNetLevel("b4", units=6, mid=512, out=512, stride=2),
    ResNetLevel("b5", units=3, mid=512, out=1024, first_dilation=1, dilation=2),
    ResNetLevel("b6", units=1, mid=512, out=2048, dilation=4, bottleneck=True, dropout=0.3),
    ResNetLevel("b7", units=1, mid=1024, out=4096, dilation=4, bottleneck=True, dropout=0.5),
)

LAST = "bn7"
"""The layer under the pooling, where CAMs have a closed form."""

STRIDE = prod(level.stride for level in LEVELS)
"""Pixels of the image along one of the last features."""

LAYERS = (*(name for level in LEVELS for name in level.unit_names()), LAST)
"""Layers that CAMs can be taken at: the units, and `LAST`."""
