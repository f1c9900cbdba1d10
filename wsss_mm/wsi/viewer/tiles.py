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

    def description(self, kind: str = "png") -> str:
        """The grid as Deep Zoom describes it, XML; `kind` of its tiles' files."""
        return self.grid.get_dzi(kind)

    def whole(self) -> tuple[int, tuple[int, int]]:
        """The finest level that is one tile, and that tile's place."""
        return max(number for number, tiles in enumerate(self.grid.level_tiles) if tiles == (1, 1)), (0, 0)

    def close(self) -> None:
        """Close the file."""
        self._slide.close()

    def tile(self, level: int, place: tuple[int, int]) -> Image.Image:
        """A tile of a slide: RGB."""
        return self.grid.get_tile(level, place)

    def labels(self, level: int, place: tuple[int, int]) -> Image.Image:
        """A tile of a map: RGBA, whose colours are those of classes, and no mixtures as they are between pixels."""
        region = self._slide.read_region(*self.grid.get_tile_coordinates(level, place))
        return region.resize(self.grid.get_tile_dimensions(level, place), Image.Resampling.NEAREST)

    def color(self, x: float, y: float) -> tuple[int, int, int] | None:
        """RGB of a map at a place, px of it; None beside it."""
        width, height = self._slide.dimensions
        if not (0 <= x < width and 0 <= y < height):
            return None
        red, green, blue, _ = np.asarray(self._slide.read_region((int(x), int(y)), 0, (1, 1)))[0, 0].tolist()
        return red, green, blue


def jpeg(picture: Image.Image) -> bytes:
    """A tile of a slide as JPEG."""
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()


def png(picture: Image.Image) -> bytes:
    """A tile of a map as PNG, its background transparent, so that the slide shows through."""
    stream = io.BytesIO()
    see_through(picture).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def see_through(picture: Image.Image) -> Image.Image:
    """A tile of a map, RGBA, its background transparent."""
    pixels = np.asarray(picture.convert("RGBA")).copy()
    pixels[(pixels[..., :3] == IGNORE_COLOR).all(axis=-1), 3] = 0
    return Image.fromarray(pixels)
