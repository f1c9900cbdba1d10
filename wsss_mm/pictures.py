"""Pictures of patches: classes laid over an image, and contact sheets of such panels. The same look in every room."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from wsss_mm.vocabulary import IGNORE, Vocabulary

Pixels = npt.NDArray[np.uint8]
Color = tuple[int, int, int]

INK: Color = (35, 35, 35)
_GREY, _PAPER = (110, 110, 110), (255, 255, 255)
_GAP, _MARGIN = 8, 12  # px
_TITLE, _CAPTION, _LEGEND = 28, 24, 36  # px, heights of lines


@dataclass(frozen=True)
class SheetRow:
    """A line of a contact sheet: panels (H, W, 3) uint8 RGB of any size, or why a place is empty, and what is above."""

    panels: Sequence[Pixels | str | None]
    caption: str = ""


def overlay(image: Pixels, labels: npt.NDArray[np.integer], vocabulary: Vocabulary, alpha: float = 0.45) -> Pixels:
    """Lay a label map's colours over an image.

    Classes are tinted and outlined; `IGNORE` fades towards white, so that it looks like no class.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W), values 0..C-1 and `IGNORE`.
        vocabulary: gives the colours.
        alpha: opacity of the tint, 0..1.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    colors = np.array(vocabulary.palette, dtype=np.uint8).reshape(256, 3)[labels]
    tinted = cast("Pixels", cv2.addWeighted(image, 1 - alpha, colors, alpha, 0))
    tinted[labels == IGNORE] = cv2.addWeighted(image, 0.35, np.full_like(image, 255), 0.65, 0)[labels == IGNORE]
    border = np.zeros(labels.shape, dtype=bool)
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    border[1:] |= labels[1:] != labels[:-1]
    tinted[border] = colors[border] // 2
    return tinted


def overlays(
    image: Pixels, maps: Iterable[npt.NDArray[np.integer] | None], vocabulary: Vocabulary
) -> list[Pixels | None]:
    """Panels of a contact sheet: the image, then each label map laid over it; a map that is None stays None."""
    return [image, *(None if labels is None else overlay(image, labels, vocabulary) for labels in maps)]


def contact_sheet(
    rows: Sequence[SheetRow],
    titles: Sequence[str],
    *,
    colors: Sequence[Color] | None = None,
    legend: Vocabulary | None = None,
    note: str = "",
    side: int = 224,
) -> Image.Image:
    """Lay panels out in a grid, under titles and captions and over a legend.

    Args:
        rows: each has a panel for each title.
        titles: of the columns; long ones are set smaller.
        colors: of the titles.
        legend: classes to explain below.
        note: a line below that.
        side: of the square a panel is fitted to, px.
    """
    width = 2 * _MARGIN + len(titles) * (side + _GAP) - _GAP
    caption = _CAPTION if any(row.caption for row in rows) else 0
    line = caption + side + _GAP
    entries = _legend_lines(legend, width) if legend else []
    notes = _wrapped(note, width - 2 * _MARGIN)
    below = _MARGIN + _TITLE + line * len(rows) + _LEGEND * len(entries)
    sheet = Image.new("RGB", (width, below + _CAPTION * len(notes) + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    lefts = [_MARGIN + column * (side + _GAP) for column in range(len(titles))]
    for left, title, color in zip(lefts, titles, colors or [INK] * len(titles), strict=True):
        draw.text((left, _MARGIN + 16), title, fill=color, font=_fitting_font(title, side), anchor="ls")
    for number, row in enumerate(rows):
        top = _MARGIN + _TITLE + number * line
        draw.text((_MARGIN, top + 4), row.caption, fill=_GREY, font=_font(13))
        for left, panel in zip(lefts, row.panels, strict=True):
            if isinstance(panel, str):
                middle = (left + side // 2, top + caption + side // 2)
                draw.text(middle, panel, fill=_GREY, font=_fitting_font(panel, side), anchor="mm")
            elif panel is not None:
                sheet.paste(_fitted(panel, side), (left, top + caption))
    _draw_legend(draw, entries, top=_MARGIN + _TITLE + len(rows) * line)
    for number, text in enumerate(notes):
        draw.text((_MARGIN, below + _CAPTION * number), text, fill=_GREY, font=_font(13))
    return sheet


def _wrapped(text: str, width: int) -> list[str]:
    """The words of a text in lines that are no wider than `width`."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _font(13).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _legend_lines(vocabulary: Vocabulary, width: int) -> list[list[tuple[int, str, Color]]]:
    """Place, name and colour of each class, in as many lines as the width asks for."""
    lines: list[list[tuple[int, str, Color]]] = [[]]
    left = _MARGIN
    for item in vocabulary.classes:
        length = 22 + round(_font(14).getlength(item.name)) + 24
        if left > _MARGIN and left + length > width:
            lines.append([])
            left = _MARGIN
        lines[-1].append((left, item.name, item.color))
        left += length
    return lines


def _draw_legend(draw: ImageDraw.ImageDraw, lines: list[list[tuple[int, str, Color]]], top: int) -> None:
    for number, entries in enumerate(lines):
        for left, name, color in entries:
            y = top + number * _LEGEND + 10
            draw.rectangle((left, y, left + 15, y + 15), fill=color, outline=_GREY)
            draw.text((left + 22, y - 1), name, fill=INK, font=_font(14))


def _fitted(panel: Pixels, side: int) -> Image.Image:
    factor = side / max(panel.shape[:2])
    size = (max(1, round(panel.shape[1] * factor)), max(1, round(panel.shape[0] * factor)))
    return Image.fromarray(panel).resize(size, Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.BICUBIC)


def _fitting_font(text: str, width: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The largest of 16 px and less, down to 8, in which the text is no wider than `width`."""
    sizes = range(16, 8, -1)
    return _font(next((size for size in sizes if _font(size).getlength(text) <= width), 8))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
