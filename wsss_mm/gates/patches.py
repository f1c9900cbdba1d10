"""Gate after `patches`: is the manifest fit to train on?

Reads data/patches/manifest.parquet (every row, as it is: `wsss_mm.patches.read_manifest` would stop at the first fault)
and whether the files it names exist.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from wsss_mm.gates.checks import Check, Table
from wsss_mm.gates.reading import is_file_inside, read_table
from wsss_mm.patches.manifest import FILE_NAME, SPLITS, get_vocabulary
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
    """Measure the manifest: its columns, then patches, classes and splits."""
    folder = root / FOLDER
    manifest = read_table(folder / FILE_NAME, "dvc repro -f patches")
    codes = get_vocabulary(params.cohort.vocabulary).codes
    yield Table("columns", _columns(manifest, codes), "column", _column_checks, required=True)
    yield Table(
        "patches", _patches(manifest, codes, folder, params), "patch_id", lambda gxe: _patch_checks(gxe, params)
    )
    training = manifest[manifest["split"] == "train"]
    classes = pd.DataFrame({"class": codes, "patches": [int(training[code].sum()) for code in codes]})
    yield Table("classes", classes, "class", lambda gxe: _class_checks(gxe, params))
    slides = manifest.groupby("split")["slide_id"].nunique()
    splits = pd.DataFrame({"split": SPLITS, "slides": [int(slides.get(split, 0)) for split in SPLITS]})
    yield Table("splits", splits, "split", lambda gxe: _split_checks(gxe, params))


def _columns(manifest: pd.DataFrame, codes: tuple[str, ...]) -> pd.DataFrame:
    """One row a column that ought to be there, with the kind of value it holds."""
    expected = _KINDS | dict.fromkeys(codes, "boolean")
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
    """The manifest with what only the whole of it can tell of a patch."""
    masks = manifest["mask_path"].fillna("")
    training = manifest["split"] == "train"
    most_common = manifest.groupby("split")["size"].transform(lambda sizes: sizes.mode().iloc[0])
    return manifest[["patch_id", "slide_id", "patient_id", "split", "mpp", "size"]].assign(
        expected_size=most_common.mask(training, params.patches.size),
        tissue=manifest["tissue"].fillna(-1).where(training),  # no value outside the training split
        labels=manifest[list(codes)].sum(axis=1).where(training),
        image_splits=manifest.groupby("sha256")["split"].transform("nunique"),
        patient_splits=manifest.groupby("patient_id")["split"].transform("nunique"),
        image=[is_file_inside(folder, path) for path in manifest["path"]],
        mask=[not path or is_file_inside(folder, path) for path in masks],
    )


def _column_checks(gxe: Any) -> list[Check]:
    return [
        Check(
            "columns_and_types",
            "every column is there and holds its kind of value",
            gxe.ExpectColumnPairValuesToBeEqual(column_A="kind", column_B="expected"),
            "check cohort.vocabulary in params.yaml and make the manifest again: dvc repro -f patches",
        )
    ]


def _patch_checks(gxe: Any, params: Params) -> list[Check]:
    settings, gate = params.patches, params.gates.patches
    return [
        Check(
            "unique_ids",
            "a patch id is given once",
            gxe.ExpectColumnValuesToBeUnique(column="patch_id"),
            "remove or rename the repeated patches in the cohort",
        ),
        Check(
            "known_splits",
            f"split is one of {', '.join(SPLITS)}",
            gxe.ExpectColumnValuesToBeInSet(column="split", value_set=list(SPLITS)),
            "correct the column split of slides.csv",
        ),
        Check(
            "one_patient_one_split",
            "a patient is in one split",
            gxe.ExpectColumnValuesToBeInSet(column="patient_splits", value_set=[1]),
            "give all slides of the patient the same split in slides.csv",
        ),
        Check(
            "one_image_one_split",
            "an image is in one split",
            gxe.ExpectColumnValuesToBeInSet(column="image_splits", value_set=[1]),
            "the same picture under two names: leave it out of one of the splits",
        ),
        Check(
            "size",
            f"a training patch is {settings.size} px wide and high, others are as large as most of their split",
            gxe.ExpectColumnPairValuesToBeEqual(column_A="size", column_B="expected_size"),
            "set patches.size in params.yaml to the size of the cohort's patches, or leave the odd ones out",
        ),
        Check(
            "mpp",
            f"resolution is {settings.mpp:g} um/px, within {gate.max_mpp_error:.0%}",
            gxe.ExpectColumnValuesToBeBetween(
                column="mpp",
                min_value=settings.mpp * (1 - gate.max_mpp_error),
                max_value=settings.mpp * (1 + gate.max_mpp_error),
            ),
            "set patches.mpp in params.yaml, or correct the mpp of these slides in slides.csv",
        ),
        Check(
            "tissue",
            f"training patches are {settings.min_tissue:.0%} tissue or more, but for {gate.max_thin_share:.1%} of them",
            gxe.ExpectColumnValuesToBeBetween(
                column="tissue", min_value=settings.min_tissue, max_value=1, mostly=1 - gate.max_thin_share
            ),
            "lower patches.min_tissue in params.yaml, or leave these patches out",
            optional=True,
        ),
        Check(
            "labelled",
            "a training patch has at least one label",
            gxe.ExpectColumnValuesToBeBetween(column="labels", min_value=1),
            "label these patches, or leave them out",
            optional=True,
        ),
        Check(
            "images_exist",
            "the image is a file in data/patches",
            gxe.ExpectColumnValuesToBeInSet(column="image", value_set=[True]),
            "make them again: dvc repro -f patches",
        ),
        Check(
            "masks_exist",
            "the mask, where there is one, is a file in data/patches",
            gxe.ExpectColumnValuesToBeInSet(column="mask", value_set=[True]),
            "make them again: dvc repro -f patches",
        ),
    ]


def _class_checks(gxe: Any, params: Params) -> list[Check]:
    least = params.gates.patches.min_patches_per_class
    return [
        Check(
            "patches_per_class",
            f"at least {least} training patches are labelled with a class",
            gxe.ExpectColumnValuesToBeBetween(column="patches", min_value=least),
            "label more patches of it, or lower gates.patches.min_patches_per_class in params.yaml",
        )
    ]


def _split_checks(gxe: Any, params: Params) -> list[Check]:
    least = params.gates.patches.min_slides_per_split
    return [
        Check(
            "slides_per_split",
            f"a split has at least {least} slides with patches",
            gxe.ExpectColumnValuesToBeBetween(column="slides", min_value=least),
            "move slides of other patients into it in slides.csv",
        )
    ]
