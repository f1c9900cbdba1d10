"""Slides and maps cut into Deep Zoom tiles, which pages show."""

import io
from pathlib import Path

import numpy as np
from openslide.deepzoom import DeepZoomGenerator
from PIL import Image

from wsss_mm.slides.pages import LevelledSlide
from wsss_mm.vocabulary import IGNORE_COLOR

TILE, OVERLAP = 254, 1
"""px: a tile's side, and what it has of those around it."""
_QUALITY = 85


class Tiles:
    """An open slide or map: what was scanned of it, cut into tiles.

    Attributes:
        grid: their generator.
    """

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            InputError: it cannot be used.
            OpenSlideError: likewise.
        """
        self._slide = LevelledSlide(path)
        self.grid = DeepZoomGenerator(self._slide, TILE, OVERLAP, limit_bounds=True)

    def tile(self, level: int, place: tuple[int, int]) -> Image.Image:
        """A tile of a slide: RGB."""
        return self.grid.get_tile(level, place)

    def labels(self, level: int, place: tuple[int, int]) -> Image.Image:
        """A tile of a map: RGBA, whose colours are those of classes, and no mixtures as they are between pixels."""
        region = self._slide.read_region(*self.grid.get_tile_coordinates(level, place))
        return region.resize(self.grid.get_tile_dimensions(level, place), Image.Resampling.NEAREST)


def jpeg(picture: Image.Image) -> bytes:
    """A tile of a slide as JPEG."""
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()


def png(picture: Image.Image) -> bytes:
    """A tile of a map as PNG, its background transparent, so that the slide shows through."""
    pixels = np.asarray(picture.convert("RGBA")).copy()
    pixels[(pixels[..., :3] == IGNORE_COLOR).all(axis=-1), 3] = 0
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
