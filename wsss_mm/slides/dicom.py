"""Slides in DICOM: whether their colours are those that they say, and where a folder of files is a slide."""

import logging
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import openslide
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

_VENDOR = "dicom"
_SAYS = "dicom.PhotometricInterpretation"
_SIDE = 1024  # px of a level that are looked at
_GLASS, _NEUTRAL = 180, 30  # every channel is at least so bright, and no two differ by more
_LEAST_GLASS, _TIMES = 0.02, 20  # share that is glass as the file does not say, and times that as it does
_COLOURED = 40  # largest difference of channels, of tissue that has a colour
_GLASS_AS_YBR, _NEAR = np.array((255, 123, 255), np.int16), 12  # glass of 180 to 255, taken for luminance and chroma
_CHROMA_LAST = (0, 2, 1)  # OpenCV has Cr before Cb
ENDING = ".dcm"


def warn_of_colours(path: Path, slide: openslide.OpenSlide) -> None:
    """Say where a DICOM slide calls its colours RGB and has luminance and chroma, or the other way round.

    Some converters copy JPEGs of the one kind under the tag of the other; every program then shows glass in magenta or
    in green. It is told by the glass, which has no colour as the one and none of the other has, and by the tissue,
    whose stains take most of the green.
    """
    said = slide.properties.get(_SAYS, "")
    if slide.properties.get(openslide.PROPERTY_NAME_VENDOR) == _VENDOR and said:
        stat = path.stat()
        _look(path, said, (stat.st_size, stat.st_mtime_ns))


@lru_cache(maxsize=4096)
def _look(path: Path, said: str, _: tuple[int, int]) -> None:
    """Once for each state of a file, which is opened many times."""
    try:
        with openslide.OpenSlide(path) as slide:
            shown = _pixels(slide)
    except openslide.OpenSlideError:  # damaged: who reads it tells
        return
    if is_mislabelled(shown, said):
        other = "RGB" if said.startswith("YBR") else "YBR_FULL"
        logger.warning(
            "%s: its colours are wrong: its photometric interpretation says %s, and its pixels are %s; have it "
            "converted again, or correct that tag in all files of the slide",
            *(path, said, other),
        )


def is_mislabelled(shown: NDArray[np.uint8], said: str) -> bool:
    """Whether pixels look like a stained slide as soon as they are taken for the other of RGB and YBR.

    Args:
        shown: (N, 3) uint8, as they are shown.
        said: the file's photometric interpretation.
    """
    if not len(shown):
        return False
    if said.startswith("YBR"):  # glass is bright in each channel: red and blue overflow, whatever it was
        glass = (np.abs(shown.astype(np.int16) - _GLASS_AS_YBR) <= _NEAR).all(axis=1).mean()
        return bool(glass >= max(_LEAST_GLASS, _glass(shown) * _TIMES))
    other = cv2.cvtColor(shown[None][..., _CHROMA_LAST], cv2.COLOR_YCrCb2RGB)[0]
    if _glass(other) < max(_LEAST_GLASS, _glass(shown) * _TIMES):
        return False
    tissue = np.ptp(other, axis=1) > _COLOURED
    return not tissue.any() or _least_green(other[tissue]) > _least_green(shown[tissue])


def _glass(pixels: NDArray[np.uint8]) -> float:
    return float(((pixels.min(axis=1) >= _GLASS) & (np.ptp(pixels, axis=1) <= _NEUTRAL)).mean())


def _least_green(pixels: NDArray[np.uint8]) -> float:
    return float((pixels[:, 1] <= pixels.min(axis=1)).mean())


def _pixels(slide: openslide.OpenSlide) -> NDArray[np.uint8]:
    """Those of the middle of the coarsest level that the file has, (N, 3)."""
    level = slide.level_count - 1
    width, height = (min(side, _SIDE) for side in slide.level_dimensions[level])
    left, top = (
        int((side - part) / 2 * slide.level_downsamples[level])
        for side, part in zip(slide.level_dimensions[level], (width, height), strict=True)
    )
    region = np.asarray(slide.read_region((left, top), level, (width, height)))
    return np.ascontiguousarray(region[region[..., 3] == 255][:, :3])


def in_folder(path: Path) -> str:
    """What to say of a folder that was named for a slide, where files of DICOM lie in it; empty where none do."""
    first = min((file for file in path.iterdir() if file.suffix.lower() == ENDING), default=None)
    return "" if first is None else f"is a folder; name one of the files of the slide in it, such as {first.name}"
