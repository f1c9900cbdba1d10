"""Contact sheets: patches in rows, what is known or predicted of them in columns, and a legend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from wsss_mm.files import atomic_path
from wsss_mm.patches.vocabulary import IGNORE, Vocabulary

Pixels = npt.NDArray[np.uint8]

_SIDE, _GAP, _MARGIN = 224, 8, 12  # px
_TITLE, _CAPTION, _LEGEND = 28, 24, 36  # px, heights of lines
_INK, _GREY, _PAPER = (35, 35, 35), (110, 110, 110), (255, 255, 255)


@dataclass(frozen=True)
class SheetRow:
    """A patch of a contact sheet: `image` (H, W, 3) uint8 RGB and, by column title, label maps (H, W) uint8 or None."""

    caption: str
    image: Pixels
    maps: Mapping[str, Pixels | None]


def overlay(image: Pixels, labels: Pixels, vocabulary: Vocabulary, alpha: float = 0.45) -> Pixels:
    """Lay a label map's colours over an image.

    Classes are tinted and outlined; `IGNORE` fades towards white, so that it looks like no class.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8, values 0..C-1 and `IGNORE`.
        vocabulary: gives the colours.
        alpha: opacity of the tint, 0..1.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    colors = np.array(vocabulary.palette, dtype=np.uint8).reshape(256, 3)[labels]
    tinted = cv2.addWeighted(image, 1 - alpha, colors, alpha, 0)
    tinted[labels == IGNORE] = cv2.addWeighted(image, 0.35, np.full_like(image, 255), 0.65, 0)[labels == IGNORE]
    border = np.zeros(labels.shape, dtype=bool)
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    border[1:] |= labels[1:] != labels[:-1]
    tinted[border] = colors[border] // 2
    return tinted


def contact_sheet(rows: Sequence[SheetRow], vocabulary: Vocabulary, path: Path | str | None = None) -> Image.Image:
    """Draw rows of image and overlays, with captions, column titles and the legend of the classes.

    Args:
        rows: at least one; columns are the titles of the first row's `maps`, a map that is None leaves its place empty.
        vocabulary: gives names and colours.
        path: where to write the PNG, atomically; nowhere if None.
    """
    titles = list(rows[0].maps)
    width = 2 * _MARGIN + (len(titles) + 1) * (_SIDE + _GAP) - _GAP
    line = _CAPTION + _SIDE + _GAP
    legend = _legend_lines(vocabulary, width)
    sheet = Image.new("RGB", (width, 2 * _MARGIN + _TITLE + line * len(rows) + _LEGEND * len(legend)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(["Image", *titles]):
        draw.text((_MARGIN + column * (_SIDE + _GAP), _MARGIN), title, fill=_INK, font=_font(16))
    for number, row in enumerate(rows):
        top = _MARGIN + _TITLE + number * line
        draw.text((_MARGIN, top + 4), row.caption, fill=_GREY, font=_font(13))
        labels = [
            None if row.maps[title] is None else overlay(row.image, row.maps[title], vocabulary) for title in titles
        ]
        for column, panel in enumerate([row.image, *labels]):
            if panel is not None:
                sheet.paste(_fitted(panel), (_MARGIN + column * (_SIDE + _GAP), top + _CAPTION))
    top = _MARGIN + _TITLE + len(rows) * line
    for number, entries in enumerate(legend):
        for left, name, color in entries:
            y = top + number * _LEGEND + 10
            draw.rectangle((left, y, left + 15, y + 15), fill=color, outline=_GREY)
            draw.text((left + 22, y - 1), name, fill=_INK, font=_font(14))
    if path is not None:
        with atomic_path(path) as temporary:
            sheet.save(temporary, format="PNG")
    return sheet


def _legend_lines(vocabulary: Vocabulary, width: int) -> list[list[tuple[int, str, tuple[int, int, int]]]]:
    lines: list[list[tuple[int, str, tuple[int, int, int]]]] = [[]]
    left = _MARGIN
    for item in vocabulary.classes:
        length = 22 + round(_font(14).getlength(item.name)) + 24
        if left > _MARGIN and left + length > width:
            lines.append([])
            left = _MARGIN
        lines[-1].append((left, item.name, item.color))
        left += length
    return lines


def _fitted(panel: Pixels) -> Image.Image:
    factor = _SIDE / max(panel.shape[:2])
    size = (max(1, round(panel.shape[1] * factor)), max(1, round(panel.shape[0] * factor)))
    return Image.fromarray(panel).resize(size, Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.BICUBIC)


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
