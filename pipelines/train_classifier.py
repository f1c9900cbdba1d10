"""Stage train_classifier: ResNet38 with progressive dropout attention, from patch labels alone."""

from pathlib import Path

from pipelines import run_stage
from wsss_mm.settings import Params

OUT = Path("models/classifier")
PATCHES = Path("data/patches")


def main(params: Params) -> None:
    """Train, then judge the classifier on the validation split."""
    import mlflow

    from wsss_mm.engine import Paths, classifier_scores, join_processes, train_classifier
    from wsss_mm.evaluation import multilabel_metrics
    from wsss_mm.evaluation.figures import precision_recall_figure
    from wsss_mm.files import write_json
    from wsss_mm.gates import gate_tags
    from wsss_mm.outage import send
    from wsss_mm.patches import get_vocabulary
    from wsss_mm.tracking import tag_weights, training_run

    paths = Paths(patches=PATCHES, out=OUT, curves=Path("reports/plots/classifier_curves.csv"))
    if join_processes() > 0:
        train_classifier(params, paths)  # the first process writes and tracks
        return
    sections = {"seed": params.seed, "vocabulary": params.cohort.vocabulary, "classifier": params.classifier}
    with training_run("train_classifier", sections, [PATCHES], tags=gate_tags(Path(), ("cohort", "patches"))):
        train_classifier(params, paths)
        truth, scores = classifier_scores(OUT, PATCHES, split="valid", threads=params.threads)
        vocabulary = get_vocabulary(params.cohort.vocabulary)
        metrics = {**multilabel_metrics(truth, scores, vocabulary.codes), "n": len(truth)}
        known = classifier_scores(OUT, PATCHES, split="train", limit=len(truth), threads=params.threads)
        known_ap = multilabel_metrics(*known, vocabulary.codes)["mean_ap"]
        metrics["train"] = {"mean_ap": known_ap, "n": len(known[0])}
        write_json("reports/metrics/classifier.json", metrics)
        figure = precision_recall_figure(truth, scores, vocabulary)
        send(mlflow.log_figure, figure, "figures/valid_precision_recall.png")
        tag_weights(OUT / "weights.pth")


if __name__ == "__main__":
    run_stage(main)
