"""Pictures of a page: the slide with its classes over it, and fields of it with a class outlined."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from wsss_mm.errors import InputError
from wsss_mm.findings.document import Color, Pixels, Shot
from wsss_mm.findings.survey import EXAMPLE, MapField, planes
from wsss_mm.places import OVERLAY
from wsss_mm.slides import open_slide
from wsss_mm.wsi.overlay import picture_of
from wsss_mm.wsi.viewer.results import Result

_SHOT = 256  # px, side of a field's picture
_LINE = 2


def overlay_of(result: Result, side: int) -> Pixels:
    """The slide with its classes over it, without the legend, its longer side at most `side` px.

    Raises:
        InputError: it is no picture.
    """
    path = result.folder / OVERLAY
    try:
        with Image.open(path) as image:
            if image.width * image.height > 1 << 26:
                raise InputError(f"{path}: claims {image.width} x {image.height} px; segment the slide again")
            sheet = np.asarray(image.convert("RGB"))
    except InputError:
        raise
    except Exception as error:  # broken pictures make decoders raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not readable as a picture ({reason}); segment the slide again") from None
    found = picture_of(sheet, result.size[::-1])
    return smaller(sheet if found is None else found, side)


def smaller(picture: Pixels, side: int) -> Pixels:
    """A picture whose longer side is at most `side` px."""
    factor = side / max(picture.shape[:2])
    if factor >= 1:
        return picture
    high, wide = (max(1, round(edge * factor)) for edge in picture.shape[:2])
    return np.asarray(Image.fromarray(picture).resize((wide, high), Image.Resampling.LANCZOS))


def shots_of(result: Result, places: Iterable[MapField], slide: Path) -> list[Shot]:
    """Fields of a slide as it is, with the outline of the class they are shown for.

    Raises:
        InputError: the slide cannot be read, or the map.
    """
    found = []
    with open_slide(slide, result.slide_mpp) as reader, planes(result) as (labels, _):
        for place in places:
            color = result.classes[place.index].color
            scale = result.mpp / result.slide_mpp
            corner = (result.bounds[0] + place.x * scale, result.bounds[1] + place.y * scale)
            picture = reader.read(*corner, _SHOT, place.side * result.mpp / _SHOT)
            rows = labels[place.y : place.y + place.side]
            own = np.zeros((place.side, place.side), np.uint8)
            part = rows[:, place.x : place.x + place.side] == place.index
            own[: part.shape[0], : part.shape[1]] = part
            found.append(Shot(_outlined(picture, own, color), caption(place, result), color))
    return found


def caption(place: MapField, result: Result) -> str:
    """What is below a field's picture."""
    name = result.classes[place.index].name
    if place.why == EXAMPLE:
        return name
    sure = "" if place.confidence is None else f" ({100 * place.confidence:.0f}\u00a0%)"
    return f"{name}: {place.why}{sure}"


def _outlined(picture: Pixels, own: Pixels, color: Color) -> Pixels:
    """A picture with a line around a class (H, W) 0 or 1, dark beneath, so that it shows on any tissue."""
    mask = cv2.resize(own, (_SHOT, _SHOT), interpolation=cv2.INTER_NEAREST)
    lines, _ = cv2.findContours(np.pad(mask, 1), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(-1, -1))
    drawn = picture.copy()
    if mask.all():
        return drawn
    cv2.drawContours(drawn, lines, -1, (20, 20, 20), _LINE + 2)
    cv2.drawContours(drawn, lines, -1, color, _LINE)
    return drawn
