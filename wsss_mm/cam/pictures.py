"""Contact sheet of pseudo-labels: image, CAM of each label, pseudo-label, truth."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from wsss_mm.cam.pseudo_label import PseudoLabeller
from wsss_mm.cam.store import label_patches
from wsss_mm.patches.images import read_mask
from wsss_mm.patches.manifest import label_sets
from wsss_mm.pictures import SheetRow, contact_sheet, overlays
from wsss_mm.vocabulary import Vocabulary

_SIDE = 168  # px
_NOTE = (
    "Labels: what the patch is labelled with; ?: nobody is sure. CAM: where the classifier sees the class, from 0 "
    "(blue) to 1 (red), the largest of the patch. Faded: background, which has no pseudo-label."
)


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
    chosen = choose_patches(manifest, vocabulary, count)
    said = dict(zip(chosen["patch_id"], label_sets(chosen, vocabulary.codes), strict=True))
    for patch in label_patches(labeller, chosen, folder, vocabulary, among=manifest):
        cams = labeller.cams(patch.image[None])[0].cpu().numpy()
        heats = [
            heat(patch.image, cam) if patch.row[code] else f"not labelled {code}"
            for code, cam in zip(vocabulary.codes, cams, strict=True)
        ]
        mask_path = patch.row["mask_path"]
        truth = read_mask(folder / mask_path, len(vocabulary)) if mask_path else None
        image, *maps = overlays(patch.image, (patch.labels, truth), vocabulary)
        name = patch.row["patch_id"]
        caption = f"{patch.row['split']} · labels {said[name].replace(';', ', ') or 'none'} · {name}"
        rows.append(SheetRow([image, *heats, *("no mask" if panel is None else panel for panel in maps)], caption))
    titles = ["Patch", *(f"CAM {item.name}" for item in vocabulary.classes), "Pseudo-label", "Truth"]
    return contact_sheet(rows, titles, legend=vocabulary, note=_NOTE, side=_SIDE)


def choose_patches(manifest: pd.DataFrame, vocabulary: Vocabulary, count: int) -> pd.DataFrame:
    """Up to `count` patches, evenly spread over the best candidates: with truth and two classes or more."""
    several = manifest[list(vocabulary.codes)].sum(axis=1) > 1
    truth = manifest["mask_path"].notna()
    for candidates in (manifest[several & truth], manifest[truth], manifest[several], manifest):
        if len(candidates):
            break
    places = np.linspace(0, len(candidates) - 1, min(count, len(candidates))).round().astype(int)
    return candidates.iloc[places]


def heat(image: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """RGB image (H, W, 3) under a heat map of `cam` (H, W) in 0..1."""
    colors = cv2.applyColorMap(np.round(np.clip(cam, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    return cv2.addWeighted(image, 0.5, cv2.cvtColor(colors, cv2.COLOR_BGR2RGB), 0.5, 0)
