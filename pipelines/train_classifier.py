"""Stage train_classifier: An encoder with progressive dropout attention, from patch labels alone."""

import runpy
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wsss_mm import places

if TYPE_CHECKING:
    import pandas as pd

    from wsss_mm.settings import Params
    from wsss_mm.tracking.tracker import Tracker

OUT = places.CLASSIFIER
PATCHES = places.PATCHES
METRICS, SCORES = places.CLASSIFIER_METRICS, places.CLASSIFIER_SCORES


def main(params: "Params", tracker: "Tracker") -> None:
    """Train, then judge the classifier on the validation split."""
    import pandas as pd

    from wsss_mm.engine import Paths, classifier_features, classifier_scores, join_processes, train_classifiers
    from wsss_mm.evaluation.figures import precision_recall_figure, sites_figure
    from wsss_mm.evaluation.sites import probed_rows, site_readability
    from wsss_mm.patches import read_manifest
    from wsss_mm.patches.manifest import known_mask
    from wsss_mm.vocabulary import get_vocabulary

    paths = Paths(patches=PATCHES, out=OUT, curves=places.CLASSIFIER_CURVES)
    if join_processes() > 0:
        train_classifiers(params, paths)  # the first process writes and tracks
        return
    sections = {"seed": params.seed, "vocabulary": params.cohort.vocabulary, "classifier": params.classifier}
    gates = ("cohort", "patches")
    inputs = [PATCHES, *params.classifier.begins_with()]
    with tracker.training("train_classifier", sections, inputs, weights=OUT / places.WEIGHTS, gates=gates):
        _, *others = train_classifiers(params, paths)
        for number, metrics in enumerate(others, 1):
            tracker.metrics({f"member_{number}.{name}": value for name, value in metrics.items()})
        vocabulary = get_vocabulary(params.cohort.vocabulary)
        manifest, codes = read_manifest(PATCHES, vocabulary), list(vocabulary.codes)
        scores = classifier_scores(OUT, PATCHES, split="valid", threads=params.threads)
        known = classifier_scores(OUT, PATCHES, split="train", limit=len(scores), threads=params.threads)
        write_reports(pd.concat([scores, known]), manifest, codes)
        judged = manifest.set_index("patch_id").loc[scores["patch_id"]]
        truth, known = judged[codes].to_numpy(bool), known_mask(judged, codes)
        figure = precision_recall_figure(truth, scores[codes].to_numpy(), vocabulary, known)
        tracker.figure(figure, "figures/valid_precision_recall.png")
        if len(probed := probed_rows(manifest)):
            seen = classifier_features(OUT, PATCHES, probed, threads=params.threads)
            tracker.figure(sites_figure(site_readability(probed, seen, codes), vocabulary), places.SITES_FIGURE)


def write_reports(scores: "pd.DataFrame", manifest: "pd.DataFrame", codes: Sequence[str]) -> None:
    """Write each patch's probabilities and the figures that follow from them, see `classifier_metrics`."""
    from wsss_mm.evaluation.multilabel import classifier_metrics
    from wsss_mm.evaluation.tables import write_plot
    from wsss_mm.files import digest
    from wsss_mm.formats import write_object
    from wsss_mm.places import FIGURES

    write_plot(scores, SCORES, float_format="%.9g")  # which tells float32 apart: ranks stay as they are
    metrics = classifier_metrics(scores, manifest, codes)
    write_object(METRICS, FIGURES, metrics | {"weights_md5": digest(OUT / places.WEIGHTS, "md5")})


if __name__ == "__main__":
    runpy.run_module("pipelines", run_name="__main__")
