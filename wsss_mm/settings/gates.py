"""gates.yaml as typed, frozen settings: the thresholds of each gate, and which of its checks do not stop the line."""

import math
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Annotated, Any

from pydantic import Field

from wsss_mm.settings.sections import Count, Faults, Natural, Ordered, Positive, Range, Section, Share
from wsss_mm.yaml_places import parse, suggestion

NotNegative = Annotated[float, Field(ge=0)]
Kappa = Annotated[float, Field(ge=-1, le=1)]
Grey = Annotated[NotNegative, Field(le=255)]


@cache
def expected() -> Mapping[str, Any]:
    """All of wsss_mm/gates/checks.yaml: the tables and checks of each gate."""
    text = (resources.files("wsss_mm") / "gates/checks.yaml").read_text(encoding="utf-8")
    return parse(text).content


def check_names(gate: str) -> tuple[str, ...]:
    """Names of the checks of a gate, known without running it."""
    return tuple(check for checks in expected()[gate].values() for check in checks)


class Gate(Section):
    """What every gate has."""

    warnings: tuple[str, ...]  # checks that are reported and do not stop the line; all others are critical


class LooksGate(Gate):
    """How far a slide or patch may look otherwise than those of its site, or of the cohort, and than any tissue."""

    min_typical_slides: Count  # of a site, or of all, that tell what is typical
    odd_spread: Annotated[float, Field(ge=1)]  # quartile distances from the median, in logarithms
    odd_factor: Annotated[float, Field(ge=1)]  # and times the median, or a part of it: both make a value odd
    min_focus: Annotated[float, Field(ge=0)]  # variance of the Laplacian at patches.mpp; of anything that is tissue
    haematoxylin: Range  # mean optical density of the tissue; likewise
    eosin: Range

    def possible(self, name: str) -> tuple[float, float]:
        """What a statistic can be of any tissue, whatever the cohort."""
        return (self.min_focus, math.inf) if name == "focus" else getattr(self, name)


class CohortGate(LooksGate):
    """What each slide must show before it is cut into patches."""

    min_slides_per_split: Natural  # of train and test; valid may be held out of train
    mpp: Annotated[tuple[Positive, Positive], Ordered]  # um/px at level 0
    min_tissue_area: Annotated[float, Field(ge=0)]  # mm2
    max_more_pen: Share  # of tissue and pen together, beyond what the other slides have


class PatchesGate(LooksGate):
    """What the manifest must show before a classifier is trained on it."""

    min_patches_per_class: Natural  # labelled training patches of every class
    min_slides_per_class: Natural  # in training
    min_patients_per_class: Natural  # in training
    min_judging_patches: Natural  # of every class, in valid and in test
    min_class_truth: Natural  # px, of every class that patches of valid and test are labelled with, in their masks
    min_truth: Share  # of a split's masks that has a class
    min_patches_per_split: Natural
    min_slides_per_split: Natural
    min_patients_per_split: Natural
    max_mpp_error: Share  # of patches.mpp
    max_thin_share: Share  # of the training patches that hold less tissue than patches.min_tissue
    max_odd_share: Share  # of the patches that may be odd in focus, brightness or one of the stains
    brightness: Annotated[tuple[Grey, Grey], Ordered]  # mean grey value of the tissue, 0..255
    max_drift: Annotated[float, Field(ge=0)]  # of valid and test from train: difference of means over spread
    min_kappa: Kappa  # of two readers, in each class
    min_shared: Count  # patches that both have answered, or their kappa says little
    min_self_kappa: Kappa  # of a reader with himself, over the classes
    min_repeats: Count  # patches that he saw twice
    max_suggested: Share  # of a class's labels that are suggestions which were taken as they were


class ClassifierGate(Gate):
    """What the classifier must show on the validation split before CAMs are made with it."""

    min_mean_ap: Share
    min_class_ap: Share
    min_ap_gain: Annotated[float, Field(ge=-1, le=1)]  # of a class's average precision over its prior, which is chance
    min_judged_classes: Natural  # classes that some validation patches hold and others do not
    min_predicted: Share  # of the patches, in which a class is predicted
    max_predicted: Share
    max_calibration_error: Share  # expected difference of probability and frequency, mean over classes
    max_train_gap: Share  # of mean average precision, training over validation patches

    def disagreements(self) -> Faults:
        """Limits between which nothing lies."""
        yield from _empty(self, "min_predicted", "max_predicted")


class PseudoLabelsGate(Gate):
    """What the pseudo-labels must show before a segmenter is trained on them."""

    min_coverage: Share  # of the pixels, mean over patches
    min_patch_coverage: Share  # of the pixels of every patch
    min_agreement: Share  # of the scales' votes, mean over patches
    min_class_share: Share  # of the labelled pixels of the cohort
    max_class_share: Share
    max_unseen_share: Share  # of the patches in which a labelled class has no pixel
    share_ratio: Annotated[tuple[NotNegative, NotNegative], Ordered]  # of a class's shares, pixels to labels
    labelled_again: Natural  # patches, to see that the classifier made these labels
    min_miou: Share  # of the pseudo-labels, in each split that has masks
    min_gain: Annotated[float, Field(ge=-1, le=1)]  # of it over what label sets alone give, in mixed patches

    def disagreements(self) -> Faults:
        """Limits between which nothing lies."""
        yield from _empty(self, "min_class_share", "max_class_share")


class SegmenterGate(Gate):
    """What the segmenter must show on the test split before slides are segmented with it."""

    min_miou: Share
    min_class_iou: Share
    min_predicted_ratio: Share  # of a class's predicted pixels to its true ones
    max_pseudo_label_drop: Share  # of mean IoU below that of the test patches' pseudo-labels, which know the label sets
    max_champion_drop: Share  # of mean IoU below the champion's, on the same test split


class SlidesGate(Gate):
    """How far the products of a segmented slide may disagree with each other."""

    max_area_error: Share  # of polygon areas from areas in the label map, relative
    max_simplified_error: Share  # likewise, of each class by itself, where outlines are simplified
    max_mpp_error: Share  # of the label map's extent in um from the slide's, relative
    max_tissue_error: Share  # of the map's tissue from the slide's tissue mask, share of the slide, or of its region
    max_better_elsewhere: Share  # of the slide's colours that the map explains where it is not, more than where it is
    max_seam: Annotated[float, Field(ge=1)]  # class borders on a line of the window lattice over those on other lines
    min_miou: Share  # of a slide's map, where there is truth


class GateSettings(Section):
    """Thresholds of the gates (see `wsss_mm.gates`)."""

    cohort: CohortGate
    patches: PatchesGate
    classifier: ClassifierGate
    pseudo_labels: PseudoLabelsGate
    segmenter: SegmenterGate
    slides: SlidesGate

    def disagreements(self) -> Faults:
        """Warnings that are no checks of their gate."""
        for gate in type(self).model_fields:
            names = check_names(gate)
            for index, name in enumerate(getattr(self, gate).warnings):
                if name not in names:
                    yield f"{gate}.warnings.{index}", _no_check(gate, name, names)


def _empty(settings: Section, low: str, high: str) -> Faults:
    least, most = getattr(settings, low), getattr(settings, high)
    if least > most:
        yield low, f"{least:g} is above {high} {most:g}: nothing could pass; lower it"


def _no_check(gate: str, name: str, names: tuple[str, ...]) -> str:
    known = suggestion(name, names) or f"; choose from {', '.join(names)}"
    others = [other for other in expected() if other != gate and name in check_names(other)]
    return f"gate {gate} has no check {name[:80]!r}" + (f", which is one of gate {others[0]}" if others else known)
