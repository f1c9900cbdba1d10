"""Stage train_segmenter: PSPNet on ResNet38, trained on pseudo-labels with online noise suppression."""

import runpy
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsss_mm.settings import Params
    from wsss_mm.tracking.tracker import Tracker

OUT = Path("models/segmenter")
PATCHES, PSEUDO_LABELS, CLASSIFIER = Path("data/patches"), Path("data/pseudo_labels"), Path("models/classifier")


def main(params: "Params", tracker: "Tracker") -> None:
    """Train; the metrics are those of the validation masks, which choose the weights to keep and train nothing."""
    from wsss_mm.engine import Paths, join_processes, train_segmenter
    from wsss_mm.formats import write_object
    from wsss_mm.places import FIGURES

    paths = Paths(
        patches=PATCHES,
        out=OUT,
        curves=Path("reports/plots/segmenter_curves.csv"),
        pseudo_labels=PSEUDO_LABELS,
        classifier=CLASSIFIER,
    )
    if join_processes() > 0:
        train_segmenter(params, paths)  # the first process writes and tracks
        return
    sections = {"seed": params.seed, "vocabulary": params.cohort.vocabulary, "segmenter": params.segmenter}
    inputs = [PATCHES, PSEUDO_LABELS, CLASSIFIER, *params.segmenter.begins_with()]
    with tracker.training("train_segmenter", sections, inputs, weights=OUT / "weights.pth"):
        metrics = train_segmenter(params, paths)
        write_object("reports/metrics/segmenter.json", FIGURES, metrics)


if __name__ == "__main__":
    runpy.run_module("pipelines", run_name="__main__")
