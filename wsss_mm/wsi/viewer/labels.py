"""Label layers that no file holds as tiles, such as truth and annotations: cut as they are asked for.

Their grid is that of the slide's map, so that a pixel of one lies on a pixel of the other.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsss_mm.vocabulary import IGNORE, IGNORE_COLOR
from wsss_mm.wsi.viewer.tiles import OVERLAP, TILE

Cut = Callable[[tuple[float, float], tuple[int, int], float], NDArray[np.uint8]]
"""Cuts a layer: the corner (x, y) and the size (width, height) of what is wanted, and how many px of the layer a pixel
of it has, give labels (height, width), `IGNORE` where there is none. The corner is in px of the layer."""

_DZI = (
    '<?xml version="1.0" encoding="UTF-8"?><Image xmlns="http://schemas.microsoft.com/deepzoom/2008" '
    'Format="{}" Overlap="{}" TileSize="{}"><Size Width="{}" Height="{}"/></Image>'
)


@dataclass(frozen=True)
class Named:
    """What a label stands for: its name, and RGB."""

    name: str
    color: tuple[int, int, int]


class LabelTiles:
    """A label layer in Deep Zoom tiles.

    Attributes:
        names: by label.
    """

    def __init__(self, cut: Cut, size: tuple[int, int], names: Sequence[Named]) -> None:
        """Take what cuts it, width and height in px of the layer, and what its labels stand for."""
        self._cut, self._size, self.names = cut, size, tuple(names)
        self._top = math.ceil(math.log2(max(*size, 1)))
        self._colors = np.zeros((256, 4), np.uint8)
        self._colors[:, :3] = IGNORE_COLOR
        for label, item in enumerate(self.names):
            self._colors[label] = (*item.color, 255)

    def description(self, kind: str = "png") -> str:
        """The grid as Deep Zoom describes it, XML; `kind` of its tiles' files."""
        return _DZI.format(kind, OVERLAP, TILE, *self._size)

    def labels(self, level: int, place: tuple[int, int]) -> Image.Image:
        """A tile: RGBA in the colours of its labels, and no mixtures of them.

        Raises:
            ValueError: there is none.
        """
        if not 0 <= level <= self._top:
            raise ValueError(f"level {level}")
        step = 2 ** (self._top - level)
        first, size = [], []
        for number, full in zip(place, self._size, strict=True):
            length = math.ceil(full / step)
            if not 0 <= number <= (length - 1) // TILE:
                raise ValueError(f"tile {number}")
            start = max(number * TILE - OVERLAP, 0)
            first.append(start * step)
            size.append(min((number + 1) * TILE + OVERLAP, length) - start)
        found = self._cut((first[0], first[1]), (size[0], size[1]), step)
        return Image.fromarray(self._colors[found])

    def at(self, x: float, y: float) -> Named | None:
        """What lies at a place, px of the layer; None if nothing does."""
        width, height = self._size
        if not (0 <= x < width and 0 <= y < height):
            return None
        label = int(self._cut((math.floor(x), math.floor(y)), (1, 1), 1)[0, 0])
        return self.names[label] if label < len(self.names) else None


def cut_of_map(labels: NDArray[np.uint8], step: float, origin: tuple[float, float]) -> Cut:
    """Cuts a label map: each pixel is the label under its centre.

    Args:
        labels: (H, W).
        step: px of it a pixel of the layer.
        origin: where the layer begins, px of it.
    """

    def cut(corner: tuple[float, float], size: tuple[int, int], scale: float) -> NDArray[np.uint8]:
        columns, rows = (
            np.floor(start + (begin + (np.arange(length) + 0.5) * scale) * step).astype(np.int64)
            for start, begin, length in zip(origin, corner, size, strict=True)
        )
        found = np.full((size[1], size[0]), IGNORE, np.uint8)
        down, across = (rows >= 0) & (rows < labels.shape[0]), (columns >= 0) & (columns < labels.shape[1])
        found[np.ix_(down, across)] = labels[np.ix_(rows[down], columns[across])]
        return found

    return cut
