"""Gate after `pseudo_labels`: are they fit to train a segmenter on?

Reads data/pseudo_labels/manifest.parquet (patch_id, path, coverage, share_<code> as shares of the patch's pixels, so
that they add up to the coverage, agreement) beside data/patches/manifest.parquet, whose label sets say which classes
may appear, and measures each label file: its manifest is believed only where the file bears it out.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm.errors import InputError
from wsss_mm.files import read_rows
from wsss_mm.gates.checks import Check, Table
from wsss_mm.gates.reading import is_file_inside
from wsss_mm.patches.images import read_label_map
from wsss_mm.patches.manifest import FILE_NAME, get_vocabulary, read_manifest
from wsss_mm.patches.parallel import map_files
from wsss_mm.patches.vocabulary import IGNORE
from wsss_mm.settings import Params

FOLDER = Path("data/pseudo_labels")
PATCHES = Path("data/patches")

_MAKE = "dvc repro -f pseudo_labels"
_ROUNDING = 1e-9


def tables(params: Params, root: Path) -> Iterator[Table]:
    """Measure pseudo-labels: patches against their label sets, then classes over the cohort."""
    vocabulary = get_vocabulary(params.cohort.vocabulary)
    codes = list(vocabulary.codes)
    folder = root / FOLDER
    labels = _read(folder, codes)
    manifest = read_manifest(root / PATCHES, vocabulary)
    training = manifest[manifest["split"] == "train"]
    yield Table(
        "patches", _patches(labels, training, codes, folder), "patch_id", lambda gxe: _patch_checks(gxe, params)
    )
    yield Table("classes", _classes(labels, training, codes), "class", lambda gxe: _class_checks(gxe, params))


def _read(folder: Path, codes: list[str]) -> pd.DataFrame:
    labels = read_rows(folder / FILE_NAME, remedy=_MAKE)
    missing = [
        name
        for name in ("patch_id", "path", "coverage", "agreement", *(f"share_{code}" for code in codes))
        if name not in labels
    ]
    if missing:
        raise InputError(f"{folder / FILE_NAME}: column {', '.join(missing)} is missing; make it again: {_MAKE}")
    for name in ("coverage", "agreement", *(f"share_{code}" for code in codes)):
        if not pd.api.types.is_numeric_dtype(labels[name]):
            raise InputError(f"{folder / FILE_NAME}: column {name} holds no numbers; make it again: {_MAKE}")
    return labels


def _patches(labels: pd.DataFrame, training: pd.DataFrame, codes: list[str], folder: Path) -> pd.DataFrame:
    """One row a patch that has, or ought to have, a pseudo-label."""
    present = training.set_index("patch_id")[codes]
    shares = labels[[f"share_{code}" for code in codes]].to_numpy()
    allowed = present.reindex(labels["patch_id"]).fillna(False).to_numpy(dtype=bool)
    rows = list(zip(labels["path"], allowed, strict=True))
    files = pd.DataFrame(map_files(lambda row: _measure(folder, *row), rows, "measure pseudo-labels"))
    sizes = training.set_index("patch_id")["size"].reindex(labels["patch_id"])
    measured = labels[["patch_id", "coverage", "agreement"]].assign(
        labels=labels.groupby("patch_id")["patch_id"].transform("size"),
        foreign=(shares * ~allowed).sum(axis=1),
        unaccounted=abs(shares.sum(axis=1) - labels["coverage"]),
        **files,
        stated=[None if pd.isna(size) else f"{size:.0f} x {size:.0f}" for size in sizes],
        coverage_error=(files["covered"].astype(float) - labels["coverage"]).abs(),
        unseen=(allowed & (shares == 0)).sum(axis=1),
        training=labels["patch_id"].isin(present.index),
    )
    without = present.index.difference(labels["patch_id"])
    # A patch without a pseudo-label fails `one_per_patch` alone: the other values are those of a good one.
    absent = pd.DataFrame(
        {
            "patch_id": without,
            "coverage": measured["coverage"].mean() if len(measured) else 0.0,
            "agreement": measured["agreement"].mean() if len(measured) else 0.0,
            "labels": 0,
            "foreign": 0.0,
            "unaccounted": 0.0,
            "file": True,
            "problem": "none",
            "unseen": 0,
            "training": True,
        }
    )
    return pd.concat([measured, absent], ignore_index=True) if len(absent) else measured


def _measure(folder: Path, relative: object, allowed: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """What a label file shows; None where it cannot be told, which fails another check."""
    measured: dict[str, Any] = {
        "file": is_file_inside(folder, relative),
        "problem": "none",
        "pixels": None,
        "strangers": None,
        "covered": None,
    }
    if measured["file"]:
        try:
            values = read_label_map(folder / str(relative))
        except InputError as error:
            return measured | {"problem": str(error)}
        measured["pixels"] = f"{values.shape[1]} x {values.shape[0]}"
        fine = np.isin(values, [*np.flatnonzero(allowed), IGNORE])
        measured["strangers"] = int((~fine).sum())
        measured["covered"] = float((values != IGNORE).mean())
    return measured


def _classes(labels: pd.DataFrame, training: pd.DataFrame, codes: list[str]) -> pd.DataFrame:
    """One row a class that some training patch is labelled with; shares are of the labelled pixels of the cohort.

    `ratio` compares them with the label sets, as if the classes of a patch had equal parts of it.
    """
    sizes = training.set_index("patch_id")["size"].reindex(labels["patch_id"]).fillna(0).to_numpy(dtype=float)
    pixels = {code: float((labels[f"share_{code}"].to_numpy() * sizes**2).sum()) for code in codes}
    total = sum(pixels.values()) or 1.0
    present = training[codes].to_numpy(dtype=float)
    votes = (present / np.maximum(present.sum(axis=1, keepdims=True), 1)).mean(axis=0) if len(present) else [0.0]
    rows = [
        {"class": code, "share": pixels[code] / total, "ratio": pixels[code] / total / vote}
        for code, vote in zip(codes, votes, strict=False)
        if vote > 0
    ]
    return pd.DataFrame(rows, columns=["class", "share", "ratio"])


def _patch_checks(gxe: Any, params: Params) -> list[Check]:
    return [*_record_checks(gxe), *_content_checks(gxe, params)]


def _record_checks(gxe: Any) -> list[Check]:
    """Records and files are what the patches and each other say."""
    within, among = gxe.ExpectColumnValuesToBeBetween, gxe.ExpectColumnValuesToBeInSet
    same_size = gxe.ExpectColumnPairValuesToBeEqual(
        column_A="pixels", column_B="stated", ignore_row_if="either_value_is_missing"
    )

    def check(
        name: str, says: str, expectation: Any, *, remedy: str = "make them again", optional: bool = False
    ) -> Check:
        return Check(name, says, expectation, f"{remedy}: {_MAKE}", optional)

    for_today = "make them again for the labels of today"
    return [
        check("one_per_patch", "a training patch has one pseudo-label", among(column="labels", value_set=[1])),
        check(
            "training_patches_only",
            "a pseudo-label belongs to a training patch",
            among(column="training", value_set=[True]),
        ),
        check(
            "files_exist", "the pseudo-label is a file in data/pseudo_labels", among(column="file", value_set=[True])
        ),
        check(
            "files_readable",
            "the pseudo-label can be decoded and holds class indices",
            among(column="problem", value_set=["none"]),
        ),
        # What a file that is missing or broken would hold is not asked again.
        check("size_of_the_patch", "the pseudo-label has the pixels of its patch", same_size, optional=True),
        check(
            "pixels_of_the_label_set",
            "the file holds classes of its patch's label set and ignore only",
            among(column="strangers", value_set=[0]),
            remedy=for_today,
            optional=True,
        ),
        check(
            "coverage_of_the_file",
            "the manifest's coverage is that of the file",
            within(column="coverage_error", max_value=1e-6),
            optional=True,
        ),
        check(
            "label_set_only",
            "a pseudo-label holds classes of its patch's label set only",
            within(column="foreign", max_value=_ROUNDING),
            remedy=for_today,
        ),
        check(
            "shares_make_coverage", "class shares add up to the coverage", within(column="unaccounted", max_value=1e-6)
        ),
    ]


def _content_checks(gxe: Any, params: Params) -> list[Check]:
    """Enough of each patch is labelled, with what it holds, and the scales agree."""
    gate = params.gates.pseudo_labels
    within, mean = gxe.ExpectColumnValuesToBeBetween, gxe.ExpectColumnMeanToBeBetween
    return [
        Check(
            "labelled_classes_seen",
            f"every class a patch is labelled with has a pixel, but in {gate.max_unseen_share:.0%} of the patches",
            within(column="unseen", max_value=0, mostly=1 - gate.max_unseen_share),
            "look at the patches listed in reports/gates/pseudo_labels.json: labels or classifier are wrong there, or "
            "a common class outshines a rare one, which pseudo_labels.normalization: class prevents",
        ),
        Check(
            "patch_coverage",
            f"at least {gate.min_patch_coverage:.0%} of a patch is labelled",
            within(column="coverage", min_value=gate.min_patch_coverage, max_value=1),
            "raise patches.min_tissue, or pseudo_labels.background_grey if tissue is taken for background",
        ),
        Check(
            "mean_coverage",
            f"at least {gate.min_coverage:.0%} of all pixels are labelled",
            mean(column="coverage", min_value=gate.min_coverage, max_value=1),
            "raise pseudo_labels.background_grey if tissue is taken for background",
        ),
        Check(
            "agreement",
            f"scales agree on at least {gate.min_agreement:.0%} of the labelled pixels, on average",
            mean(column="agreement", min_value=gate.min_agreement, max_value=1),
            "train the classifier longer, or choose pseudo_labels.scales nearer to 1",
        ),
    ]


def _class_checks(gxe: Any, params: Params) -> list[Check]:
    low, high = params.gates.pseudo_labels.share_ratio
    least, most = params.gates.pseudo_labels.min_class_share, params.gates.pseudo_labels.max_class_share
    return [
        Check(
            "some_class_is_labelled",
            "training patches are labelled with at least two classes",
            gxe.ExpectTableRowCountToBeBetween(min_value=2),
            "add training patches with other tissues",
        ),
        Check(
            "class_has_pixels",
            f"a class that patches are labelled with has at least {least:.1%} of the labelled pixels",
            gxe.ExpectColumnValuesToBeBetween(column="share", min_value=least),
            "the classifier does not see it: label more patches of it, or train longer",
        ),
        Check(
            "shares_follow_labels",
            f"a class has {low:g} to {high:g} times the pixels its labels let expect",
            gxe.ExpectColumnValuesToBeBetween(column="ratio", min_value=low, max_value=high),
            "the classifier takes one class for another: label more patches of it, or train longer",
        ),
        Check(
            "no_class_takes_all",
            f"a class has at most {most:.0%} of the labelled pixels",
            gxe.ExpectColumnValuesToBeBetween(column="share", max_value=most),
            "the labels collapsed to one class: train the classifier longer, or check the patches' labels",
        ),
    ]
