"""Contact sheet of pseudo-labels: image, CAM of each label, pseudo-label, truth."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from wsss_mm.cam.pseudo_label import PseudoLabeller
from wsss_mm.cam.store import label_patches
from wsss_mm.patches.images import read_mask
from wsss_mm.patches.vocabulary import IGNORE, Vocabulary

_GAP, _HEADER, _SIDE = 6, 24, 168
_INK, _PAPER = (40, 40, 40), (255, 255, 255)


def pseudo_label_sheet(
    labeller: PseudoLabeller, manifest: pd.DataFrame, folder: Path, vocabulary: Vocabulary, *, count: int = 8
) -> Image.Image:
    """Show how pseudo-labels come about on a few patches, those with truth and several labels first.

    Args:
        labeller: what makes the labels; the heat maps are its CAMs at scale 1, of the classes each patch holds.
        manifest: patches to choose from.
        folder: where the manifest's paths start.
        vocabulary: the classes.
        count: rows of the sheet.
    """
    rows = []
    for patch in label_patches(labeller, choose_patches(manifest, vocabulary, count), folder, vocabulary):
        cams = labeller.cams(patch.image[None])[0].cpu().numpy()
        heats = [
            heat(patch.image, cam) if patch.row[code] else None
            for code, cam in zip(vocabulary.codes, cams, strict=True)
        ]
        mask_path = patch.row["mask_path"]
        truth = blend(patch.image, read_mask(folder / mask_path, len(vocabulary)), vocabulary) if mask_path else None
        rows.append([patch.image, *heats, blend(patch.image, patch.labels, vocabulary), truth])
    titles = ["patch", *(f"CAM {item.name}" for item in vocabulary.classes), "pseudo-label", "truth"]
    colors = [_INK, *vocabulary.colors, _INK, _INK]
    return contact_sheet(rows, titles, colors)


def choose_patches(manifest: pd.DataFrame, vocabulary: Vocabulary, count: int) -> pd.DataFrame:
    """Up to `count` patches, evenly spread over the best candidates: with truth and two classes or more."""
    several = manifest[list(vocabulary.codes)].sum(axis=1) > 1
    truth = manifest["mask_path"].notna()
    for candidates in (manifest[several & truth], manifest[truth], manifest[several], manifest):
        if len(candidates):
            break
    places = np.linspace(0, len(candidates) - 1, min(count, len(candidates))).round().astype(int)
    return candidates.iloc[places]


def colorize(labels: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """Label map (H, W) uint8 to RGB (H, W, 3); what has no class is white."""
    return np.array(vocabulary.palette, dtype=np.uint8).reshape(256, 3)[labels]


def blend(image: np.ndarray, labels: np.ndarray, vocabulary: Vocabulary, alpha: float = 0.5) -> np.ndarray:
    """RGB image (H, W, 3) with its classes laid over it; pixels without a class keep the image."""
    mixed = cv2.addWeighted(image, 1 - alpha, colorize(labels, vocabulary), alpha, 0)
    return np.where((labels == IGNORE)[..., None], image, mixed)


def heat(image: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """RGB image (H, W, 3) under a heat map of `cam` (H, W) in 0..1."""
    colors = cv2.applyColorMap(np.round(np.clip(cam, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    return cv2.addWeighted(image, 0.5, cv2.cvtColor(colors, cv2.COLOR_BGR2RGB), 0.5, 0)


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray | None]], titles: Sequence[str], colors: Sequence[tuple[int, int, int]]
) -> Image.Image:
    """Lay panels out in a grid under titles in their colours; each panel fits one square, None leaves it empty."""
    step = _SIDE + _GAP
    sheet = Image.new("RGB", (_GAP + step * len(titles), _HEADER + step * len(rows)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, (title, color) in enumerate(zip(titles, colors, strict=True)):
        size = 13
        while size > 8 and draw.textlength(title, font=ImageFont.load_default(size)) > _SIDE:
            size -= 1
        draw.text((_GAP + column * step, 4), title, fill=color, font=ImageFont.load_default(size))
    for line, panels in enumerate(rows):
        for column, panel in enumerate(panels):
            if panel is not None:
                picture = Image.fromarray(panel)
                picture = picture.resize(_fit(picture.size), Image.Resampling.BILINEAR)
                sheet.paste(picture, (_GAP + column * step, _HEADER + line * step))
    return sheet


def _fit(size: tuple[int, int]) -> tuple[int, int]:
    factor = _SIDE / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
