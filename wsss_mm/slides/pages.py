"""The pages of a slide's file, as OpenSlide opens it: which are levels, how they lie, and what no scanner writes."""

import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import openslide
from PIL import Image

from wsss_mm.errors import InputError
from wsss_mm.slides.levels import Level, true_levels

logger = logging.getLogger(__name__)

_LARGEST_TILE = 1 << 26  # px; those of scanners are a thousand times smaller
_TIFF_MAGIC = tuple(order + version for order in (b"II", b"MM") for version in (b"*\0", b"\0*", b"+\0", b"\0+"))
_TIFF_PAGES = 64  # looked at for levels that lie turned
_ORIENTATION, _UPRIGHT = 274, (0, 1)
_GENERIC = "generic-tiff"  # what OpenSlide calls a TIFF of no scanner that it knows
_GREY = 1  # and less: photometric interpretations without a colour
_LEAST_WHITE = 64  # of 255: glass is brighter; 14 of 16 bits are not, taken for 16
_MIDDLE = 2048  # px


def check_tiles(path: Path, slide: openslide.OpenSlide) -> None:
    """OpenSlide holds whole tiles in memory and ends the process where there is too little of it."""
    for level in range(slide.level_count):
        tile = _tile(slide, level)
        if math.prod(tile) > _LARGEST_TILE:
            raise InputError(f"{path}: tiles of {_by(tile)} px, which no scanner writes; fetch it again")


def check_pages(path: Path, slide: openslide.OpenSlide) -> None:
    """Refuse a TIFF of which OpenSlide would show another picture than is meant, and say where it may be another.

    Levels that are called turned: OpenSlide turns each tile by itself, in some compressions. And where it knows no more
    of a file than that it is one, it takes the first page for the slide, the high bytes of numbers, and one channel.
    """
    with path.open("rb") as stream:
        if stream.read(4) not in _TIFF_MAGIC:
            return
    pages, sizes = _pages(path), set(slide.level_dimensions)
    turned = next((page.orientation for page in pages if page.orientation not in _UPRIGHT and page.size in sizes), None)
    if turned is not None:
        raise InputError(
            f"{path}: is stored turned or mirrored (TIFF orientation {turned}); write it upright, as with "
            "`vips autorot IN.tif 'OUT.tif[tile,pyramid]'`"
        )
    if pages and slide.properties.get(openslide.PROPERTY_NAME_VENDOR) == _GENERIC:
        _check_first(path, slide, [page for page in pages if page.tiled] or pages)


@dataclass(frozen=True)
class _Page:
    """What a page of a TIFF says of itself."""

    size: tuple[int, int]
    orientation: int
    bits: int
    channels: int
    tiled: bool
    reduced: bool
    colored: bool

    @classmethod
    def of(cls, page: Any) -> "_Page":
        """Of tifffile's."""
        tag = page.tags.get(_ORIENTATION)
        return cls(
            size=(page.imagewidth, page.imagelength),
            orientation=1 if tag is None else int(tag.value),
            bits=page.bitspersample,
            channels=page.samplesperpixel,
            tiled=page.is_tiled,
            reduced=page.is_reduced,
            colored=page.photometric > _GREY,
        )


def _pages(path: Path) -> list[_Page]:
    """The pages of a TIFF, as far as they can be read: of files that OpenSlide opens and this reader does not, none."""
    import tifffile

    pages = []
    with suppress(Exception), tifffile.TiffFile(path) as tiff:
        pages.extend(map(_Page.of, islice(tiff.pages, _TIFF_PAGES)))
    return pages


def _check_first(path: Path, slide: openslide.OpenSlide, pages: Sequence[_Page]) -> None:
    """Whether the first page is the slide, and all of it."""
    first, largest = pages[0], max((page.size for page in pages), key=math.prod)
    size = first.size
    shown = largest in slide.level_dimensions and len(true_levels([largest, size], [(0, 0)] * 2)) == 1
    if math.prod(largest) > math.prod(size) and not shown:
        raise InputError(
            f"{path}: a page of {_by(largest)} px comes after one of {_by(size)} px, which OpenSlide takes for the "
            "slide; write the largest page first"
        )
    if first.bits > 16 or (first.bits > 8 and _brightest(path, slide) < _LEAST_WHITE):
        raise InputError(
            f"{path}: {first.bits} bits a channel, of which the 8 highest are not the picture; write it with 8 bits"
        )
    pictures = sum(page.size == size and not page.reduced for page in pages)
    if first.channels == 1 and not first.colored:
        if pictures > 1:
            raise InputError(f"{path}: its {pictures} channels are pages of their own; write one page, in RGB")
        _say_once(f"{path}: has one channel, no colours; is it a slide in H&E?")
    elif pictures > 1:
        _say_once(f"{path}: holds {pictures} pictures of {_by(size)} px, of which the first is taken")


def _brightest(path: Path, slide: openslide.OpenSlide) -> int:
    """The highest value in the middle of the coarsest level."""
    level = slide.level_count - 1
    width, height = (min(side, _MIDDLE) for side in slide.level_dimensions[level])
    left, top = (
        int((side - part) / 2 * slide.level_downsamples[level])
        for side, part in zip(slide.level_dimensions[level], (width, height), strict=True)
    )
    try:
        region = slide.read_region((left, top), level, (width, height))
    except openslide.OpenSlideError as error:
        raise InputError(f"{path}: cannot be read ({error}); the file is damaged, fetch it again") from None
    return int(np.asarray(region.convert("RGB")).max())


def shown_levels(path: Path, slide: openslide.OpenSlide) -> list[Level]:
    """The levels that show the slide, in OpenSlide's order, which is from fine to coarse."""
    sizes = slide.level_dimensions
    tiles = [_tile(slide, number) for number in range(len(sizes))]
    levels = true_levels(sizes, tiles, slide.level_downsamples)
    left_out = sorted(set(range(len(sizes))) - {level.number for level in levels})
    if len(levels) == 1 and len(sizes) > 2 and len(true_levels(sizes[1:], tiles[1:])) > 1:
        raise InputError(
            f"{path}: its largest page, {_by(sizes[0])} px, is not what the others are downsamples of; write the slide "
            "without it"
        )
    if left_out:
        named = ", ".join(_by(sizes[number]) for number in left_out)
        _say_once(f"{path}: pages of {named} px fit the slide's {_by(sizes[0])} px by no one factor and are not used")
    return levels


@lru_cache(maxsize=4096)
def _say_once(line: str) -> None:
    logger.warning("%s", line)  # a slide is opened many times


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _tile(slide: openslide.OpenSlide, level: int) -> tuple[int, int]:
    width, height = (
        int(slide.properties.get(f"openslide.level[{level}].tile-{side}", "0")) for side in ("width", "height")
    )
    return width, height


class LevelledSlide(openslide.OpenSlide):
    """OpenSlide for those who ask it by level, such as its Deep Zoom generator, with levels where they are."""

    def __init__(self, path: Path) -> None:
        with openslide.OpenSlide(path) as plain:
            self._levels = shown_levels(path, plain)
        super().__init__(path)

    @property
    def level_count(self) -> int:
        """Number of levels."""
        return len(self._levels)

    @property
    def level_dimensions(self) -> tuple[tuple[int, int], ...]:
        """Width and height of each level, px."""
        return tuple(level.size for level in self._levels)

    @property
    def level_downsamples(self) -> tuple[float, ...]:
        """Level-0 px per px of each level."""
        return tuple(level.step for level in self._levels)

    def get_best_level_for_downsample(self, downsample: float) -> int:
        """The coarsest level that is as fine as wanted."""
        return max((number for number, step in enumerate(self.level_downsamples) if step <= downsample), default=0)

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
        """A region of a level, RGBA; `location` in level-0 px."""
        of = self._levels[level]
        x, y = (round(value / factor * of.divisor) for value, factor in zip(location, of.factors, strict=True))
        return super().read_region((x, y), of.number, size)
