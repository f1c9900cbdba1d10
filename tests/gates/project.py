"""A fabricated project whose artefacts are clean, for tests to break in one place at a time."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile

from wsss_mm.files import digest, write_json
from wsss_mm.patches import VOCABULARIES, write_manifest
from wsss_mm.patches.cutting import cut_rows
from wsss_mm.patches.digests import judged_digest
from wsss_mm.patches.images import store_patch, write_mask
from wsss_mm.patches.vocabulary import IGNORE
from wsss_mm.settings import PatchSettings
from wsss_mm.slides.table import write_slide_table

CODES = ("TE", "NEC", "LYM", "TAS")
SIZE = 48
STEP = 2 * SIZE  # of patches, level-0 px
CUT = {"mpp": 1.0, "size": SIZE, "min_tissue": 0.25, "min_class_share": 0.03, "valid_share": 0.2}
LUNG = VOCABULARIES["lung"]

SETTINGS = {
    "cohort": {
        "warnings": ["mpp_as_scanned", "one_tissue_once"],
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
        "min_class_truth": 500,
        "min_truth": 0.1,
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
        "max_share_error": 0.001,
        "max_area_error": 0.01,
        "max_mpp_error": 0.02,
        "max_tissue_error": 0.15,
    },
}
"""Thresholds that do not move when someone tunes the line."""


def set_params(content: dict[str, Any]) -> dict[str, Any]:
    """params.yaml's content with what the project is made for."""
    content["cohort"]["vocabulary"] = "lung"
    content["patches"] |= CUT
    content["slides"] |= {"splits": ["test"]}
    content["gates"] = SETTINGS
    return content


def tissue_image(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Something with the colours and the sharpness of H&E."""
    nuclei = rng.random((height, width, 1)) < 0.3
    colour = np.where(nuclei, (100, 60, 140), (225, 160, 200)) + rng.normal(0, 6, (height, width, 3))
    return np.clip(colour, 0, 255).astype(np.uint8)


def make_project(root: Path) -> None:
    """Everything the gates read, all of it good."""
    make_cohort(root)
    make_patches(root)
    make_pseudo_labels(root)
    make_metrics(root)
    make_slides(root)


def make_cohort(root: Path) -> None:
    """Slides; of the training slide the labels of places are known, of a valid and a test slide the truth."""
    folder, rows = root / "data/cohort", []
    for name in ("slides", "truth"):
        (folder / name).mkdir(parents=True)
    names = (("slide-train", "train"), ("slide-valid", "valid"), ("slide-test", "test"), ("slide-more", "test"))
    for number, (name, split) in enumerate(names):
        image = np.full((480, 640, 3), 245, np.uint8)
        image[:, :480] = tissue_image(np.random.default_rng(number), 480, 480)
        write_slide(folder / f"slides/{name}.tiff", image)
        patient = f"patient-{split}"
        rows.append({"slide_id": name, "patient_id": patient, "path": f"slides/{name}.tiff", "split": split})
    write_slide_table(pd.DataFrame(rows), folder / "slides.csv")
    lines = [{"slide_id": "slide-train", "x": x, "y": y, "labels": ";".join(labels)} for _, x, y, labels in places(12)]
    pd.DataFrame(lines).to_csv(folder / "labels.csv", index=False)
    for seed, name in enumerate(("slide-valid", "slide-test")):
        rng, truth = np.random.default_rng(seed), np.full((240, 320), IGNORE, np.uint8)  # at 1 um/px
        for _, x, y, labels in places(4):
            patch = rng.choice([CODES.index(code) for code in labels], (SIZE, SIZE))
            truth[y // 2 : y // 2 + SIZE, x // 2 : x // 2 + SIZE] = patch
        tifffile.imwrite(folder / f"truth/{name}.tif", truth, tile=(64, 64), compression="zlib")


def places(count: int) -> list[tuple[int, int, int, list[str]]]:
    """Number, x, y (level-0 px) and labels of patches of a slide."""
    return [
        (n, STEP * (n % 5), STEP * (n // 5), [code for i, code in enumerate(CODES) if i in (n % 4, n % 3)])
        for n in range(count)
    ]


def write_slide(path: Path, image: np.ndarray, mpp: float | None = 0.5) -> None:
    """A tiled TIFF that OpenSlide opens."""
    resolution = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": 3}
    tifffile.imwrite(path, image, photometric="rgb", tile=(128, 128), compression="zlib", metadata=None, **resolution)


def make_patches(root: Path) -> None:
    """The patches of the cohort, under short names."""
    folder = root / "data/patches"
    names = {
        f"slide-{split}-{x}-{y}": f"{split}-{n:02d}"
        for split in ("train", "valid", "test")
        for n, x, y, _ in places(12)
    }

    def keep(patch_id: str, split: str, **pixels: Any) -> dict[str, Any]:
        return store_patch(folder, names[patch_id], split, vocabulary=LUNG, **pixels)

    cohort = root / "data/cohort"
    settings = PatchSettings(**CUT)
    rows = cut_rows(
        cohort / "slides.csv", keep, settings=settings, vocabulary=LUNG, seed=0, labels=cohort / "labels.csv"
    )
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
    labels = np.full((240, 320), IGNORE, np.uint8)
    labels[:100, :240], labels[100:, :120], labels[100:, 120:240] = 0, 3, 2
    for name in ("slide-test", "slide-more"):
        write_result(root / "results/slides" / name, labels)


def write_result(folder: Path, labels: np.ndarray, mpp: float = 1.0) -> None:
    """What segment_slide leaves, from a label map of upright rectangles: one polygon a class."""
    folder.mkdir(parents=True)
    write_map(folder / "segmentation.tif", labels, mpp)
    features, classes, factor = [], {}, mpp / 0.5
    tissue = int((labels != IGNORE).sum())
    for index, item in enumerate(LUNG.classes):
        rows, columns = np.nonzero(labels == index)
        if len(rows):
            x, y, right, bottom = (
                float(edge * factor) for edge in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            )
            ring = [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]
            geometry = {"type": "Polygon", "coordinates": [ring]}
            properties = {"classification": {"name": item.name, "color": list(item.color)}}
            features.append({"type": "Feature", "geometry": geometry, "properties": properties})
        figures = {"area_mm2": len(rows) * mpp**2 / 1e6, "share": len(rows) / tissue, "dropped_area_mm2": 0.0}
        classes[item.code] = figures
    write_json(folder / "segmentation.geojson", {"type": "FeatureCollection", "features": features})
    height, width = labels.shape
    (folder / "overlay.png").write_bytes(b"png")
    summary = {
        "slide": {"mpp": 0.5, "bounds": [0, 0, int(width * factor), int(height * factor)]},
        "mpp": mpp,
        "size": [width, height],
        "model": {"weights_md5": "0" * 32, "precision": "fp32"},
        "classes": classes,
    }
    write_json(folder / "summary.json", summary)


def write_map(path: Path, labels: np.ndarray, mpp: float = 1.0) -> None:
    """A label map as segment_slide writes it."""
    per_cm = (1e4 / mpp, 1e4 / mpp)
    with tifffile.TiffWriter(path) as file:
        file.write(labels, tile=(128, 128), compression="zlib", resolution=per_cm, resolutionunit="CENTIMETER")


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
