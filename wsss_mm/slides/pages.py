"""The pages of a slide's file, as OpenSlide opens it: which are levels, how they lie, and what no scanner writes."""

import logging
import math
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path

import openslide
from PIL import Image

from wsss_mm.errors import InputError
from wsss_mm.slides.levels import Level, true_levels

logger = logging.getLogger(__name__)

_LARGEST_TILE = 1 << 26  # px; those of scanners are a thousand times smaller
_TIFF_MAGIC = tuple(order + version for order in (b"II", b"MM") for version in (b"*\0", b"\0*", b"+\0", b"\0+"))
_TIFF_PAGES = 64  # looked at for levels that lie turned
_ORIENTATION, _UPRIGHT = 274, (0, 1)


def check_tiles(path: Path, slide: openslide.OpenSlide) -> None:
    """OpenSlide holds whole tiles in memory and ends the process where there is too little of it."""
    for level in range(slide.level_count):
        tile = _tile(slide, level)
        if math.prod(tile) > _LARGEST_TILE:
            raise InputError(f"{path}: tiles of {_by(tile)} px, which no scanner writes; fetch it again")


def check_upright(path: Path, slide: openslide.OpenSlide) -> None:
    """Refuse levels that a TIFF calls turned: OpenSlide would turn each tile by itself, in some compressions."""
    with path.open("rb") as stream:
        if stream.read(4) not in _TIFF_MAGIC:
            return
    turned = None
    with suppress(Exception):  # of files that OpenSlide opens and this reader does not, nothing is known
        turned = next(_turned_pages(path, set(slide.level_dimensions)), None)
    if turned is not None:
        raise InputError(
            f"{path}: is stored turned or mirrored (TIFF orientation {turned}); write it upright, as with "
            "`vips autorot IN.tif 'OUT.tif[tile,pyramid]'`"
        )


def _turned_pages(path: Path, sizes: set[tuple[int, int]]) -> Iterator[int]:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        for page in islice(tiff.pages, _TIFF_PAGES):
            tag = page.tags.get(_ORIENTATION)
            if tag is not None and tag.value not in _UPRIGHT and (page.imagewidth, page.imagelength) in sizes:
                yield int(tag.value)


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
        place = (round(value / factor * of.divisor) for value, factor in zip(location, of.factors, strict=True))
        return super().read_region(tuple(place), of.number, size)
