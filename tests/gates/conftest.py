"""A fabricated project whose artefacts are clean, for tests to break in one place at a time."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from wsss_mm.files import write_json
from wsss_mm.patches import VOCABULARIES, write_manifest
from wsss_mm.settings import Params

CODES = ("TE", "NEC", "LYM", "TAS")

GATES = {
    "patches": {"min_patches_per_class": 3, "min_slides_per_split": 1, "max_mpp_error": 0.02, "max_thin_share": 0.05},
    "classifier": {
        "min_mean_ap": 0.7,
        "min_ap_gain": 0.05,
        "min_judged_classes": 1,
        "min_predicted": 0.005,
        "max_predicted": 0.995,
    },
    "pseudo_labels": {
        "min_coverage": 0.3,
        "min_patch_coverage": 0.02,
        "min_agreement": 0.6,
        "min_class_share": 0.005,
        "max_class_share": 0.9,
    },
    "segmenter": {"min_miou": 0.5, "min_class_iou": 0.2},
    "slides": {"max_share_error": 0.001, "max_area_error": 0.02, "max_mpp_error": 0.02},
}


@pytest.fixture(scope="session")
def params_content(project_root) -> dict:
    """params.yaml with thresholds that do not move when someone tunes the line."""
    content = yaml.safe_load((project_root / "params.yaml").read_text(encoding="utf-8"))
    content["cohort"]["vocabulary"] = "lung"
    content["patches"] |= {"mpp": 1.0, "size": 224, "min_tissue": 0.25}
    content["gates"] = GATES
    return content


@pytest.fixture(scope="session")
def params(params_content) -> Params:
    return Params.model_validate(params_content)


def make_patches(root: Path) -> None:
    folder, rows = root / "data/patches", []
    for split, count in (("train", 12), ("valid", 4), ("test", 4)):
        for number in range(count):
            name = f"{split}-{number:02d}"
            labels = [number % 4 == index or number % 3 == index for index in range(4)]
            path, mask = f"images/{split}/{name}.png", None if split == "train" else f"masks/{split}/{name}.png"
            for relative in filter(None, (path, mask)):
                (folder / relative).parent.mkdir(parents=True, exist_ok=True)
                (folder / relative).write_bytes(name.encode())
            rows.append(
                {
                    "patch_id": name,
                    "slide_id": f"slide-{split}",
                    "patient_id": f"patient-{split}",
                    "split": split,
                    "x": 224 * number,
                    "y": 0,
                    "mpp": 1.0,
                    "size": 224,
                    "path": path,
                    "mask_path": mask,
                    **dict(zip(CODES, labels, strict=True)),
                    "sha256": hashlib.sha256(name.encode()).hexdigest(),
                    "tissue": 0.9,
                }
            )
    write_manifest(pd.DataFrame(rows), folder)


def make_pseudo_labels(root: Path) -> None:
    manifest = pd.read_parquet(root / "data/patches/manifest.parquet")
    training = manifest[manifest["split"] == "train"]
    folder = root / "data/pseudo_labels"
    (folder / "labels").mkdir(parents=True)
    present = training[list(CODES)].to_numpy(dtype=float)
    shares = 0.8 * present / present.sum(axis=1, keepdims=True)
    frame = pd.DataFrame({"patch_id": training["patch_id"].to_numpy()})
    frame["path"] = [f"labels/{name}.png" for name in frame["patch_id"]]
    frame["coverage"] = shares.sum(axis=1)
    for index, code in enumerate(CODES):
        frame[f"share_{code}"] = shares[:, index]
    frame["agreement"] = 0.9
    for path in frame["path"]:
        (folder / path).write_bytes(b"png")
    frame.to_parquet(folder / "manifest.parquet", index=False)


def make_metrics(root: Path) -> None:
    classifier = {"n": 40, "mean_ap": 0.9}
    for code in CODES:
        classifier |= {f"ap.{code}": 0.9, f"prior.{code}": 0.4, f"predicted_positive.{code}": 0.4}
    write_json(root / "reports/metrics/classifier.json", classifier)
    write_json(root / "reports/metrics/test.json", {"ungated": {"miou": 0.8, **{f"iou.{c}": 0.8 for c in CODES}}})


def write_slide(folder: Path, labels: np.ndarray, mpp: float = 1.0) -> None:
    """What segment_slide leaves, from a label map of upright rectangles: one polygon a run of equal columns."""
    import tifffile

    folder.mkdir(parents=True)
    per_cm = (1e4 / mpp, 1e4 / mpp)
    with tifffile.TiffWriter(folder / "segmentation.tif") as file:
        file.write(labels, tile=(128, 128), compression="zlib", resolution=per_cm, resolutionunit="CENTIMETER")
    features, classes, factor = [], {}, mpp / 0.5
    tissue = int((labels != 255).sum())
    for index, item in enumerate(VOCABULARIES["lung"].classes):
        rows, columns = np.nonzero(labels == index)
        area = len(rows) * mpp**2 / 1e6
        if area:
            x, y, right, bottom = (
                float(edge * factor) for edge in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            )
            ring = [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]
            features.append(
                {
                    "type": "Feature",
                    "geometry": {"type": "Polygon", "coordinates": [ring]},
                    "properties": {"classification": {"name": item.name, "color": list(item.color)}},
                }
            )
        classes[item.code] = {
            "area_mm2": area,
            "share": len(rows) / tissue if tissue else None,
            "dropped_area_mm2": 0.0,
        }
    write_json(folder / "segmentation.geojson", {"type": "FeatureCollection", "features": features})
    height, width = labels.shape
    (folder / "overlay.png").write_bytes(b"png")
    summary = {
        "slide": {"mpp": 0.5, "bounds": [0, 0, int(width * factor), int(height * factor)]},
        "mpp": mpp,
        "size": [width, height],
        "model": {"weights_md5": "0" * 32},
        "classes": classes,
    }
    write_json(folder / "summary.json", summary)


def make_slides(root: Path) -> None:
    labels = np.full((300, 200), 255, np.uint8)
    labels[:100, :100], labels[100:250, :100], labels[:, 150:] = 0, 3, 2
    write_slide(root / "results/slides/s1", labels)
    write_slide(root / "results/slides/s2", np.full((64, 64), 255, np.uint8))


@pytest.fixture
def project(tmp_path) -> Path:
    """A project's root with every artefact a gate reads, all of them good."""
    make_patches(tmp_path)
    make_pseudo_labels(tmp_path)
    make_metrics(tmp_path)
    make_slides(tmp_path)
    return tmp_path


@pytest.fixture
def alter(project):
    """Change a parquet table or a JSON file of the project in place."""

    def change(relative: str, function) -> None:
        path = project / relative
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
            frame = frame if (changed := function(frame)) is None else changed
            frame.to_parquet(path, index=False)
        else:
            content = json.loads(path.read_text(encoding="utf-8"))
            content = content if (changed := function(content)) is None else changed
            path.write_text(json.dumps(content), encoding="utf-8")

    return change
