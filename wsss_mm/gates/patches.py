"""Gate after `patches`: is the manifest fit to train on?

Reads data/patches/manifest.parquet (every row, as it is: `wsss_mm.patches.read_manifest` would stop at the first fault)
and measures the images and masks it names.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wsss_mm.errors import InputError
from wsss_mm.files import digest, read_rows
from wsss_mm.gates.checks import Table
from wsss_mm.gates.measure import STATISTICS, drift, image_statistics
from wsss_mm.gates.patch_checks import (
    class_checks,
    column_checks,
    drift_checks,
    judging_checks,
    patch_checks,
    split_checks,
)
from wsss_mm.gates.reading import is_file_inside
from wsss_mm.patches.digests import judged_digest
from wsss_mm.patches.images import read_image, read_label_map
from wsss_mm.patches.manifest import FILE_NAME, SPLITS, get_vocabulary
from wsss_mm.patches.parallel import map_files
from wsss_mm.patches.vocabulary import IGNORE
from wsss_mm.settings import Params

FOLDER = Path("data/patches")

_KINDS = {
    "patch_id": "text",
    "slide_id": "text",
    "patient_id": "text",
    "split": "text",
    "x": "integer",
    "y": "integer",
    "mpp": "number",
    "size": "integer",
    "path": "text",
    "mask_path": "text",
    "sha256": "text",
    "tissue": "number",
}


def tables(params: Params, root: Path) -> Iterator[Table]:
    """Measure the manifest: its columns, then patches, classes, splits and the drift between them."""
    folder = root / FOLDER
    manifest = read_rows(folder / FILE_NAME, remedy="dvc repro -f patches")
    codes = get_vocabulary(params.cohort.vocabulary).codes
    yield Table("columns", _columns(manifest, codes), "column", column_checks, required=True)
    patches = _patches(manifest, codes, folder, params)
    judged = {
        "manifest": digest(folder / FILE_NAME),
        "test": judged_digest(manifest[patches["image_file"] & patches["mask_file"]], "test", folder),
    }
    yield Table("patches", patches, "patch_id", lambda gxe: patch_checks(gxe, params), digests=judged)
    yield Table("classes", _training_classes(manifest, codes), "class", lambda gxe: class_checks(gxe, params))
    judging = _judging_classes(manifest, codes)
    yield Table("judged classes", judging, "class", lambda gxe: judging_checks(gxe, params))
    yield Table("splits", _splits(manifest), "split", lambda gxe: split_checks(gxe, params))
    yield Table("drift", _drift(patches), "what", lambda gxe: drift_checks(gxe, params))


def _columns(manifest: pd.DataFrame, codes: tuple[str, ...]) -> pd.DataFrame:
    """One row a column that is or ought to be there, with the kind of value it holds."""
    expected = _KINDS | dict.fromkeys(codes, "boolean")
    expected |= {name: "no such class" for name in manifest.columns if name not in expected}
    found = [_kind(manifest[name]) if name in manifest else "none" for name in expected]
    return pd.DataFrame({"column": list(expected), "kind": found, "expected": list(expected.values())})


def _kind(values: pd.Series) -> str:
    types = pd.api.types
    if types.is_bool_dtype(values):
        return "boolean"
    if types.is_integer_dtype(values):
        return "integer"
    if types.is_numeric_dtype(values):
        return "number"
    return "text" if values.dropna().map(lambda value: isinstance(value, str)).all() else "mixed"


def _patches(manifest: pd.DataFrame, codes: tuple[str, ...], folder: Path, params: Params) -> pd.DataFrame:
    """The manifest with what its files show and what only the whole of it can tell of a patch."""
    training = manifest["split"] == "train"
    most_common = manifest.groupby("split")["size"].transform(lambda sizes: sizes.mode().iloc[0])
    rows = list(manifest.itertuples(index=False))
    files = pd.DataFrame(
        map_files(lambda row: _measure(row, folder, len(codes)), rows, "measure patches"), index=manifest.index
    )
    places = manifest[["slide_id", "x", "y"]].astype(str).agg(" ".join, axis=1).where(manifest["x"] >= 0)
    return manifest[["patch_id", "slide_id", "patient_id", "split", "mpp", "size"]].assign(
        expected_size=most_common.mask(training, params.patches.size),
        tissue=manifest["tissue"].fillna(-1).where(training),  # no value outside the training split
        labels=manifest[list(codes)].sum(axis=1).where(training),
        place_copies=places.groupby(places).transform("size"),
        patient_splits=manifest.groupby("patient_id")["split"].transform("nunique"),
        slide_splits=manifest.groupby("slide_id")["split"].transform("nunique"),
        slide_patients=manifest.groupby("slide_id")["patient_id"].transform("nunique"),
        stated_pixels=[f"{size} x {size}" for size in manifest["size"]],
        sha256=manifest["sha256"],
        **files,
        image_splits=manifest["split"].groupby(files["file_sha256"]).transform("nunique"),
    )


def _measure(row: Any, folder: Path, classes: int) -> dict[str, Any]:
    """What the files of a patch show; what cannot be told, because a file is bad, is None and fails another check."""
    masked = isinstance(row.mask_path, str) and bool(row.mask_path)
    measured: dict[str, Any] = {
        "image_file": is_file_inside(folder, row.path),
        "image": "none",
        "pixels": None,
        "file_sha256": None,
        "mask_file": not masked or is_file_inside(folder, row.mask_path),
        "mask": "none",
        "mask_pixels": None,
        "mask_strangers": 0,
        **dict.fromkeys(STATISTICS),
    }
    if measured["image_file"]:
        measured["file_sha256"] = digest(folder / row.path)
        try:
            image = read_image(folder / row.path)
            measured |= {"pixels": _pixels(image)} | image_statistics(image)
        except InputError as error:
            measured["image"] = str(error)
    if masked and measured["mask_file"]:
        try:
            mask = read_label_map(folder / row.mask_path)
            known = (mask < classes) | (mask == IGNORE)
            measured |= {"mask_pixels": _pixels(mask), "mask_strangers": int((~known).sum())}
        except InputError as error:
            measured["mask"] = str(error)
    return measured


def _pixels(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"


def _training_classes(manifest: pd.DataFrame, codes: tuple[str, ...]) -> pd.DataFrame:
    """One row a class: what is labelled with it in training."""
    training = manifest[manifest["split"] == "train"]
    return pd.DataFrame([{"class": code, **_counts(training[training[code]])} for code in codes])


def _judging_classes(manifest: pd.DataFrame, codes: tuple[str, ...]) -> pd.DataFrame:
    """One row a class and split: how many patches can judge it."""
    rows = [
        {"class": f"{split} {code}", "patches": int(manifest.loc[manifest["split"] == split, code].sum())}
        for split in ("valid", "test")
        for code in codes
    ]
    return pd.DataFrame(rows)


def _splits(manifest: pd.DataFrame) -> pd.DataFrame:
    """One row a split; `masks` is counted where it matters, in test."""
    masks = int((manifest["mask_path"].notna() & (manifest["split"] == "test")).sum())
    rows = [{"split": split, **_counts(manifest[manifest["split"] == split])} for split in SPLITS]
    return pd.DataFrame(rows).assign(masks=[None, None, masks])


def _counts(rows: pd.DataFrame) -> dict[str, int]:
    return {
        "patches": len(rows),
        "slides": int(rows["slide_id"].nunique()),
        "patients": int(rows["patient_id"].nunique()),
    }


def _drift(patches: pd.DataFrame) -> pd.DataFrame:
    """One row a split and statistic: how far it lies from the training patches."""
    values = patches[["split", *STATISTICS]].copy()
    values["focus"] = np.log10(values["focus"].astype(float).clip(lower=1e-3))  # its spread grows with it
    of_split = {split: values[values["split"] == split] for split in SPLITS}
    rows = []
    for split in ("valid", "test"):
        for name in STATISTICS:
            samples = (of_split[part][name].to_numpy(dtype=float) for part in (split, "train"))
            difference, distance = drift(*samples)
            rows.append({"what": f"{split} {name}", "difference": difference, "distance": distance})
    return pd.DataFrame(rows)
