"""The suites of gate `patches`: what must be true of patches, classes and splits."""

from typing import Any

from wsss_mm.gates.checks import Check
from wsss_mm.patches.manifest import SPLITS
from wsss_mm.settings import Params

_AGAIN = "make them again: dvc repro -f patches"
_ASIDE = "look at them, then set them aside: wsss-mm quarantine add --from reports/gates/patches.json"


def column_checks(gxe: Any) -> list[Check]:
    """Schema: nothing else can be measured without it."""
    return [
        Check(
            "columns_and_types",
            "every column is there, holds its kind of value, and is no unknown class",
            gxe.ExpectColumnPairValuesToBeEqual(column_A="kind", column_B="expected"),
            "check cohort.vocabulary in params.yaml and make the manifest again: dvc repro -f patches",
        )
    ]


def patch_checks(gxe: Any, params: Params) -> list[Check]:
    """Patch by patch: identity, then the numbers, the files, and what the images show."""
    return [*_identity(gxe), *_numbers(gxe, params), *_files(gxe), *_looks(gxe, params)]


def _identity(gxe: Any) -> list[Check]:
    return [
        Check(
            "unique_ids",
            "a patch id is given once",
            gxe.ExpectColumnValuesToBeUnique(column="patch_id"),
            "remove or rename the repeated patches in the cohort",
        ),
        Check(
            "one_patch_a_place",
            "a place on a slide is cut once",
            gxe.ExpectColumnValuesToBeInSet(column="place_copies", value_set=[1]),
            "remove the repeated rows of labels.csv",
            optional=True,  # public data sets do not tell places
        ),
        Check(
            "known_splits",
            f"split is one of {', '.join(SPLITS)}",
            gxe.ExpectColumnValuesToBeInSet(column="split", value_set=list(SPLITS)),
            "correct the column split of slides.csv",
        ),
        Check(
            "has_slide",
            "a patch has a slide",
            gxe.ExpectColumnValuesToMatchRegex(column="slide_id", regex=r"\S"),
            _AGAIN,
        ),
        Check(
            "has_patient",
            "a patch has a patient",
            gxe.ExpectColumnValuesToMatchRegex(column="patient_id", regex=r"\S"),
            "fill in patient_id in slides.csv",
        ),
        Check(
            "one_patient_one_split",
            "a patient is in one split",
            gxe.ExpectColumnValuesToBeInSet(column="patient_splits", value_set=[1]),
            "give all slides of the patient the same split in slides.csv",
            optional=True,
        ),
        Check(
            "one_slide_one_split",
            "a slide is in one split",
            gxe.ExpectColumnValuesToBeInSet(column="slide_splits", value_set=[1]),
            "give the slide one split in slides.csv",
            optional=True,
        ),
        Check(
            "one_slide_one_patient",
            "a slide belongs to one patient",
            gxe.ExpectColumnValuesToBeInSet(column="slide_patients", value_set=[0, 1]),
            "correct patient_id in slides.csv",
            optional=True,
        ),
        Check(
            "one_image_one_split",
            "an image, by the sha256 of its file, is in one split",
            gxe.ExpectColumnValuesToBeInSet(column="image_splits", value_set=[1]),
            "the same picture under two names: set it aside in one of the splits with wsss-mm quarantine",
            optional=True,
        ),
    ]


def _numbers(gxe: Any, params: Params) -> list[Check]:
    settings, gate = params.patches, params.gates.patches
    return [
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
    ]


def _files(gxe: Any) -> list[Check]:
    true = {"value_set": [True]}
    return [
        Check(
            "images_exist",
            "the image is a file in data/patches",
            gxe.ExpectColumnValuesToBeInSet(column="image_file", **true),
            _AGAIN,
        ),
        Check(
            "images_readable",
            "the image can be decoded",
            gxe.ExpectColumnValuesToBeInSet(column="image", value_set=["none"]),
            _AGAIN,
        ),
        Check(
            "images_unchanged",
            "the image file has the sha256 of the manifest",
            gxe.ExpectColumnPairValuesToBeEqual(
                column_A="file_sha256", column_B="sha256", ignore_row_if="either_value_is_missing"
            ),
            "restore it with dvc checkout, or " + _AGAIN,
            optional=True,
        ),
        Check(
            "images_of_the_size",
            "the image has the pixels the manifest says",
            gxe.ExpectColumnPairValuesToBeEqual(
                column_A="pixels", column_B="stated_pixels", ignore_row_if="either_value_is_missing"
            ),
            _AGAIN,
            optional=True,
        ),
        Check(
            "masks_exist",
            "the mask, where there is one, is a file in data/patches",
            gxe.ExpectColumnValuesToBeInSet(column="mask_file", **true),
            _AGAIN,
        ),
        Check(
            "masks_readable",
            "the mask can be decoded and holds class indices",
            gxe.ExpectColumnValuesToBeInSet(column="mask", value_set=["none"]),
            _AGAIN,
        ),
        Check(
            "masks_of_the_size",
            "the mask has the pixels of its patch",
            gxe.ExpectColumnPairValuesToBeEqual(
                column_A="mask_pixels", column_B="stated_pixels", ignore_row_if="either_value_is_missing"
            ),
            _AGAIN,
            optional=True,
        ),
        Check(
            "masks_of_known_classes",
            "the mask holds classes and ignore only",
            gxe.ExpectColumnValuesToBeInSet(column="mask_strangers", value_set=[0]),
            "check cohort.vocabulary in params.yaml, or correct the masks",
        ),
    ]


def _looks(gxe: Any, params: Params) -> list[Check]:
    gate = params.gates.patches
    but = f", but for {gate.max_odd_share:.1%} of the patches"

    def within(name: str, what: str, column: str, low: float, high: float | None = None) -> Check:
        limits = f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
        expectation = gxe.ExpectColumnValuesToBeBetween(
            column=column, min_value=low, max_value=high, mostly=1 - gate.max_odd_share
        )
        return Check(name, f"{what} is {limits}{but}", expectation, _ASIDE, optional=True)

    return [
        within("focus", "the variance of the Laplacian", "focus", gate.min_focus),
        within("brightness", "the mean grey value of the tissue", "brightness", *gate.brightness),
        within("haematoxylin", "the density of haematoxylin", "haematoxylin", *gate.haematoxylin),
        within("eosin", "the density of eosin", "eosin", *gate.eosin),
    ]


def class_checks(gxe: Any, params: Params) -> list[Check]:
    """Enough of every class to learn it."""
    gate = params.gates.patches
    least = {
        "patches": gate.min_patches_per_class,
        "slides": gate.min_slides_per_class,
        "patients": gate.min_patients_per_class,
    }
    more = {
        "patches": "more patches of it",
        "slides": "patches of it on other slides too (what is on one alone may be told by its stain)",
        "patients": "slides of other patients",
    }
    return [
        Check(
            f"{what}_per_class",
            f"a class is labelled in training patches of at least {count} {what}"
            if what != "patches"
            else f"at least {count} training patches are labelled with a class",
            gxe.ExpectColumnValuesToBeBetween(column=what, min_value=count),
            f"label {more[what]}, or lower gates.patches.min_{what}_per_class in params.yaml",
        )
        for what, count in least.items()
    ]


def judging_checks(gxe: Any, params: Params) -> list[Check]:
    """Enough of every class to judge it."""
    least = params.gates.patches.min_judging_patches
    return [
        Check(
            "patches_per_judged_class",
            f"valid and test each have at least {least} patches of a class",
            gxe.ExpectColumnValuesToBeBetween(column="patches", min_value=least),
            "annotate slides with this tissue, or lower gates.patches.min_judging_patches in params.yaml",
        )
    ]


def split_checks(gxe: Any, params: Params) -> list[Check]:
    """Enough of every split."""
    gate = params.gates.patches
    least = {
        "patches": gate.min_patches_per_split,
        "slides": gate.min_slides_per_split,
        "patients": gate.min_patients_per_split,
    }
    counted = [
        Check(
            f"{what}_per_split",
            f"a split has patches of at least {count} {what}"
            if what != "patches"
            else f"a split has at least {count} patches",
            gxe.ExpectColumnValuesToBeBetween(column=what, min_value=count),
            "move slides of other patients into it in slides.csv",
        )
        for what, count in least.items()
    ]
    return [
        *counted,
        Check(
            "test_has_masks",
            "some test patch has a mask",
            gxe.ExpectColumnValuesToBeBetween(column="masks", min_value=1),
            "annotate a test slide in QuPath and name the GeoJSON in slides.csv",
            optional=True,  # of the other splits nothing is asked
        ),
    ]


def drift_checks(gxe: Any, params: Params) -> list[Check]:
    """Splits that look alike."""
    most = params.gates.patches.max_drift
    return [
        Check(
            "drift",
            f"focus, brightness and stain of valid and test lie within {most:g} standard deviations of training",
            gxe.ExpectColumnValuesToBeBetween(column="difference", max_value=most),
            "slides differ in scanner or stain: spread each kind over the splits, or expect worse figures",
            optional=True,
        )
    ]
