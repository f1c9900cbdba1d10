"""A fabricated project whose artefacts are clean, for tests to break in one place at a time."""

import copy
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile

from pipelines import choose_pseudo_labels, evaluate, pseudo_labels, train_classifier
from tests.settings import content_of
from wsss_mm.cohort import Cohort
from wsss_mm.evaluation.judge import Judgement
from wsss_mm.files import digest, write_json
from wsss_mm.gates.champion import Pin, Rival, write_pin
from wsss_mm.patches import VOCABULARIES, read_manifest, write_manifest
from wsss_mm.patches.cutting import cut_rows
from wsss_mm.patches.digests import judged_digest, judged_rows
from wsss_mm.patches.images import read_label_map, store_patch
from wsss_mm.settings import Params, PatchSettings
from wsss_mm.slide_parameters import Parameters
from wsss_mm.slides import open_slide
from wsss_mm.slides.pyramid import write_label_pyramid
from wsss_mm.slides.table import write_slide_table
from wsss_mm.vocabulary import IGNORE
from wsss_mm.wsi.cohort import JobResult, write_table
from wsss_mm.wsi.dicom_seg import write_dicom_seg
from wsss_mm.wsi.geojson import write_geojson
from wsss_mm.wsi.geoparquet import write_geoparquet
from wsss_mm.wsi.omezarr import write_ome_zarr
from wsss_mm.wsi.overlay import draw_overlay
from wsss_mm.wsi.summary import class_figures, polygon_figures, tumour_stroma_ratio
from wsss_mm.wsi.truth import judge_slide

CODES = ("TE", "NEC", "LYM", "TAS")
SIZE = 48
STEP = 2 * SIZE  # of patches, level-0 px
CUT = {
    "mpp": 1.0,
    "size": SIZE,
    "min_tissue": 0.25,
    "leave_out_pen": True,
    "min_class_share": 0.03,
    "valid_share": 0.2,
    "storage": "auto",
}
LUNG = VOCABULARIES["lung"]

SETTINGS = {
    "cohort": {
        "warnings": ["mpp_as_scanned", "one_tissue_once", "split_and_site", "pen"],
        "min_slides_per_split": 1,
        "mpp": [0.1, 4.0],
        "min_tissue_area": 0.02,
        "max_more_pen": 0.1,
        "min_typical_slides": 8,  # there are four
        "odd_spread": 10.0,
        "odd_factor": 2.0,
        "min_focus": 10,
        "haematoxylin": [0.02, 1.5],
        "eosin": [0.02, 1.5],
    },
    "patches": {
        "warnings": ["drift", "one_picture_once", "sites_per_class", "shared_tissue", "valid_has_masks"],
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
        "min_typical_slides": 3,
        "odd_spread": 8.0,
        "odd_factor": 3.0,
        "min_focus": 10,
        "brightness": [40, 205],
        "haematoxylin": [0.02, 1.5],
        "eosin": [0.02, 1.5],
        "max_drift": 2.0,
        "min_kappa": 0.4,
        "min_shared": 8,
        "min_self_kappa": 0.6,
        "min_repeats": 4,
        "max_suggested": 0.9,
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
        "labelled_again": 6,
        "min_miou": 0.5,
        "min_gain": -0.2,  # masks of random patches follow their label sets
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
        "max_simplified_error": 0.02,
        "max_mpp_error": 0.02,
        "max_tissue_error": 0.15,
        "max_better_elsewhere": 0.05,
        "max_seam": 4.0,
        "min_miou": 0.5,
    },
}
"""Thresholds that do not move when someone tunes the line."""


def set_params(content: dict[str, Any]) -> dict[str, Any]:
    """The content of params.yaml and gates.yaml with what the project is made for."""
    content["cohort"]["vocabulary"] = "lung"
    content["patches"] |= CUT
    content["segmenter"]["crop"] = SIZE
    content["pseudo_labels"] |= {"normalization": "class"}
    content["choose_pseudo_labels"]["enabled"] = False
    content["slides"] |= {"splits": ["test"], **asdict(Parameters())}
    content["gates"] = copy.deepcopy(SETTINGS)  # who changes them changes them for nobody else
    return content


def tissue_image(rng: np.random.Generator, height: int, width: int, classes: np.ndarray | None = None) -> np.ndarray:
    """Something with the colours and the sharpness of H&E; nuclei lie as densely as `classes` (H, W) says."""
    density = 0.3 if classes is None else np.array([0.35, 0.05, 0.8, 0.15])[classes % IGNORE][..., None]
    stroma = (225, 160, 200) if classes is None else np.array(_STROMA)[classes % IGNORE]
    nuclei = rng.random((height, width, 1)) < density
    colour = np.where(nuclei, (100, 60, 140), stroma) + rng.normal(0, 6, (height, width, 3))
    if classes is not None:
        colour[classes == IGNORE] = 245
    return np.clip(colour, 0, 255).astype(np.uint8)


def slide_map(upper: tuple[int, int], lower: tuple[int, int]) -> np.ndarray:
    """A map of four fields and glass, with an island that is too small for a polygon."""
    labels = np.full((240, 320), IGNORE, np.uint8)
    labels[:100, :160], labels[:100, 160:240] = upper
    labels[100:, :120], labels[100:, 120:240] = lower
    return with_island(labels)


def with_island(labels: np.ndarray) -> np.ndarray:
    labels[20:30, 40:50] = 1
    return labels


def with_truth(labels: np.ndarray, split: str) -> np.ndarray:
    """Labels at 1 um/px, that hold the truth of the places of a slide."""
    for n, x, y, codes in places(4):
        labels[y // 2 : y // 2 + SIZE, x // 2 : x // 2 + SIZE] = layout(split, n, codes)
    return labels


CLASSES = [{"code": item.code, "name": item.name, "color": list(item.color)} for item in LUNG.classes]


def slide_image(rng: np.random.Generator, labels: np.ndarray | None) -> np.ndarray:
    """A slide of 480 x 640 px, tissue on its left, that looks as its map at half the resolution says."""
    if labels is not None:
        return tissue_image(rng, 480, 640, labels.repeat(2, axis=0).repeat(2, axis=1))
    image = np.full((480, 640, 3), 245, np.uint8)
    image[:, :480] = tissue_image(rng, 480, 480)
    return image


def layout(split: str, number: int, labels: list[str]) -> np.ndarray:
    """Classes of a patch, on both sides of a line, with holes of glass where slides are not segmented."""
    rng = np.random.default_rng([*split.encode(), number])
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    angle = rng.uniform(0, 2 * np.pi)
    side = (x * np.cos(angle) + y * np.sin(angle) > rng.uniform(-4, 4)).astype(int) % len(labels)
    classes = np.array([CODES.index(code) for code in labels], np.uint8)[side]
    for row, column in rng.uniform(-20, 20, (0 if split == "test" else 4, 2)):
        classes[np.hypot(y - row, x - column) < 6] = IGNORE
    return classes


def places(count: int) -> list[tuple[int, int, int, list[str]]]:
    """Number, x, y (level-0 px) and labels of patches of a slide."""
    return [
        (n, STEP * (n % 5), STEP * (n // 5), [code for i, code in enumerate(CODES) if i in (n % 4, n % 3)])
        for n in range(count)
    ]


MAPS = {
    "slide-test": with_island(with_truth(slide_map((0, 0), (3, 2)), "test")),
    "slide-more": slide_map((2, 3), (3, 0)),
}
"""Maps of the test slides, by slide."""


def clean_params() -> Params:
    """The parameters the project is made with."""
    return Params.model_validate(set_params(content_of("phantom")))


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in `folder`, as the pipeline does in the project's root: messages name relative paths."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


_STROMA = ((225, 160, 200), (200, 120, 150), (205, 160, 215), (235, 150, 190))


def make_project(root: Path) -> None:
    """Everything the gates read, all of it good."""
    make_cohort(root)
    make_patches(root)
    make_classifier(root)
    make_pseudo_labels(root)
    make_segmenter(root)
    make_slides(root)
    write_pin(root, Pin())


def make_cohort(root: Path) -> None:
    """Slides; of the training slide the labels of places are known, of a valid and a test slide the truth."""
    folder, rows = root / "data/cohort", []
    for name in ("slides", "truth"):
        (folder / name).mkdir(parents=True)
    names = (("slide-train", "train"), ("slide-valid", "valid"), ("slide-test", "test"), ("slide-more", "test"))
    for number, (name, split) in enumerate(names):
        rng = np.random.default_rng(number)
        image = slide_image(rng, MAPS.get(name))
        for n, x, y, labels in places({"slide-train": 12, "slide-more": 0}.get(name, 4)):
            classes = layout(split, n, labels).repeat(2, axis=0).repeat(2, axis=1)
            image[y : y + STEP, x : x + STEP] = tissue_image(rng, STEP, STEP, classes)
        write_slide(folder / f"slides/{name}.tiff", image)
        patient = f"patient-{split}"
        rows.append({"slide_id": name, "patient_id": patient, "path": f"slides/{name}.tiff", "split": split})
    write_slide_table(pd.DataFrame(rows), folder / "slides.csv")
    lines = [{"slide_id": "slide-train", "x": x, "y": y, "labels": ";".join(labels)} for _, x, y, labels in places(12)]
    pd.DataFrame(lines).to_csv(folder / "labels.csv", index=False)
    for split in ("valid", "test"):
        truth = with_truth(np.full((240, 320), IGNORE, np.uint8), split)
        tifffile.imwrite(folder / f"truth/slide-{split}.tif", truth, tile=(64, 64), compression="zlib")


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
    rows = cut_rows(Cohort.read(cohort / "slides.csv"), keep, settings=settings, vocabulary=LUNG)
    write_manifest(pd.DataFrame(rows), folder)


def make_classifier(root: Path) -> None:
    """One that finds the classes by their colours: a head fitted to features of random weights, and its figures."""
    import torch
    from scipy.optimize import nnls

    from wsss_mm.models import build_network, save_model
    from wsss_mm.patches.images import read_image

    folder = root / "data/patches"
    manifest = read_manifest(folder, LUNG)
    torch.manual_seed(0)
    norm = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
    model = {
        "type": "wsss_mm.PatchClassifier",
        "classes": len(CODES),
        "backbone": {"type": "wsss_mm.ResNet38", "width": 1 / 32, "out_indices": [5]},
        "data_preprocessor": {"type": "mmengine.ImgDataPreprocessor", **norm},
    }
    network = build_network(model)
    rows = manifest[manifest["split"] == "train"]
    images = network.normalize(
        torch.from_numpy(np.stack([read_image(folder / path) for path in rows["path"]])).permute(0, 3, 1, 2)
    )
    with torch.no_grad():
        for part in network.modules():
            part.momentum = None  # statistics of batch normalisation are those of the patches
        network.features(images)
        features = network.eval().features(images).permute(0, 2, 3, 1)
        step = SIZE // features.shape[1]
        maps = [layout("train", number, labels) for number, _, _, labels in places(12)]
        classes = np.stack(maps)[:, step // 2 :: step, step // 2 :: step]
        wanted, flat = classes.ravel(), features.flatten(0, 2).double().numpy()
        fitted = np.stack(
            [nnls(flat, wanted == index)[0] for index in range(len(CODES))]
        )  # a CAM sees nothing negative
        network.head.weight.copy_(torch.from_numpy(fitted)[:, :, None, None])
    info = {"kind": "classifier", "model": model, "mpp": 1.0, "size": SIZE, "vocabulary": "lung"}
    info["classes"] = CLASSES
    info["patches"] = whole = digest(folder / "manifest.parquet")
    save_model(root / "models/classifier", state=network.state_dict(), info=info, config_text="", card="")
    write_report(root, "patches", manifest=whole, test=judged_digest(manifest, "test", folder))
    rng, judged = np.random.default_rng(1), manifest[manifest["split"] != "test"]
    scores = np.where(judged[list(CODES)], 0.9, 0.1) + rng.uniform(-0.05, 0.05, (len(judged), len(CODES)))
    write_scores(root, pd.DataFrame(scores, columns=CODES).assign(patch_id=judged["patch_id"].to_numpy()))


def pin_champion(root: Path, miou: float | None = None, test_split: str | None = None) -> None:
    """Pin a champion with other weights, judged on the project's own test split if no other is given."""
    split = test_split or json.loads((root / "reports/metrics/test.json").read_text())["test_split"]
    write_pin(root, Pin(clean_params().register_.model_name, Rival("1", "0" * 32, miou, split)))


def write_scores(root: Path, scores: pd.DataFrame) -> None:
    """What is reported of a classifier with these probabilities."""
    with inside(root):
        train_classifier.write_reports(scores, read_manifest("data/patches", LUNG), CODES)


def make_pseudo_labels(root: Path) -> None:
    """What the stage makes of the classifier."""
    with inside(root):
        choose_pseudo_labels.main(clean_params())
        pseudo_labels.main(clean_params())
    write_report(root, "pseudo_labels", manifest=digest(root / "data/pseudo_labels/manifest.parquet"))


def make_segmenter(root: Path) -> None:
    """A segmenter that takes a twentieth of the pixels of each class for the next one."""
    info = {"kind": "segmenter", "mpp": 1.0, "classes": CLASSES}
    info["patches"] = digest(root / "data/patches/manifest.parquet")
    info["pseudo_labels"] = digest(root / "data/pseudo_labels/manifest.parquet")
    info["valid"] = {"miou": 0.9}
    write_json(root / "reports/metrics/segmenter.json", info["valid"])
    write_json(root / "models/segmenter/model.json", info)
    (root / "models/segmenter/weights.pth").write_bytes(b"weights")
    rows = judged_rows(read_manifest(root / "data/patches", LUNG), "test")
    counts = []
    for path in rows["mask_path"]:
        pixels = np.bincount(read_label_map(root / "data/patches" / path).ravel(), minlength=256)[: len(CODES)]
        wrong = np.diag(pixels // 20)
        counts.append(np.diag(pixels) - wrong + np.roll(wrong, 1, axis=1))
    write_counts(root, np.stack(counts))


def write_counts(root: Path, ungated: np.ndarray, gated: np.ndarray | None = None) -> None:
    """What is reported of a segmenter with these confusion matrices of the test patches."""
    with inside(root):
        manifest = read_manifest("data/patches", LUNG)
        judgement = Judgement.of(judged_rows(manifest, "test"), ungated, ungated if gated is None else gated, CODES)
        evaluate.write_reports(judgement, manifest, clean_params())


def write_report(root: Path, gate: str, **digests: str) -> None:
    """What later gates read of a gate's report."""
    write_json(root / f"reports/gates/{gate}.json", {"digests": digests})


def make_slides(root: Path) -> None:
    for name, labels in MAPS.items():
        write_result(root, name, labels)


def write_result(
    root: Path, name: str, labels: np.ndarray, mpp: float = 1.0, roi: Path | None = None, **changes: Any
) -> None:
    """What stage export_slides leaves of a slide, given its map; `changes` are of its parameters."""
    folder, path = root / "results/slides" / name, root / f"data/cohort/slides/{name}.tiff"
    parameters = Parameters(**changes)
    figures = class_figures(np.bincount(labels.ravel(), minlength=4)[:4], LUNG.classes, mpp)
    with open_slide(path) as slide:
        stated = {"file": path.name, "bytes": path.stat().st_size, "quickhash": slide.quickhash}
        stated |= {"mpp": slide.mpp, "bounds": list(slide.bounds)}
        picture = slide.read(0, 0, labels.shape[::-1], mpp)
    write_label_pyramid(folder / "segmentation.tif", labels, mpp, LUNG.palette)
    draw_overlay(picture, labels, LUNG.classes, figures, name, mpp=mpp).save(folder / "overlay.png")
    outlined = {"factor": mpp / stated["mpp"], "limits": stated["bounds"][2:]}
    outlined |= {"min_area": parameters.min_island / mpp**2, "tolerance": parameters.simplify_um / mpp}
    packed = ".gz" if parameters.geojson == "gz" else ""
    written = write_geojson(folder / f"segmentation.geojson{packed}", labels, LUNG.classes, **outlined)
    if parameters.geoparquet:
        write_geoparquet(folder / "segmentation.parquet", labels, LUNG.classes, mpp=mpp, **outlined)
    if parameters.ome_zarr:
        write_ome_zarr(folder / "segmentation.ome.zarr", labels, mpp, LUNG.classes, picture=picture, name=name)
    if parameters.dicom_seg:
        said = {"slide": stated, "mpp": mpp}
        write_dicom_seg(folder / "segmentation.dcm", labels, LUNG, slide=path, identity=said, model="0" * 32)
    summary = {
        "slide": stated,
        "mpp": mpp,
        "size": list(labels.shape[::-1]),
        "model": {
            "weights_md5": digest(root / "models/segmenter/weights.pth", "md5"),
            "classes": list(CODES),
            "precision": "fp32",
        },
        "parameters": parameters.recorded(),
        "roi": None if roi is None else {"file": roi.name, "sha256": digest(roi)},
        "classes": {code: figures[code] | polygon_figures(written[code], mpp) for code in CODES},
        "tissue_area_mm2": sum(item["area_mm2"] for item in figures.values()),
        "tumour_stroma_ratio": tumour_stroma_ratio(figures, LUNG.classes),
        "unreadable_share": 0.0,
    }
    notes, truth = {"split": "test"}, root / f"data/cohort/truth/{name}.tif"
    if truth.is_file():
        summary["truth"] = judge_slide(folder / "segmentation.tif", truth, CODES)
        notes["miou"] = summary["truth"]["miou"]
    write_json(folder / "summary.json", summary)
    write_table(root / "results/slides/slides.csv", [JobResult(name, summary, notes=notes)], update=True)


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
