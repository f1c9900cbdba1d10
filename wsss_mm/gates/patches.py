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
from wsss_mm.gates.checks import Check, Limit, Measured, Table
from wsss_mm.gates.measure import STATISTICS, drift, image_statistics
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


_AGAIN = "make them again: dvc repro -f patches"
_ASIDE = "look at them, then set them aside: wsss-mm quarantine add --from reports/gates/patches.json"
_MORE = "move slides of other patients into it in slides.csv"


def _look(name: str, what: str, low: str, high: str | None = None) -> Check:
    """A check of what an image shows; one that cannot be decoded fails `images_readable`, once is enough."""
    limits = f"at least {{{low}:g}}" if high is None else f"{{{low}:g}} to {{{high}:g}}"
    says = f"{what} is {limits}, but for {{max_odd_share:.1%}} of the patches"
    return Check(name, name, says, _ASIDE, low=low, high=high, but="max_odd_share", optional=True)


def _is(name: str, column: str, says: str, do: str = _AGAIN, value: Any = True, optional: bool = False) -> Check:
    """A check that a column holds one value."""
    return Check(name, column, says, do, among=(value,), optional=optional)


def _least(what: str, of: str, says: str, do: str) -> Check:
    """A check that there are enough patches, slides or patients."""
    return Check(f"{what}_per_{of}", what, says, do, low=f"min_{what}_per_{of}")


COLUMNS = Table(
    "columns",
    "column",
    (
        Check(
            "columns_and_types",
            "kind",
            "every column is there, holds its kind of value, and is no unknown class",
            "check cohort.vocabulary in params.yaml and make the manifest again: dvc repro -f patches",
            same_as="expected",
        ),
    ),
    required=True,
)
PATCHES = Table(
    "patches",
    "patch_id",
    (
        Check(
            "unique_ids",
            "patch_id",
            "a patch id is given once",
            "remove or rename the repeated patches in the cohort",
            unique=True,
        ),
        _is(
            "one_patch_a_place",
            "place_copies",
            "a place on a slide is cut once",
            "remove the repeated rows of labels.csv",
            1,
            optional=True,  # public data sets do not tell places
        ),
        Check(
            "known_splits",
            "split",
            f"split is one of {', '.join(SPLITS)}",
            "correct the column split of slides.csv",
            among=SPLITS,
        ),
        Check("has_slide", "slide_id", "a patch has a slide", _AGAIN),
        Check("has_patient", "patient_id", "a patch has a patient", "fill in patient_id in slides.csv"),
        _is(
            "one_patient_one_split",
            "patient_splits",
            "a patient is in one split",
            "give all slides of the patient the same split in slides.csv",
            1,
            optional=True,
        ),
        _is(
            "one_slide_one_split",
            "slide_splits",
            "a slide is in one split",
            "give the slide one split in slides.csv",
            1,
            optional=True,
        ),
        Check(
            "one_slide_one_patient",
            "slide_patients",
            "a slide belongs to one patient",
            "correct patient_id in slides.csv",
            high=1,
            optional=True,
        ),
        _is(
            "one_image_one_split",
            "image_splits",
            "an image, by the sha256 of its file, is in one split",
            "the same picture under two names: set it aside in one of the splits with wsss-mm quarantine",
            1,
            optional=True,
        ),
        Check(
            "size",
            "size",
            "a training patch is {patches.size} px wide and high, others are as large as most of their split",
            "set patches.size in params.yaml to the size of the cohort's patches, or leave the odd ones out",
            same_as="expected_size",
        ),
        Check(
            "mpp",
            "mpp_error",
            "resolution is {patches.mpp:g} um/px, within {max_mpp_error:.0%}",
            "set patches.mpp in params.yaml, or correct the mpp of these slides in slides.csv",
            high="max_mpp_error",
        ),
        Check(
            "tissue",
            "tissue",
            "training patches are {patches.min_tissue:.0%} tissue or more, but for {max_thin_share:.1%} of them",
            "lower patches.min_tissue in params.yaml, or leave these patches out",
            low="patches.min_tissue",
            high=1,
            but="max_thin_share",
            optional=True,
        ),
        Check(
            "labelled",
            "labels",
            "a training patch has at least one label",
            "label these patches, or leave them out",
            low=1,
            optional=True,
        ),
        _is("images_exist", "image_file", "the image is a file in data/patches"),
        _is("images_readable", "image", "the image can be decoded", value="none"),
        Check(
            "images_unchanged",
            "file_sha256",
            "the image file has the sha256 of the manifest",
            f"restore it with dvc checkout, or {_AGAIN}",
            same_as="sha256",
            optional=True,
        ),
        Check(
            "images_of_the_size",
            "pixels",
            "the image has the pixels the manifest says",
            _AGAIN,
            same_as="stated_pixels",
            optional=True,
        ),
        _is("masks_exist", "mask_file", "the mask, where there is one, is a file in data/patches"),
        _is("masks_readable", "mask", "the mask can be decoded and holds class indices", value="none"),
        Check(
            "masks_of_the_size",
            "mask_pixels",
            "the mask has the pixels of its patch",
            _AGAIN,
            same_as="stated_pixels",
            optional=True,
        ),
        _is(
            "masks_of_known_classes",
            "mask_strangers",
            "the mask holds classes and ignore only",
            "check cohort.vocabulary in params.yaml, or correct the masks",
            0,
        ),
        _look("focus", "the variance of the Laplacian", "min_focus"),
        _look("brightness", "the mean grey value of the tissue", "brightness[0]", "brightness[1]"),
        _look("haematoxylin", "the density of haematoxylin", "haematoxylin[0]", "haematoxylin[1]"),
        _look("eosin", "the density of eosin", "eosin[0]", "eosin[1]"),
    ),
)
CLASSES = Table(
    "classes",
    "class",
    (
        _least(
            "patches",
            "class",
            "at least {min_patches_per_class} training patches are labelled with a class",
            "label more patches of it, or lower gates.patches.min_patches_per_class in params.yaml",
        ),
        _least(
            "slides",
            "class",
            "a class is labelled in training patches of at least {min_slides_per_class} slides",
            "label patches of it on other slides too (what is on one alone may be told by its stain), or lower "
            "gates.patches.min_slides_per_class in params.yaml",
        ),
        _least(
            "patients",
            "class",
            "a class is labelled in training patches of at least {min_patients_per_class} patients",
            "label slides of other patients, or lower gates.patches.min_patients_per_class in params.yaml",
        ),
    ),
)
JUDGED = Table(
    "judged classes",
    "class",
    (
        Check(
            "patches_per_judged_class",
            "patches",
            "valid and test each have at least {min_judging_patches} patches of a class",
            "annotate slides with this tissue, or lower gates.patches.min_judging_patches in params.yaml",
            low="min_judging_patches",
        ),
    ),
)
SPLIT_SIZES = Table(
    "splits",
    "split",
    (
        _least("patches", "split", "a split has at least {min_patches_per_split} patches", _MORE),
        _least("slides", "split", "a split has patches of at least {min_slides_per_split} slides", _MORE),
        _least("patients", "split", "a split has patches of at least {min_patients_per_split} patients", _MORE),
        Check(
            "test_has_masks",
            "masks",
            "some test patch has a mask",
            "annotate a test slide in QuPath and name the GeoJSON in slides.csv",
            low=1,
            optional=True,  # of the other splits nothing is asked
        ),
    ),
)
DRIFT = Table(
    "drift",
    "what",
    (
        Check(
            "drift",
            "difference",
            "focus, brightness and stain of valid and test lie within {max_drift:g} standard deviations of training",
            "slides differ in scanner or stain: spread each kind over the splits, or expect worse figures",
            high="max_drift",
            optional=True,
        ),
    ),
)
TABLES = (COLUMNS, PATCHES, CLASSES, JUDGED, SPLIT_SIZES, DRIFT)


def measure(params: Params, root: Path) -> Iterator[Measured]:
    """Measure the manifest: its columns, then patches, classes, splits and the drift between them."""
    folder = root / FOLDER
    manifest = read_rows(folder / FILE_NAME, remedy="dvc repro -f patches")
    codes = get_vocabulary(params.cohort.vocabulary).codes
    yield COLUMNS.of(_columns(manifest, codes))
    patches = _patches(manifest, codes, folder, params)
    judged = judged_digest(manifest[patches["image_file"] & patches["mask_file"]], "test", folder)
    yield PATCHES.of(patches, manifest=digest(folder / FILE_NAME), test=judged)
    yield CLASSES.of(_training_classes(manifest, codes))
    yield JUDGED.of(_judging_classes(manifest, codes))
    yield SPLIT_SIZES.of(_splits(manifest))
    yield DRIFT.of(_drift(patches))


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
    ids = manifest[["patch_id", "slide_id", "patient_id"]].map(lambda text: text if str(text).strip() else None)
    return ids.assign(
        split=manifest["split"],
        size=manifest["size"],
        mpp_error=(manifest["mpp"] / params.patches.mpp - 1).abs(),
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
