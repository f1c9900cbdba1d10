"""Faults of models and pseudo-labels."""

import numpy as np

from tests.gates.harm import (
    CLASSIFIER,
    CONFUSION,
    LABELS,
    MODEL,
    TEST,
    Fault,
    cells,
    collapsed,
    content,
    cut_short,
    full,
    gone,
    label_file,
    never_predicted,
    rarely,
    table,
    thin_label_files,
    unseen,
    written,
)
from tests.gates.project import CODES, SIZE
from wsss_mm.patches.vocabulary import IGNORE

CLASSIFIER_FAULTS = [
    Fault("the metrics are gone", "classifier", "readable", gone(CLASSIFIER)),
    Fault("a class has no prior", "classifier", "readable", content(CLASSIFIER, lambda m: m.pop("prior.LYM") and None)),
    Fault(
        "it was trained on other patches",
        "classifier",
        "trained_on_gated_patches",
        content(MODEL, lambda m: m | {"patches": "0" * 64}),
    ),
    Fault("it is bad on the whole", "classifier", "mean_ap", content(CLASSIFIER, lambda m: m | {"mean_ap": 0.66})),
    Fault(
        "nothing was measured",
        "classifier",
        "mean_ap",
        content(CLASSIFIER, lambda m: m | {"mean_ap": None}),
        ("train_gap",),
    ),
    Fault(
        "it is bad at a class",
        "classifier",
        "class_ap",
        content(CLASSIFIER, lambda m: m | {"ap.NEC": 0.25, "prior.NEC": 0.1}),
    ),
    Fault(
        "it is no better than chance",
        "classifier",
        "better_than_chance",
        content(CLASSIFIER, lambda m: m | {"ap.NEC": 0.42}),
    ),
    Fault(
        "it never predicts a class",
        "classifier",
        "predicted_in_some",
        content(CLASSIFIER, lambda m: m | {"predicted_positive.NEC": 0.0}),
    ),
    Fault(
        "it always predicts a class",
        "classifier",
        "not_predicted_in_all",
        content(CLASSIFIER, lambda m: m | {"predicted_positive.NEC": 1.0}),
    ),
    Fault(
        "its probabilities mean nothing",
        "classifier",
        "calibration",
        content(CLASSIFIER, lambda m: m | {"calibration_error": 0.4}),
    ),
    Fault(
        "it learnt by heart",
        "classifier",
        "train_gap",
        content(CLASSIFIER, lambda m: m | {"mean_ap": 0.7, "train": {"mean_ap": 1.0 + 1e-3}}),
    ),
    Fault(
        "no class can be judged",
        "classifier",
        "some_class_is_judged",
        content(CLASSIFIER, lambda m: m | {f"ap.{code}": None for code in CODES}),
    ),
]

LABEL_FAULTS = [
    Fault("the manifest of labels is gone", "pseudo_labels", "readable", gone(LABELS)),
    Fault("a patch has no pseudo-label", "pseudo_labels", "one_per_patch", table(LABELS, lambda t: t.drop(index=3))),
    Fault(
        "a pseudo-label is of a test patch",
        "pseudo_labels",
        "training_patches_only",
        cells(LABELS, "train-00", patch_id="test-00"),
        ("*",),
    ),
    Fault("a label file is gone", "pseudo_labels", "files_exist", gone("data/pseudo_labels/labels/train-02.png")),
    Fault(
        "a label file is truncated",
        "pseudo_labels",
        "files_readable",
        cut_short("data/pseudo_labels/labels/train-02.png"),
    ),
    Fault(
        "a label file is smaller than its patch",
        "pseudo_labels",
        "size_of_the_patch",
        label_file(
            "train-02", np.where(np.arange(40)[:, None] < 30, np.repeat([0, 2], 20)[None, :], IGNORE).astype(np.uint8)
        ),
        ("*",),
    ),
    Fault(
        "a label file holds a class its patch lacks",
        "pseudo_labels",
        "pixels_of_the_label_set",
        label_file(
            "train-00",
            np.where(np.arange(SIZE)[:, None] < 36, 3, IGNORE).astype(np.uint8) * np.ones((1, SIZE), np.uint8),
        ),
    ),
    Fault(
        "the manifest gives a class its patch lacks",
        "pseudo_labels",
        "label_set_only",
        cells(LABELS, "train-00", share_TE=0.65, share_NEC=0.1),
    ),
    Fault(
        "a label file is not what the manifest says",
        "pseudo_labels",
        "coverage_of_the_file",
        label_file("train-00", full(0)),
    ),
    Fault("shares do not add up", "pseudo_labels", "shares_make_coverage", cells(LABELS, "train-00", share_TE=0.7)),
    Fault(
        "a patch is all background",
        "pseudo_labels",
        "patch_coverage",
        lambda root: (
            label_file("train-00", full(IGNORE))(root),
            cells(LABELS, "train-00", coverage=0.0, share_TE=0.0)(root),
        ),
        ("labelled_classes_seen",),
    ),
    Fault("tissue is taken for background", "pseudo_labels", "mean_coverage", thin_label_files),
    Fault("a labelled class has no pixel in its patch", "pseudo_labels", "labelled_classes_seen", unseen),
    Fault("scales do not agree", "pseudo_labels", "agreement", table(LABELS, lambda t: t.assign(agreement=0.5))),
    Fault("a class is hardly found", "pseudo_labels", "shares_follow_labels", rarely, ("*",)),
    Fault("everything is one class", "pseudo_labels", "no_class_takes_all", collapsed, ("*",)),
]

SEGMENTER_FAULTS = [
    Fault("the test metrics are no JSON", "segmenter", "readable", written(TEST, b"{")),
    Fault(
        "it was judged on other patches",
        "segmenter",
        "judged_on_gated_split",
        content(TEST, lambda m: m | {"test_split": "0" * 64}),
    ),
    Fault(
        "its mean IoU is low",
        "segmenter",
        "miou",
        content(TEST, lambda m: m["ungated"].update(miou=0.4)),
        ("pseudo_labels",),
    ),
    Fault(
        "it is good only when gated",
        "segmenter",
        "miou",
        content(TEST, lambda m: {**m, "gated": dict(m["ungated"]), "ungated": m["ungated"] | {"miou": 0.4}}),
        ("pseudo_labels",),
    ),
    Fault("a class is bad", "segmenter", "class_iou", content(TEST, lambda m: m["ungated"].update({"iou.TAS": 0.1}))),
    Fault(
        "only one class can be judged",
        "segmenter",
        "two_classes_are_judged",
        content(TEST, lambda m: m["ungated"].update({f"iou.{code}": None for code in CODES[1:]})),
    ),
    Fault(
        "it is worse than what it learnt from",
        "segmenter",
        "pseudo_labels",
        content("reports/metrics/pseudo_labels.json", lambda m: {"test": {"miou": 0.95}}),
    ),
    Fault("it never says a class", "segmenter", "no_class_collapsed", table(CONFUSION, never_predicted)),
    Fault(
        "it is worse than the champion",
        "segmenter",
        "champion",
        content(TEST, lambda m: m["ungated"].update(miou=0.79)),
        champion={"miou": 0.85},
    ),
]
