"""Colour profiles that scanners embed: pixels as sRGB, by which slides of several scanners become comparable.

Off unless `stain.icc` of params.yaml asks for it. Where it does, stage `cohort` leaves a note beside the table of
slides, so that all who open a slide of the cohort see the same colours; the note goes along with the patches, and
model.json says so, too: a model is shown slides as those were that it learnt from.
"""

from pathlib import Path
from typing import Any, cast

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image, ImageCms

from wsss_mm.errors import InputError
from wsss_mm.formats import read_object, write_object
from wsss_mm.places import ICC, ICC_NOTE

SRGB = "sRGB"
"""What pixels are converted to."""
NONE = "none"
"""What `ToSrgb.profile` is of a slide without a profile."""

_LONGEST = 80  # letters of a profile's name


class ToSrgb:
    """Converts pixels of one slide, by its embedded profile; without one they stay as they are.

    Args:
        path: of the slide, for messages.
        slide: open.

    Attributes:
        profile: what the profile calls itself, or `NONE`.

    Raises:
        InputError: there is a profile, and it is damaged or not of RGB.
    """

    def __init__(self, path: Path, slide: openslide.OpenSlide) -> None:
        self.profile, self._transform = NONE, None
        what = "its ICC profile"
        try:
            found = slide.color_profile
            if found is None:
                return
            if (space := found.profile.xcolor_space.strip()) != "RGB":
                raise InputError(f"{path}: {what} is of {space or 'no colours'}, not of RGB; set stain.icc: false")
            intent = ImageCms.Intent(ImageCms.getDefaultIntent(found))
            target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
            flags = ImageCms.Flags.NOCACHE  # threads share it
            self._transform = ImageCms.buildTransform(found, target, "RGB", "RGB", intent, flags)
            named = " ".join(ImageCms.getProfileDescription(found).split())
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError, AttributeError) as error:
            said = " ".join(str(error).split())[:_LONGEST]
            raise InputError(f"{path}: {what} is damaged ({said}); set stain.icc: false, or scan it again") from None
        self.profile = "".join(letter for letter in named if letter.isprintable())[:_LONGEST] or "unnamed"

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """An RGB image (H, W, 3) uint8 in sRGB."""
        if self._transform is None or not image.size:
            return image
        return cast("NDArray[np.uint8]", np.asarray(self._transform.apply(Image.fromarray(image))))


def note_icc(folder: Path) -> None:
    """Leave the note in a folder that the slides are read as sRGB."""
    write_object(folder / ICC, ICC_NOTE, {"to": SRGB})


def icc_noted(folder: Path) -> bool:
    """Whether there is such a note.

    Raises:
        InputError: it is damaged, or says something else.
    """
    path = folder / ICC
    if not path.is_file():
        return False
    content: Any = read_object(path, ICC_NOTE)
    if content.get("to") != SRGB:
        raise InputError(f"{path}: damaged: does not say {SRGB}; {ICC_NOTE.again}")
    return True
