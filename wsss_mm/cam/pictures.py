"""Contact sheet of pseudo-labels: image, CAM of each label, pseudo-label, truth."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wsss_mm.patches.vocabulary import IGNORE, Vocabulary

_GAP, _HEADER, _SIDE = 6, 22, 168
_INK, _PAPER = (40, 40, 40), (255, 255, 255)


def colorize(labels: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """Label map (H, W) uint8 to RGB (H, W, 3); what has no class is white."""
    table = np.full((256, 3), 255, dtype=np.uint8)
    table[: len(vocabulary)] = vocabulary.colors
    return table[labels]


def blend(image: np.ndarray, labels: np.ndarray, vocabulary: Vocabulary, alpha: float = 0.5) -> np.ndarray:
    """RGB image (H, W, 3) with its classes laid over it; pixels without a class keep the image."""
    colors = colorize(labels, vocabulary)
    mixed = cv2.addWeighted(image, 1 - alpha, colors, alpha, 0)
    return np.where((labels == IGNORE)[..., None], image, mixed)


def heat(image: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """RGB image (H, W, 3) under a heat map of `cam` (H, W) in 0..1."""
    colors = cv2.applyColorMap(np.round(np.clip(cam, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    return cv2.addWeighted(image, 0.5, cv2.cvtColor(colors, cv2.COLOR_BGR2RGB), 0.5, 0)


def contact_sheet(rows: Sequence[Sequence[np.ndarray | None]], titles: Sequence[str]) -> Image.Image:
    """Lay panels out in a grid under column titles, each scaled to the same square; None leaves a place empty."""
    step = _SIDE + _GAP
    sheet = Image.new("RGB", (_GAP + step * len(titles), _HEADER + step * max(1, len(rows))), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    for column, title in enumerate(titles):
        draw.text((_GAP + column * step, 4), title, fill=_INK, font=font)
    for line, panels in enumerate(rows):
        for column, panel in enumerate(panels):
            if panel is not None:
                picture = Image.fromarray(panel).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
                sheet.paste(picture, (_GAP + column * step, _HEADER + line * step))
    return sheet
