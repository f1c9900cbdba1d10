"""Reading slides at a given resolution, in microns per pixel, whatever the scanner or the pyramid."""

import math
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import openslide
from numpy.typing import NDArray

from wsss_mm.errors import InputError
from wsss_mm.files import is_file, sampled_digest
from wsss_mm.slides.resample import resample

_PLAUSIBLE_MPP = (0.02, 50.0)  # outside, a resolution tag means printing, not a microscope
_SQUARE = 1.02  # pixels are square where their sides differ by no more than gates allow an mpp to be off
_LEVEL_TOLERANCE = 1.01  # a level this little too coarse is taken: scanners round their resolutions
_LARGEST_TILE = 1 << 26  # px; those of scanners are a thousand times smaller
_READ_AT_ONCE = 1 << 21  # px of a level held in memory by each thread


class SlideReader:
    """An open slide. Coordinates are level-0 pixels, resolutions um/px.

    Attributes:
        path: the slide.
        mpp: um/px at level 0.
        size: width and height, level-0 px.
        bounds: x, y, width and height of the scanned part, level-0 px; the whole slide where the scanner names none.
            QuPath counts from its top-left corner.
        steps: level-0 px per px of each level.
        quickhash: OpenSlide's, of the coarsest level and what the file says of itself; where it makes none, because
            that level is large, of samples of the file.
    """

    def __init__(self, path: Path, slide: openslide.OpenSlide, mpp: float) -> None:
        self.path = path
        self.mpp = mpp
        self.size: tuple[int, int] = slide.dimensions
        self.bounds = _bounds(slide)
        self.steps: tuple[float, ...] = slide.level_downsamples
        self.quickhash: str = slide.properties.get(openslide.PROPERTY_NAME_QUICKHASH1) or sampled_digest(path)
        self._slide = slide

    def read(self, x: float, y: float, size: int | tuple[int, int], mpp: float) -> NDArray[np.uint8]:
        """Read a region, from the coarsest level that is fine enough and with one resampling.

        Args:
            x: left edge, level-0 px; may lie outside the slide.
            y: top edge, likewise.
            size: side, or width and height, of the region in px at `mpp`.
            mpp: um/px of the region; finer than the slide means interpolation.

        Returns:
            (H, W, 3) uint8 RGB, white where the slide has nothing.

        Raises:
            InputError: the file is damaged there.
        """
        width, height = (size, size) if isinstance(size, int) else size
        scale = mpp / self.mpp  # level-0 px per px of the region
        level = self._level_for(scale)
        per_pixel = scale / self.steps[level]
        rows = max(1, int(_READ_AT_ONCE / (width * per_pixel * per_pixel)))
        if rows >= height:
            return self._read_rows(x, y, (width, height), scale, level)
        strips = [
            self._read_rows(x, y + top * scale, (width, min(rows, height - top)), scale, level)
            for top in range(0, height, rows)
        ]
        return np.concatenate(strips)

    def thumbnail(self, max_side: int) -> NDArray[np.uint8]:
        """The whole slide, its longer side `max_side` px: (H, W, 3) uint8 RGB."""
        longest = max(self.size)
        width, height = (max(1, round(side * max_side / longest)) for side in self.size)
        return self.read(0, 0, (width, height), self.mpp * longest / max_side)

    @property
    def coarsest_mpp(self) -> float:
        """um/px of the last level."""
        return self.mpp * max(self.steps)

    def close(self) -> None:
        """Close the file."""
        self._slide.close()

    def __enter__(self) -> "SlideReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _level_for(self, scale: float) -> int:
        fine = [i for i, step in enumerate(self.steps) if step <= scale * _LEVEL_TOLERANCE]
        return max(fine, default=0)

    def _read_rows(self, x: float, y: float, size: tuple[int, int], scale: float, level: int) -> NDArray[np.uint8]:
        step = self.steps[level]
        left, top = x / step, y / step
        width, height = (side * scale / step for side in size)
        first_x, first_y = _floor(left), _floor(top)
        last_x, last_y = _ceil(left + width), _ceil(top + height)
        if scale < step:  # interpolation looks at the pixel next to the edge
            first_x, first_y = (max(first - 1, min(first, 0)) for first in (first_x, first_y))
            ends = zip((last_x, last_y), self._slide.level_dimensions[level], strict=True)
            last_x, last_y = (min(last + 1, max(last, end)) for last, end in ends)
        try:
            region = self._slide.read_region(
                (round(first_x * step), round(first_y * step)), level, (last_x - first_x, last_y - first_y)
            )
        except openslide.OpenSlideError as error:
            raise InputError(
                f"{self.path}: cannot be read at x={x:.0f}, y={y:.0f} ({error}); the file is damaged, fetch it again"
            ) from None
        window = (left - first_x, top - first_y, width, height)
        return resample(_on_white(np.asarray(region)), tuple(map(_near_integer, window)), size)


def open_slide(path: Path | str, mpp: float | None = None) -> SlideReader:
    """Open a slide of any format OpenSlide knows.

    Args:
        path: the slide.
        mpp: um/px at level 0; wins over what the file says.

    Raises:
        InputError: no such file, no slide, absurd tiles, or no resolution known. Resolution is never guessed.
    """
    path = Path(path)
    if not is_file(path):
        raise InputError(f"{path}: no such slide file; correct its path")
    try:
        slide = openslide.OpenSlide(path)
    except openslide.OpenSlideError as error:
        why = "of no format OpenSlide knows" if isinstance(error, openslide.OpenSlideUnsupportedFormatError) else error
        raise InputError(f"{path}: not a readable slide ({why}); fetch it again or leave it out") from None
    try:
        _check_tiles(path, slide)
        return SlideReader(path, slide, _resolution(path, slide, mpp))
    except InputError:
        slide.close()
        raise


def _check_tiles(path: Path, slide: openslide.OpenSlide) -> None:
    """OpenSlide holds whole tiles in memory and ends the process where there is too little of it."""
    for level in range(slide.level_count):
        sides = [slide.properties.get(f"openslide.level[{level}].tile-{side}", "0") for side in ("width", "height")]
        if math.prod(map(int, sides)) > _LARGEST_TILE:
            raise InputError(f"{path}: tiles of {' x '.join(sides)} px, which no scanner writes; fetch it again")


def _resolution(path: Path, slide: openslide.OpenSlide, override: float | None) -> float:
    if override is not None:
        if not (math.isfinite(override) and override > 0):
            raise InputError(f"{path}: mpp {override} is no resolution; give um per pixel, such as 0.25")
        return float(override)
    try:
        values = [
            float(slide.properties[key]) for key in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)
        ]
    except (KeyError, ValueError):
        values = []
    if not values or not all(_PLAUSIBLE_MPP[0] <= value <= _PLAUSIBLE_MPP[1] for value in values):
        raise InputError(f"{path}: no mpp in the file; give it in column mpp of the slide table or with --mpp")
    if max(values) > _SQUARE * min(values):
        raise InputError(
            f"{path}: pixels of {values[0]:g} x {values[1]:g} um are not square; resample the slide, or, if its mpp is "
            "wrong, give it in column mpp of the slide table or with --mpp"
        )
    return sum(values) / 2


def _bounds(slide: openslide.OpenSlide) -> tuple[int, int, int, int]:
    keys = (
        openslide.PROPERTY_NAME_BOUNDS_X,
        openslide.PROPERTY_NAME_BOUNDS_Y,
        openslide.PROPERTY_NAME_BOUNDS_WIDTH,
        openslide.PROPERTY_NAME_BOUNDS_HEIGHT,
    )
    try:
        x, y, width, height = (int(slide.properties[key]) for key in keys)
    except (KeyError, ValueError):
        return (0, 0, *slide.dimensions)
    return x, y, width, height


def _on_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if rgba[..., 3].min() == 255:
        return cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB)
    alpha = rgba[..., 3:]
    opaque = alpha.astype(np.uint16)
    return ((rgba[..., :3] * opaque + 255 * (255 - opaque) + 127) // 255).astype(np.uint8)


_EPSILON = 1e-6  # px; what floating point leaves of a whole number


def _near_integer(value: float) -> float:
    nearest = round(value)
    return float(nearest) if abs(value - nearest) < _EPSILON else value


def _floor(value: float) -> int:
    return math.floor(_near_integer(value))


def _ceil(value: float) -> int:
    return math.ceil(_near_integer(value))
