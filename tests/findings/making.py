"""Folders of results, and of a model, as the line leaves them."""

from pathlib import Path

import numpy as np
import tifffile

from wsss_mm.evaluation.areas import EDGES, AreaErrors
from wsss_mm.files import digest, write_json
from wsss_mm.formats import write_object
from wsss_mm.models.description import AREA_ERRORS, sealed
from wsss_mm.places import CONFIDENCE, LABEL_MAP, OUTLINES, OVERLAY, SLIDE_SUMMARY, SUMMARY
from wsss_mm.slide_parameters import Parameters
from wsss_mm.slides.pyramid import write_label_pyramid
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.wsi.certainty import ramp
from wsss_mm.wsi.overlay import draw_overlay
from wsss_mm.wsi.summary import class_figures, tumour_stroma_ratio

LUNG = get_vocabulary("lung")
CLASSES = LUNG.classes
LEVELS = len(EDGES) - 1
MPP = 1.0


def make_model(folder: Path) -> Path:
    """A model: nine of ten pixels are right at any confidence but the lowest, where it is half."""
    folder.mkdir(parents=True)
    (folder / "weights.pth").write_bytes(b"weights")
    right = np.full((len(LUNG), LEVELS), 0.9)
    right[:, 0] = 0.5
    instead = (1 - np.eye(len(LUNG))) / (len(LUNG) - 1)
    errors = AreaErrors(right, instead, spread=0.2, noise=0.5, patch=40_000.0, patients=3, patches=120)
    info = {
        **{
            "kind": "segmenter",
            "mpp": MPP,
            "size": 224,
            "train_patches": 1385,
            "valid": {"iou.TE": 0.9, "iou.NEC": 0.7},
        },
        **LUNG.to_json(),
        AREA_ERRORS: errors.to_json(),
    }
    write_json(folder / "model.json", sealed(info, folder / "weights.pth"))
    return folder


def make_result(folder: Path, labels, sure, model: Path | None, scans: Path, classes=CLASSES, **more) -> Path:
    """The results of a slide of 0.5 um/px with this map (H, W) and confidence (None: not measured) at 1 um/px.

    Args:
        folder: gets them.
        labels: the map.
        sure: its confidence, 1..255.
        model: whose weights the summary names.
        scans: gets the slide, if it is a folder.
        classes: of the map.
        **more: in the summary, instead of what would be there.
    """
    folder.mkdir(parents=True)
    height, width = labels.shape
    picture = np.full((2 * height, 2 * width, 3), 245, np.uint8)
    stain = np.array([[200, 120, 160], [180, 90, 150], [110, 80, 160], [220, 150, 180]] * 3, np.uint8)
    known = labels.repeat(2, 0).repeat(2, 1)
    picture[known < len(classes)] = stain[known[known < len(classes)]]
    slide = scans / f"{folder.name}.tiff"
    tifffile.imwrite(slide, picture, tile=(256, 256), photometric="rgb", compression="zlib", metadata=None)
    palette = [channel for item in classes for channel in item.color]
    write_label_pyramid(folder / LABEL_MAP, labels, MPP, palette + [255] * (768 - len(palette)))
    if sure is not None:
        write_label_pyramid(folder / CONFIDENCE, np.where(labels == 255, 0, sure).astype(np.uint8), MPP, ramp())
    (folder / OUTLINES).write_text('{"type": "FeatureCollection", "features": []}')
    counts = np.bincount(labels.ravel(), minlength=256)[: len(classes)]
    figures = class_figures(counts, classes, MPP)
    for index, item in enumerate(classes):
        mean = None if sure is None or not counts[index] else float((sure[labels == index] - 1.0).mean() / 254)
        figures[item.code] |= {"polygons": 0, "confidence": mean}
    draw_overlay(picture[::2, ::2], labels, classes, figures, folder.name, mpp=MPP).save(folder / OVERLAY)
    summary = {
        "classes": figures,
        "tissue_area_mm2": int(counts.sum()) * MPP**2 / 1e6,
        "tumour_stroma_ratio": tumour_stroma_ratio(figures, classes),
        "unreadable_share": 0.0,
        "appearance": None,
        "artefacts": {cause: {"area_mm2": 0.0, "left_out": cause == "pen"} for cause in ("pen", "folds", "blur")},
        "model": {
            "classes": [item.code for item in classes],
            "weights_md5": "0" * 32 if model is None else digest(model / "weights.pth", "md5"),
        },
        "parameters": Parameters(confidence=sure is not None).recorded(),
        "mpp": MPP,
        "size": [width, height],
        "roi": None,
        "slide": {
            "file": slide.name,
            "bytes": slide.stat().st_size,
            "quickhash": None,
            "mpp": MPP / 2,
            "bounds": [0, 0, 2 * width, 2 * height],
        },
    }
    write_object(folder / SUMMARY, SLIDE_SUMMARY, summary | more)
    return folder
