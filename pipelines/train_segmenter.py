"""Stage train_segmenter: An encoder with a decoder, trained on pseudo-labels with online noise suppression."""

import runpy
from typing import TYPE_CHECKING

from wsss_mm import places

if TYPE_CHECKING:
    from wsss_mm.settings import Params
    from wsss_mm.tracking.tracker import Tracker

OUT = places.SEGMENTER
PATCHES, PSEUDO_LABELS, CLASSIFIER = places.PATCHES, places.PSEUDO_LABELS, places.CLASSIFIER


def main(params: "Params", tracker: "Tracker") -> None:
    """Train; the metrics are those of the validation masks, which choose the weights to keep and train nothing."""
    from wsss_mm.engine import Paths, join_processes, train_segmenter
    from wsss_mm.formats import write_object
    from wsss_mm.places import FIGURES

    paths = Paths(
        patches=PATCHES,
        out=OUT,
        curves=places.SEGMENTER_CURVES,
        pseudo_labels=PSEUDO_LABELS,
        classifier=CLASSIFIER,
    )
    if join_processes() > 0:
        train_segmenter(params, paths)  # the first process writes and tracks
        return
    sections = {"seed": params.seed, "vocabulary": params.cohort.vocabulary, "segmenter": params.segmenter}
    inputs = [PATCHES, PSEUDO_LABELS, CLASSIFIER, *params.segmenter.begins_with()]
    with tracker.training("train_segmenter", sections, inputs, weights=OUT / places.WEIGHTS):
        metrics = train_segmenter(params, paths)
        write_object(places.SEGMENTER_METRICS, FIGURES, metrics)


if __name__ == "__main__":
    runpy.run_module("pipelines", run_name="__main__")
