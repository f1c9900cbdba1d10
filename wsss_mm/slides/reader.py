"""Reading slides at a given resolution, in microns per pixel, whatever the scanner or the pyramid."""

import math
from pathlib import Path
from types import TracebackType
from typing import cast

import cv2
import numpy as np
import openslide
from numpy.typing import NDArray

from wsss_mm.errors import InputError
from wsss_mm.files import is_file, is_folder, sampled_digest
from wsss_mm.slides.dicom import in_folder, warn_of_colours
from wsss_mm.slides.icc import ToSrgb
from wsss_mm.slides.levels import Level
from wsss_mm.slides.pages import check_pages, check_tiles, shown_levels
from wsss_mm.slides.resample import resample
from wsss_mm.slides.resolution import MICROSCOPES, are_same, is_microscopes
from wsss_mm.tables import number

_LEVEL_TOLERANCE = 1.01  # a level this little too coarse is taken: scanners round their resolutions
_READ_AT_ONCE = 1 << 21  # px of a level held in memory by each thread


class SlideReader:
    """An open slide. Coordinates are level-0 pixels, resolutions um/px.

    Attributes:
        path: the slide.
        mpp: um/px at level 0.
        stated_mpp: what the file says of it; None where it says nothing that a microscope can have.
        power: of the objective, as the file says, such as 40; None where it says nothing.
        size: width and height, level-0 px.
        bounds: x, y, width and height of the scanned part, level-0 px; the whole slide where the scanner names none.
            QuPath counts from its top-left corner.
        steps: level-0 px per px of each level; pages that are no downsample of level 0 are none.
        quickhash: OpenSlide's, of the coarsest level and what the file says of itself; where it makes none, because
            that level is large, of samples of the file.
        icc: name of the embedded colour profile by which pixels are sRGB, `wsss_mm.slides.icc.NONE` without one; None
            where pixels are as the file has them.
    """

    def __init__(
        self,
        path: Path,
        slide: openslide.OpenSlide,
        mpp: float,
        stated_mpp: float | None = None,
        *,
        icc: bool = False,
    ) -> None:
        self.path = path
        self.mpp, self.stated_mpp = mpp, stated_mpp
        self.size: tuple[int, int] = slide.dimensions
        self.bounds, self.power = _bounds(slide), _power(slide)
        self._levels = shown_levels(path, slide)
        self.steps: tuple[float, ...] = tuple(level.step for level in self._levels)
        self.quickhash: str = slide.properties.get(openslide.PROPERTY_NAME_QUICKHASH1) or sampled_digest(path)
        self._slide, self._to_srgb = slide, ToSrgb(path, slide) if icc else None
        self.icc = self._to_srgb.profile if self._to_srgb is not None else None

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

    def share(self, cache: openslide.OpenSlideCache) -> None:
        """Keep decoded tiles in a cache that other slides have too, instead of in one of its own of 32 MiB."""
        self._slide.set_cache(cache)

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
        of = self._levels[level]
        left, top = x / of.factors[0], y / of.factors[1]
        width, height = (side * scale / factor for side, factor in zip(size, of.factors, strict=True))
        first_x, first_y = _floor(left), _floor(top)
        last_x, last_y = _ceil(left + width), _ceil(top + height)
        if scale < of.step:  # interpolation looks at the pixel next to the edge
            first_x, first_y = (max(first - 1, min(first, 0)) for first in (first_x, first_y))
            last_x, last_y = (
                min(last + 1, max(last, end)) for last, end in zip((last_x, last_y), of.size, strict=True)
            )
        ends = zip((first_x, first_y), of.size, of.extent, strict=True)
        first_x, first_y = (end - 1 if end <= first < extent else first for first, end, extent in ends)
        try:
            region, shift = _read_level(self._slide, of, (first_x, first_y), (last_x, last_y))
            if self._to_srgb is not None:
                region = self._to_srgb(region)
        except openslide.OpenSlideError as error:
            raise InputError(
                f"{self.path}: cannot be read at x={x:.0f}, y={y:.0f} ({error}); the file is damaged, fetch it again"
            ) from None
        window = (left - first_x - shift[0], top - first_y - shift[1], width, height)
        x, y, width, height = map(_near_integer, window)
        return resample(region, (x, y, width, height), size)


def open_slide(path: Path | str, mpp: float | None = None, *, force: bool = True, icc: bool = False) -> SlideReader:
    """Open a slide of any format OpenSlide knows.

    Args:
        path: the slide.
        mpp: um/px at level 0; wins over what the file says. Who takes it from people keeps to `MICROSCOPES`.
        force: whether it wins where the file says otherwise, too.
        icc: whether pixels become sRGB by the embedded colour profile, where there is one.

    Raises:
        InputError: no such file, no slide, absurd tiles, levels that lie turned, a colour profile that is damaged where
            it is asked for, or a file that says no resolution, or none of a microscope. Resolution is never guessed.

    Examples:
        A small slide as a scanner writes it, 0.5 um/px; what is read at 1 um/px is half as large.

        >>> import numpy as np
        >>> from wsss_mm.slides.phantom.aperio import write_aperio
        >>> write_aperio(Path("slide.tif"), np.full((512, 512, 3), 230, np.uint8), mpp=0.5, magnification=20)
        >>> with open_slide("slide.tif") as slide:
        ...     slide.mpp, slide.size, slide.read(0, 0, 224, mpp=1.0).shape
        (0.5, (512, 512), (224, 224, 3))
    """
    path = Path(path)
    if mpp is not None and not (math.isfinite(mpp) and mpp > 0):
        raise InputError(f"{path}: mpp {mpp} is no resolution; give um per pixel, such as 0.25")
    if not is_file(path):
        folder = in_folder(path) if is_folder(path) else ""
        raise InputError(f"{path}: {folder or 'no such slide file; correct its path'}")
    try:
        slide = openslide.OpenSlide(path)
    except openslide.OpenSlideError as error:
        why = "of no format OpenSlide knows" if isinstance(error, openslide.OpenSlideUnsupportedFormatError) else error
        raise InputError(f"{path}: not a readable slide ({why}); fetch it again or leave it out") from None
    try:
        check_tiles(path, slide)
        check_pages(path, slide)
        warn_of_colours(path, slide)
        stated, why = _stated_resolution(slide)
        used = stated if mpp is None else float(mpp)
        if used is None:
            raise InputError(f"{path}: {why} give it in column mpp of the slide table or with --mpp")
        if not (mpp is None or stated is None or force or are_same(mpp, stated)):
            raise InputError(
                f"{path}: says {stated:g} um/px itself, and --mpp {mpp:g} is for slides that do not; leave --mpp out, "
                "or, if the file is wrong, add --force-mpp"
            )
        return SlideReader(path, slide, used, stated, icc=icc)
    except InputError:
        slide.close()
        raise


def _read_level(
    slide: openslide.OpenSlide, level: Level, first: tuple[int, int], last: tuple[int, int]
) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """Pixels of a level from `first` to before `last`, RGB and white where there are none, and their shift.

    OpenSlide takes whole level-0 px, divides them by the mean of two ratios and then reads in between pixels: what it
    shows lies `shift` px right and down of what was wanted. Left and above of the level it would round to whole pixels.
    """
    begin = tuple(min(max(value, 0), end) for value, end in zip(first, level.size, strict=True))
    width, height = (max(0, min(value, end) - start) for value, end, start in zip(last, level.size, begin, strict=True))
    asked = (round(begin[0] * level.divisor), round(begin[1] * level.divisor))
    shift = (asked[0] / level.divisor - begin[0], asked[1] / level.divisor - begin[1])
    if (width, height) == (last[0] - first[0], last[1] - first[1]):
        return _on_white(np.asarray(slide.read_region(asked, level.number, (width, height)))), shift
    region = np.full((last[1] - first[1], last[0] - first[0], 3), 255, np.uint8)
    if width and height:
        left, top = (start - value for start, value in zip(begin, first, strict=True))
        inside = np.asarray(slide.read_region(asked, level.number, (width, height)))
        region[top : top + height, left : left + width] = _on_white(inside)
        bottom, right = top + height, left + width  # a level that was cut to whole pixels goes on as it ends
        if begin[0] + width == level.size[0] < min(level.extent[0], last[0]):
            region[:, right] = region[:, right - 1]
        if begin[1] + height == level.size[1] < min(level.extent[1], last[1]):
            region[bottom] = region[bottom - 1]
    return region, shift


def _stated_resolution(slide: openslide.OpenSlide) -> tuple[float | None, str]:
    """um/px that the file says, or None and why it says none, up to what to do."""
    try:
        values = [
            float(slide.properties[key]) for key in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)
        ]
    except (KeyError, ValueError):
        return None, "no mpp in the file;"
    if not all(map(is_microscopes, values)):
        dots = f", {25_400 / values[0]:.0f} dpi" if values[0] > MICROSCOPES[1] else ""
        return None, f"no mpp in the file but {values[0]:g} um/px{dots}, which no microscope has;"
    if not are_same(*values):
        return None, (
            f"pixels of {values[0]:g} x {values[1]:g} um are not square; resample the slide, or, if its mpp is wrong,"
        )
    return sum(values) / 2, ""


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


def _power(slide: openslide.OpenSlide) -> float | None:
    power = number(slide.properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER, ""))
    return power if power is not None and 0 < power < math.inf else None


def _on_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if rgba[..., 3].min() == 255:
        return cast("NDArray[np.uint8]", cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB))
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
