"""A slide as an image at the model's resolution, read from top to bottom with only some rows in memory."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock, get_ident
from typing import Protocol

import cv2
import numpy as np

from wsss_mm.errors import InputError
from wsss_mm.slides.resolution import MICROSCOPES, is_microscopes
from wsss_mm.wsi.lattice import mirrored
from wsss_mm.wsi.work_mask import WorkMask

logger = logging.getLogger(__name__)

_STRIP, _BLOCK, _SMALLEST = 512, 2048, 128  # px: rows read at once, their blocks, and how far a bad block is split
_STRIP_BYTES = 1 << 27  # strips of very wide slides have half the rows
_MAX_UNREADABLE = 0.5
_MAX_SIDE, _MAX_PIXELS = 400_000, 40_000_000_000  # px; a glass of 75 x 25 mm at 0.25 um/px has three quarters of each


class ReadableSlide(Protocol):
    """What is needed of `wsss_mm.slides.SlideReader`."""

    mpp: float
    bounds: tuple[int, int, int, int]
    steps: tuple[float, ...]

    @property
    def quickhash(self) -> str | None: ...  # noqa: D102

    @property
    def icc(self) -> str | None: ...  # noqa: D102

    def read(self, x: float, y: float, size: tuple[int, int], mpp: float) -> np.ndarray: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102


class Raster:
    """The bounds of a slide resampled to `mpp`, in strips whose place does not depend on who asks for them.

    Tiles that cannot be decoded are counted in `unreadable` (px) and read as white.

    Args:
        open_slide: opens the slide; called for each reading thread, and again after a read failed, because OpenSlide
            then refuses its handle.
        mpp: um/px of the raster.
        readers: threads that read, one strip ahead of who asks; 0 reads when asked. Decoding runs outside Python's
            lock, so threads are enough.

    Attributes:
        size: width and height, px at `mpp`.
        factor: level-0 px per px of the raster.
        bounds: x, y, width, height of the slide's content, level-0 px.
        quickhash: see `wsss_mm.slides.SlideReader`.
        icc: likewise.
        wanted: which pixels are to be segmented, all if None: blocks that lie further than `reach` px from any are not
            read and come as white.
        reach: side of the largest window that looks at the raster, px.
        lost: pixels that could not be decoded, by strip: one read twice counts once.
    """

    def __init__(self, open_slide: Callable[[], ReadableSlide], mpp: float, readers: int = 0) -> None:
        self._open, self._lock, slide = open_slide, Lock(), open_slide()
        self._slides = {get_ident(): slide}
        self.mpp, self.slide_mpp, self.bounds = mpp, slide.mpp, tuple(slide.bounds)
        self._steps, self.quickhash, self.icc = slide.steps, slide.quickhash, slide.icc
        self.factor = mpp / self.slide_mpp
        width, height = (max(1, round(side / self.factor)) for side in self.bounds[2:])
        self.size = (width, height)
        self.wanted: WorkMask | None = None
        self.reach = 0
        self.lost: dict[int, int] = {}
        self._gaps: dict[int, set[tuple[int, int, int, int]]] = {}
        self._height = _STRIP if 3 * _STRIP * self.size[0] <= _STRIP_BYTES else _STRIP // 2
        self._pool = ThreadPoolExecutor(readers, "slide-reader") if readers else None
        self._begun: dict[int, list[tuple[int, Callable[[], tuple[np.ndarray, int]]]]] = {}
        self._strips: dict[int, np.ndarray] = {}

    @property
    def unreadable(self) -> int:
        """Pixels that could not be decoded so far."""
        return sum(self.lost.values())

    def rows(self, start: int, stop: int) -> np.ndarray:
        """RGB of rows start..stop-1, (rows, width, 3) uint8. Strips above `start` are forgotten."""
        numbers = range(start // self._height, (stop - 1) // self._height + 1)
        for number in [number for number in self._strips if number < numbers[0]]:
            del self._strips[number]
        for number in numbers:
            if number not in self._strips:
                self._strips[number] = self._read_strip(number)
        following = numbers[-1] + 1
        if self._pool and following not in self._begun and following * self._height < self.size[1]:
            self._begun[following] = self._begin(following)
        tops = [number * self._height for number in numbers]
        parts = [
            self._strips[number][max(start - top, 0) : stop - top] for number, top in zip(numbers, tops, strict=True)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def gaps(self, start: int, stop: int) -> np.ndarray:
        """Pixels of rows start..stop-1 that could not be decoded, (rows, width) bool, as far as `rows` gave them."""
        found = np.zeros((stop - start, self.size[0]), bool)
        for number in range(start // self._height, (stop - 1) // self._height + 1):
            for x, y, width, height in self._gaps.get(number, ()):
                found[max(y - start, 0) : max(y + height - start, 0), x : x + width] = True
        return found

    def overview(self, max_side: int) -> np.ndarray:
        """The whole raster as one small picture, (h, w, 3) uint8, its longer side at most `max_side` px.

        Where a level of the slide has half of that or more, the picture is that level: all of a finer one need not be
        read.
        """
        shrink = max(1.0, max(self.size) / max_side)
        if shrink > 1:
            levels = (step / self.factor for step in self._steps)
            shrink = min((level for level in levels if shrink <= level <= 2 * shrink), default=shrink)
        width, height = (max(1, round(side / shrink)) for side in self.size)
        return self._read_block(0, 0, width, height, shrink)[0]

    def close(self) -> None:
        """Close the slide."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
        for slide in self._slides.values():
            slide.close()

    def check_size(self, name: object) -> None:
        """Refuse a resolution that no slide has, and a raster that is larger than any, before anything is read.

        Raises:
            InputError: naming the slide.
        """
        if not is_microscopes(self.slide_mpp):
            low, high = MICROSCOPES
            raise InputError(f"{name}: no slide has {self.slide_mpp:g} um/px; give its mpp, {low:g} to {high:g}")
        width, height = self.size
        if max(width, height) > _MAX_SIDE or width * height > _MAX_PIXELS:
            wide, high = (side * self.slide_mpp / 1e3 for side in self.bounds[2:])
            raise InputError(
                f"{name}: at {self.slide_mpp:g} um/px it is {wide:.0f} x {high:.0f} mm, and its map would have "
                f"{width} x {height} px; that mpp is likely wrong, give the true one with --mpp or in column mpp of "
                "the slide table"
            )

    def check_readable(self, name: object) -> None:
        """Refuse a slide of which most could not be decoded, of what had to be read: the glass around does not count.

        Raises:
            InputError: naming the slide.
        """
        if not self.unreadable:
            return
        boxes = (box for number in range(-(-self.size[1] // self._height)) for box in self._boxes(number))
        share = self.unreadable / sum(width * height for *_, width, height in boxes)
        if share > _MAX_UNREADABLE:
            raise InputError(
                f"{name}: {share:.0%} of what is needed of it cannot be decoded; get a complete copy of the file"
            )
        logger.warning(
            "%s: %.2f%% of what is needed of it cannot be decoded and counts as background", name, 100 * share
        )

    def _boxes(self, number: int) -> Iterator[tuple[int, int, int, int]]:
        """Left, top, width and height of each block of a strip that is needed."""
        top = number * self._height
        width, height = self.size[0], min(self._height, self.size[1] - top)
        needed = None if self.wanted is None else self.wanted.columns(top - self.reach, top + height + self.reach)
        for left in range(0, width, _BLOCK):
            if needed is None or needed[max(left - self.reach, 0) : left + _BLOCK + self.reach].any():
                yield left, top, min(_BLOCK, width - left), height

    def _begin(self, number: int) -> list[tuple[int, Callable[[], tuple[np.ndarray, int]]]]:
        """For each block of a strip that is needed its column and what gives its pixels."""
        blocks = []
        for box in self._boxes(number):
            ready = self._pool.submit(self._read_block, *box).result if self._pool else None
            blocks.append((box[0], ready or partial(self._read_block, *box)))
        return blocks

    def _read_strip(self, number: int) -> np.ndarray:
        blocks = self._begun.pop(number, None)
        blocks = self._begin(number) if blocks is None else blocks
        height = min(self._height, self.size[1] - number * self._height)
        strip, unreadable = np.full((height, self.size[0], 3), 255, np.uint8), 0
        while blocks:  # each is let go of when it is in its place
            left, ready = blocks.pop(0)
            block, lost = ready()
            strip[:, left : left + _BLOCK] = block
            unreadable += lost
        self.lost[number] = unreadable
        return strip

    def _read_block(self, x: int, y: int, width: int, height: int, shrink: float = 1.0) -> tuple[np.ndarray, int]:
        """Pixels of a block and how many of them could not be read; coordinates in px of the shrunken raster."""
        scale = self.factor * shrink
        try:
            place = self.bounds[0] + x * scale, self.bounds[1] + y * scale
            return self._slide().read(*place, (width, height), self.mpp * shrink), 0
        except InputError:
            self._slide(again=True)
        block, lost = np.full((height, width, 3), 255, np.uint8), 0
        if max(width, height) <= _SMALLEST:
            if shrink == 1:
                self._gaps.setdefault(y // self._height, set()).add((x, y, width, height))
            return block, width * height
        for top, left, bottom, right in _quarters(width, height):
            part, unreadable = self._read_block(x + left, y + top, right - left, bottom - top, shrink)
            block[top:bottom, left:right] = part
            lost += unreadable
        return block, lost

    def _slide(self, again: bool = False) -> ReadableSlide:
        """This thread's own handle, opened anew if asked."""
        me = get_ident()
        with self._lock:
            slide = self._slides.pop(me, None) if again else self._slides.get(me)
        if slide is not None and not again:
            return slide
        if slide is not None:
            slide.close()
        slide = self._open()
        with self._lock:
            self._slides[me] = slide
        return slide


class Band:
    """The rows that one row of windows looks at, and which of their pixels are background."""

    def __init__(self, raster: Raster, y: int, window: int, background_grey: int) -> None:
        width, height = raster.size
        rows = mirrored(y, y + window, height)
        first, stop = int(rows.min()), int(rows.max()) + 1
        # what is mirrored is copied: the rows of a wide slide take a good part of the memory
        place = slice(None) if y >= 0 and y + window <= height else rows - first
        self._top, self._window, self._width = y, window, width
        self._image = raster.rows(first, stop)[place]
        unknown = raster.gaps(first, stop)
        if raster.wanted is not None:
            unknown |= ~raster.wanted.rows(first, stop)
        self._unknown = unknown[place]
        self._background = (cv2.cvtColor(self._image, cv2.COLOR_RGB2GRAY) > background_grey) | self._unknown
        self._tissue_before = np.concatenate([[0], np.cumsum(~self._background.all(axis=0))])

    def has_tissue(self, x: int) -> bool:
        """Whether any pixel of the slide in the window at column `x` is not background."""
        left, right = max(x, 0), min(x + self._window, self._width)
        return bool(self._tissue_before[right] > self._tissue_before[left])

    def window(self, x: int) -> np.ndarray:
        """RGB of the window at column `x`, (window, window, 3) uint8, mirrored beyond the slide's edges."""
        if x >= 0 and x + self._window <= self._width:
            return self._image[:, x : x + self._window].copy()  # a view would keep the whole band
        return self._image[:, mirrored(x, x + self._window, self._width)]

    def background(self, start: int, stop: int) -> np.ndarray:
        """Background of map rows start..stop-1, (rows, width) bool."""
        return self._background[start - self._top : stop - self._top].copy()

    def unknown(self, start: int, stop: int) -> np.ndarray:
        """Which of them are background because they were not to be looked at, or could not be decoded."""
        return self._unknown[start - self._top : stop - self._top].copy()


def _quarters(width: int, height: int) -> list[tuple[int, int, int, int]]:
    x, y = (width + 1) // 2, (height + 1) // 2
    boxes = [(0, 0, y, x), (0, x, y, width), (y, 0, height, x), (y, x, height, width)]
    return [box for box in boxes if box[2] > box[0] and box[3] > box[1]]
