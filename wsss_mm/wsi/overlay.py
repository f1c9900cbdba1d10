"""A slide at a glance: thumbnail with the classes laid over it, and a legend with areas."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wsss_mm.slides.artefacts import Artefacts
from wsss_mm.slides.pyramid import RowMap
from wsss_mm.vocabulary import IGNORE, TissueClass

_INK, _FAINT, _PAPER, _FRAME = (35, 35, 35), (110, 110, 110), (255, 255, 255), (200, 200, 200)
_ALARM = (170, 20, 20)
_MARGIN, _LEGEND, _LINE, _WARNING_LINE = 16, 320, 48, 16
_ALPHA = 0.45
_HATCH = 10  # px between lines
_HATCHES = {"pen": ((20, 20, 20), 1), "folds": ((0, 110, 60), -1), "blur": ((0, 90, 190), -1)}
"""Colour of an artefact's lines, and which way they lean."""


def draw_overlay(
    picture: np.ndarray,
    labels: RowMap,
    classes: Sequence[TissueClass],
    figures: Mapping[str, Mapping[str, Any]],
    title: str,
    *,
    mpp: float,
    alpha: float = _ALPHA,
    warning: str | None = None,
    marks: Mapping[str, np.ndarray] | None = None,
) -> Image.Image:
    """Lay the classes over a picture of the slide; background shows the slide as it is, and artefacts are hatched.

    Args:
        picture: the slide, (h, w, 3) uint8.
        labels: its label map, of any larger size (H, W).
        classes: in the order of label values.
        figures: for each class code `area_mm2` and `share`.
        title: over the legend.
        mpp: um/px of `picture`, for the scale bar.
        alpha: how much the colours cover.
        warning: stands below the scale bar.
        marks: by cause, where the picture shows an artefact, (h, w) bool; one that is nowhere is not in the legend.
    """
    height, width = picture.shape[:2]
    mixed = blended(picture, _nearest(labels, height, width), classes, alpha)
    marks = {cause: mask for cause, mask in (marks or {}).items() if mask.any()}
    for cause, mask in marks.items():
        _hatch(mixed, mask, *_HATCHES[cause])
    rows = len(classes) + len(marks)
    lines = _lines(warning or "", _font(12), _LEGEND - 24)
    below = _MARGIN * 4 + _LINE * (rows + 2)
    legend = below + (_MARGIN + _WARNING_LINE * len(lines) if lines else 0)
    sheet = Image.new("RGB", (width + 2 * _MARGIN + _LEGEND, max(height + 2 * _MARGIN, legend)), _PAPER)
    sheet.paste(Image.fromarray(mixed), (_MARGIN, _MARGIN))
    draw = ImageDraw.Draw(sheet)
    draw.rectangle([_MARGIN - 1, _MARGIN - 1, _MARGIN + width, _MARGIN + height], outline=_FRAME)
    left = width + 2 * _MARGIN + 8
    _draw_legend(draw, left, classes, figures, title)
    for index, (cause, mask) in enumerate(marks.items(), start=len(classes) + 1):
        _draw_mark(sheet, left, _MARGIN + _LINE * index, cause, float(mask.sum()) * mpp**2 / 1e6)
    _draw_scale(draw, left, _MARGIN * 3 + _LINE * (rows + 1), mpp, _LEGEND - 80)
    for index, line in enumerate(lines):
        draw.text((left, below + _WARNING_LINE * index), line, fill=_ALARM, font=_font(12))
    return sheet


def _lines(text: str, font: ImageFont.FreeTypeFont, room: int) -> list[str]:
    """Words of a text in lines that fit into a room, px."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def artefacts_on(
    shape: tuple[int, int], artefacts: Artefacts, bounds: tuple[float, float, float, float]
) -> dict[str, np.ndarray]:
    """Artefacts by cause on a picture (h, w) of a part of the slide: x, y, width and height in level-0 px."""
    places = []
    for axis in (1, 0):
        at = bounds[axis] + (np.arange(shape[1 - axis]) + 0.5) * bounds[axis + 2] / shape[1 - axis]
        places.append(np.clip((at / artefacts.scale).astype(int), 0, artefacts.tissue.shape[1 - axis] - 1))
    return {cause: mask[np.ix_(*places)] for cause, mask in artefacts.masks.items()}


def blended(
    picture: np.ndarray, labels: np.ndarray, classes: Sequence[TissueClass], alpha: float = _ALPHA
) -> np.ndarray:
    """A picture (h, w, 3) with the colours of the classes of `labels` (h, w) laid over it."""
    colors = np.full((256, 3), 255, np.uint8)
    colors[: len(classes)] = [item.color for item in classes]
    mixed = cv2.addWeighted(picture, 1 - alpha, colors[labels], alpha, 0)
    np.copyto(mixed, picture, where=(labels == IGNORE)[..., None])
    return mixed


def picture_of(sheet: np.ndarray, shape: tuple[int, int]) -> np.ndarray | None:
    """The picture on a sheet that `draw_overlay` drew of a map (height, width); None if there is no room for it."""
    width = sheet.shape[1] - 2 * _MARGIN - _LEGEND
    height = max(1, round(width * shape[0] / shape[1]))
    found = sheet[_MARGIN : _MARGIN + height, _MARGIN : _MARGIN + width]
    return found if width > 0 and found.shape[:2] == (height, width) else None


def _hatch(picture: np.ndarray, mask: np.ndarray, color: tuple[int, int, int], lean: int) -> None:
    """Draw an outline around a mask, and lines that lean one way in it."""
    rows, columns = np.indices(mask.shape, sparse=True)
    lines = mask & ((rows + lean * columns) % _HATCH < 2)
    edge = mask & ~(cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0)
    picture[lines | edge] = color


def _draw_mark(sheet: Image.Image, left: int, top: int, cause: str, area: float) -> None:
    box = np.full((27, 27, 3), 255, np.uint8)
    _hatch(box, np.ones((27, 27), bool), *_HATCHES[cause])
    sheet.paste(Image.fromarray(box), (left, top))
    draw = ImageDraw.Draw(sheet)
    draw.rectangle([left, top, left + 26, top + 26], outline=_FRAME)
    draw.text((left + 38, top - 3), cause, fill=_INK, font=_font(14))
    draw.text((left + 38, top + 15), f"{area:.3f} mm\u00b2", fill=_FAINT, font=_font(12))


def _nearest(labels: RowMap, height: int, width: int) -> np.ndarray:
    rows = ((np.arange(height) + 0.5) * labels.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * labels.shape[1] / width).astype(int)
    return np.stack([labels[row : row + 1][0, columns] for row in rows.tolist()])


def _draw_legend(
    draw: ImageDraw.ImageDraw,
    left: int,
    classes: Sequence[TissueClass],
    figures: Mapping[str, Mapping[str, Any]],
    title: str,
) -> None:
    large, normal, small = (_font(size) for size in (17, 14, 12))
    while draw.textlength(title, large) > _LEGEND - 24:
        title = title.removesuffix("...")[:-1] + "..."
    draw.text((left, _MARGIN), title, fill=_INK, font=large)
    for index, item in enumerate(classes):
        top = _MARGIN + _LINE * (index + 1)
        draw.rectangle([left, top, left + 26, top + 26], fill=item.color, outline=_FRAME)
        draw.text((left + 38, top - 3), item.name, fill=_INK, font=normal)
        draw.text((left + 38, top + 15), _text(figures[item.code]), fill=_FAINT, font=small)


def _text(figures: Mapping[str, Any]) -> str:
    share = "\u2013" if figures["share"] is None else f"{100 * figures['share']:.1f} %"
    return f"{figures['area_mm2']:.3f} mm\u00b2   {share}"


def _draw_scale(draw: ImageDraw.ImageDraw, left: int, top: int, mpp: float, room: int) -> None:
    """A bar of a round length, at most `room` px long."""
    lengths = [step * 10.0**power for power in range(5) for step in (1, 2, 5)]  # um
    length = max((value for value in lengths if value / mpp <= room), default=lengths[0])
    draw.rectangle([left, top, left + max(1, round(length / mpp)), top + 5], fill=_INK)
    text = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} \u00b5m"
    draw.text((left, top + 10), text, fill=_INK, font=_font(12))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu, which comes with matplotlib: Pillow's own font has no superscript two and no micro sign."""
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)
