"""Slides at a glance, of a few kB: the map over the slide, or the map alone where there is no slide."""

import io
from contextlib import closing
from functools import lru_cache
from pathlib import Path

from openslide import OpenSlideError
from PIL import Image

from wsss_mm.errors import InputError
from wsss_mm.wsi.viewer.tiles import Tiles, see_through

_KEPT = 4096  # pictures
_QUALITY, _COVER = 70, 0.45
_PAPER = (255, 255, 255)


def stamp_of(path: Path) -> tuple[Path, int, int]:
    """A file as it is now: another one has another stamp."""
    state = path.stat()
    return path, state.st_mtime_ns, state.st_size


@lru_cache(maxsize=_KEPT)
def thumbnail(labels: tuple[Path, int, int], slide: tuple[Path, int, int] | None) -> bytes:
    """A JPEG of at most 254 px a side.

    Args:
        labels: the map's file, see `stamp_of`.
        slide: likewise of the slide.

    Raises:
        InputError: the map cannot be read.
        OpenSlideError: likewise.
    """
    with closing(Tiles(labels[0])) as opened:
        classes = see_through(opened.labels(*opened.whole()))
    picture = _picture(slide[0], classes.size) if slide is not None else Image.new("RGB", classes.size, _PAPER)
    cover = _COVER if slide is not None else 1
    picture.paste(classes.convert("RGB"), mask=classes.getchannel("A").point(lambda value: round(value * cover)))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()


def _picture(path: Path, size: tuple[int, int]) -> Image.Image:
    """The slide in the size of its map; white where it does not open."""
    try:
        with closing(Tiles(path)) as opened:
            return opened.tile(*opened.whole()).convert("RGB").resize(size)
    except (InputError, OpenSlideError, OSError):
        return Image.new("RGB", size, _PAPER)
