"""A fabricated project whose artefacts are clean, for tests to break in one place at a time."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile

from wsss_mm.files import digest, write_json
from wsss_mm.patches import VOCABULARIES, write_manifest
from wsss_mm.patches.digests import judged_digest
from wsss_mm.patches.images import store_patch, write_mask
from wsss_mm.patches.vocabulary import IGNORE
from wsss_mm.slides import open_slide
from wsss_mm.slides.pyramid import write_label_pyramid
from wsss_mm.slides.table import write_slide_table
from wsss_mm.wsi.cohort import Result, write_table
from wsss_mm.wsi.geojson import write_geojson
from wsss_mm.wsi.overlay import draw_overlay
from wsss_mm.wsi.parameters import Parameters
from wsss_mm.wsi.summary import class_figures, polygon_figures, tumour_stroma_ratio
from wsss_mm.wsi.truth import judge_slide

CODES = ("TE", "NEC", "LYM", "TAS")
SIZE = 48
LUNG = VOCABULARIES["lung"]

SETTINGS = {
    "cohort": {
        "warnings": [],
        "min_slides_per_split": 1,
        "mpp": [0.1, 4.0],
        "min_tissue_area": 0.02,
        "min_focus": 60,
        "haematoxylin": [0.08, 0.9],
        "eosin": [0.03, 0.5],
    },
    "patches": {
        "warnings": ["drift"],
        "min_patches_per_class": 3,
        "min_slides_per_class": 1,
        "min_patients_per_class": 1,
        "min_judging_patches": 1,
        "min_patches_per_split": 2,
        "min_slides_per_split": 1,
        "min_patients_per_split": 1,
        "max_mpp_error": 0.02,
        "max_thin_share": 0.05,
        "max_odd_share": 0.01,
        "min_focus": 60,
        "brightness": [60, 200],
        "haematoxylin": [0.08, 0.9],
        "eosin": [0.03, 0.5],
        "max_drift": 2.0,
    },
    "classifier": {
        "warnings": ["calibration", "train_gap"],
        "min_mean_ap": 0.7,
        "min_class_ap": 0.3,
        "min_ap_gain": 0.05,
        "min_judged_classes": 1,
        "min_predicted": 0.005,
        "max_predicted": 0.995,
        "max_calibration_error": 0.2,
        "max_train_gap": 0.3,
    },
    "pseudo_labels": {
        "warnings": ["labelled_classes_seen"],
        "min_coverage": 0.3,
        "min_patch_coverage": 0.02,
        "min_agreement": 0.6,
        "min_class_share": 0.005,
        "max_class_share": 0.9,
        "max_unseen_share": 0.05,
        "share_ratio": [0.7, 1.5],
    },
    "segmenter": {
        "warnings": ["champion"],
        "min_miou": 0.5,
        "min_class_iou": 0.2,
        "min_predicted_ratio": 0.1,
        "max_pseudo_label_drop": 0.1,
        "max_champion_drop": 0.02,
    },
    "slides": {
        "warnings": [],
        "max_area_error": 0.01,
        "max_mpp_error": 0.02,
        "max_tissue_error": 0.15,
        "max_better_elsewhere": 0.02,
        "max_seam": 4.0,
    },
}
"""Thresholds that do not move when someone tunes the line."""


def set_params(content: dict[str, Any]) -> dict[str, Any]:
    """params.yaml's content with what the project is made for."""
    content["cohort"]["vocabulary"] = "lung"
    content["patches"] |= {"mpp": 1.0, "size": SIZE, "min_tissue": 0.25}
    content["slides"] |= {"splits": ["test"], **asdict(Parameters())}
    content["gates"] = SETTINGS
    return content


def tissue_image(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Something with the colours and the sharpness of H&E."""
    nuclei = rng.random((height, width, 1)) < 0.3
    colour = np.where(nuclei, (100, 60, 140), (225, 160, 200)) + rng.normal(0, 6, (height, width, 3))
    return np.clip(colour, 0, 255).astype(np.uint8)


def slide_map(upper: tuple[int, int], lower: tuple[int, int]) -> np.ndarray:
    """A map of four fields and glass, with an island that is too small for a polygon."""
    labels = np.full((240, 320), IGNORE, np.uint8)
    labels[:100, :160], labels[:100, 160:240] = upper
    labels[100:, :120], labels[100:, 120:240] = lower
    labels[20:30, 40:50] = 1
    return labels


MAPS = {"slide-test": slide_map((0, 0), (3, 2)), "slide-more": slide_map((2, 3), (3, 0))}
"""Maps of the test slides, by slide."""

CLASSES = [{"code": item.code, "name": item.name, "color": list(item.color)} for item in LUNG.classes]

_TINTS = np.zeros((256, 3))
_TINTS[:4] = (-20, -25, -10), (20, -10, -30), (-45, -40, 0), (15, 5, 5)


def slide_image(rng: np.random.Generator, labels: np.ndarray | None) -> np.ndarray:
    """A slide of 480 x 640 px, tissue on its left; what it shows looks a little as its class."""
    image = np.full((480, 640, 3), 245, np.uint8)
    image[:, :480] = tissue_image(rng, 480, 480)
    if labels is not None:
        tints = _TINTS[labels.repeat(2, axis=0).repeat(2, axis=1)]
        image = np.clip(image + tints, 0, 255).astype(np.uint8)
    return image


def make_project(root: Path) -> None:
    """Everything the gates read, all of it good."""
    make_cohort(root)
    make_patches(root)
    make_pseudo_labels(root)
    make_metrics(root)
    make_slides(root)


def make_cohort(root: Path) -> None:
    folder, rows = root / "data/cohort", []
    (folder / "slides").mkdir(parents=True)
    names = (("slide-train", "train"), ("slide-valid", "valid"), ("slide-test", "test"), ("slide-more", "test"))
    for number, (name, split) in enumerate(names):
        write_slide(folder / f"slides/{name}.tiff", slide_image(np.random.default_rng(number), MAPS.get(name)))
        patient = f"patient-{split}"
        rows.append({"slide_id": name, "patient_id": patient, "path": f"slides/{name}.tiff", "split": split})
    write_slide_table(pd.DataFrame(rows), folder / "slides.csv")


def write_slide(path: Path, image: np.ndarray, mpp: float | None = 0.5) -> None:
    """A tiled TIFF that OpenSlide opens."""
    resolution = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": 3}
    tifffile.imwrite(path, image, photometric="rgb", tile=(128, 128), compression="zlib", metadata=None, **resolution)


def make_patches(root: Path) -> None:
    folder, rows, rng = root / "data/patches", [], np.random.default_rng(0)
    for split, count in (("train", 12), ("valid", 4), ("test", 4)):
        for number in range(count):
            labels = [number % 4 == index or number % 3 == index for index in range(4)]
            mask = None
            if split != "train":
                mask = rng.choice(np.flatnonzero(labels), (SIZE, SIZE)).astype(np.uint8)
            image = tissue_image(rng, SIZE, SIZE)
            stored = store_patch(folder, f"{split}-{number:02d}", split, image=image, mask=mask, vocabulary=LUNG)
            place = {"x": SIZE * number, "y": 0, "mpp": 1.0}
            whose = {"slide_id": f"slide-{split}", "patient_id": f"patient-{split}"}
            rows.append({**whose, **place, **dict(zip(CODES, labels, strict=True)), **stored, "tissue": 0.9})
    write_manifest(pd.DataFrame(rows), folder)


def make_pseudo_labels(root: Path) -> None:
    manifest = pd.read_parquet(root / "data/patches/manifest.parquet")
    folder, rows = root / "data/pseudo_labels", []
    for patch in manifest[manifest["split"] == "train"].to_dict("records"):
        present = [index for index, code in enumerate(CODES) if patch[code]]
        labels = np.full((SIZE, SIZE), IGNORE, np.uint8)
        labels[: SIZE * 3 // 4] = np.repeat(present, SIZE // len(present))[None, :]
        path = f"labels/{patch['patch_id']}.png"
        write_mask(folder / path, labels, LUNG)
        shares = {f"share_{code}": float((labels == index).mean()) for index, code in enumerate(CODES)}
        row = {"patch_id": patch["patch_id"], "path": path, "coverage": 0.75, **shares, "agreement": 0.9}
        rows.append(row)
    pd.DataFrame(rows).to_parquet(folder / "manifest.parquet", index=False)


def make_metrics(root: Path) -> None:
    folder = root / "data/patches"
    manifest = pd.read_parquet(folder / "manifest.parquet")
    classifier = {"n": 40, "mean_ap": 0.9, "calibration_error": 0.05, "train": {"mean_ap": 0.95}}
    for code in CODES:
        classifier |= {f"ap.{code}": 0.9, f"prior.{code}": 0.4, f"predicted_positive.{code}": 0.4}
    write_json(root / "reports/metrics/classifier.json", classifier)
    whole = digest(folder / "manifest.parquet")
    split = judged_digest(manifest, "test", folder)
    write_json(root / "models/classifier/model.json", {"kind": "classifier", "patches": whole})
    write_json(root / "reports/gates/patches.json", {"digests": {"manifest": whole, "test": split}})
    ungated = {"miou": 0.8, **{f"iou.{code}": 0.8 for code in CODES}}
    write_json(root / "reports/metrics/test.json", {"ungated": ungated, "test_split": split})
    write_json(root / "reports/metrics/pseudo_labels.json", {"test": {"miou": 0.82}})
    pairs = [(a, b, 900 if a == b else 10) for a in CODES for b in CODES]
    (root / "reports/plots").mkdir()
    pd.DataFrame(pairs, columns=["actual", "predicted", "pixels"]).to_csv(
        root / "reports/plots/test_confusion.csv", index=False
    )


def make_slides(root: Path) -> None:
    write_json(root / "models/segmenter/model.json", {"kind": "segmenter", "mpp": 1.0, "classes": CLASSES})
    (root / "models/segmenter/weights.pth").write_bytes(b"weights")
    truth = root / "data/cohort/truth/slide-test.tif"
    truth.parent.mkdir()
    write_label_pyramid(truth, np.roll(MAPS["slide-test"], 3, axis=0), 1.0, LUNG.palette)
    for name, labels in MAPS.items():
        write_result(root, name, labels)


def write_result(root: Path, name: str, labels: np.ndarray, mpp: float = 1.0, roi: Path | None = None) -> None:
    """What stage segment_slides leaves of a slide, given its map."""
    folder, path = root / "results/slides" / name, root / f"data/cohort/slides/{name}.tiff"
    parameters, figures = Parameters(), class_figures(np.bincount(labels.ravel(), minlength=4)[:4], LUNG.classes, mpp)
    with open_slide(path) as slide:
        stated = {"file": path.name, "bytes": path.stat().st_size, "quickhash": slide.quickhash}
        stated |= {"mpp": slide.mpp, "bounds": list(slide.bounds)}
        picture = slide.read(0, 0, labels.shape[::-1], mpp)
    write_label_pyramid(folder / "segmentation.tif", labels, mpp, LUNG.palette)
    draw_overlay(picture, labels, LUNG.classes, figures, name, mpp=mpp).save(folder / "overlay.png")
    written = write_geojson(
        folder / "segmentation.geojson",
        labels,
        LUNG.classes,
        factor=mpp / stated["mpp"],
        limits=stated["bounds"][2:],
        min_area=parameters.min_island / mpp**2,
    )
    summary = {
        "slide": stated,
        "mpp": mpp,
        "size": list(labels.shape[::-1]),
        "model": {
            "weights_md5": digest(root / "models/segmenter/weights.pth", "md5"),
            "classes": list(CODES),
            "precision": "fp32",
        },
        "parameters": asdict(parameters),
        "roi": None if roi is None else {"file": roi.name, "sha256": digest(roi)},
        "classes": {code: figures[code] | polygon_figures(written[code], mpp) for code in CODES},
        "tissue_area_mm2": sum(item["area_mm2"] for item in figures.values()),
        "tumour_stroma_ratio": tumour_stroma_ratio(figures),
        "unreadable_share": 0.0,
    }
    notes, truth = {"split": "test"}, root / f"data/cohort/truth/{name}.tif"
    if truth.is_file():
        summary["truth"] = judge_slide(folder / "segmentation.tif", truth, CODES)
        notes["miou"] = summary["truth"]["miou"]
    write_json(folder / "summary.json", summary)
    write_table(root / "results/slides/slides.csv", [Result(name, summary, notes=notes)], update=True)


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Change a table or a JSON file in place; `change` may give back a new one, or alter the one it gets."""
    if path.suffix == ".parquet":
        content = pd.read_parquet(path)
        changed = change(content)
        (content if changed is None else changed).to_parquet(path, index=False)
    elif path.suffix == ".csv":
        content = pd.read_csv(path, dtype=str, keep_default_na=False)
        changed = change(content)
        (content if changed is None else changed).to_csv(path, index=False)
    else:
        content = json.loads(path.read_text(encoding="utf-8"))
        changed = change(content)
        path.write_text(json.dumps(content if changed is None else changed), encoding="utf-8")
