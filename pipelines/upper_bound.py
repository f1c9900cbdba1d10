"""What full supervision would give: the segmenter's network, start and schedule, trained on true masks.

Outside the default line: `python -m pipelines.upper_bound [--split valid]`, after `dvc repro`. Writes
reports/upper_bound.json. It answers one question, how much the missing outlines cost; nothing else reads it.
"""

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines import LINE
from pipelines.running import run_stage
from wsss_mm import places
from wsss_mm.interrupts import run_program

if TYPE_CHECKING:
    from wsss_mm.settings import Params

PATCHES = places.PATCHES
REPORT = places.UPPER_BOUND


def upper_bound(params: "Params", split: str) -> None:
    """Train on the masks of a split, judge on the test split as stage evaluate does."""
    from wsss_mm.engine import Paths, train_segmenter
    from wsss_mm.evaluation import segmentation_metrics
    from wsss_mm.evaluation.judge import judge_patches
    from wsss_mm.evaluation.predict import predict_patches
    from wsss_mm.files import write_json
    from wsss_mm.inference.runtime import choose_device
    from wsss_mm.models import load_model
    from wsss_mm.patches import read_manifest
    from wsss_mm.vocabulary import get_vocabulary

    vocabulary = get_vocabulary(params.cohort.vocabulary)
    # Masks have no noise to suppress: with the suppressing loss the bound would be lower than it is.
    clean = params.model_copy(update={"segmenter": params.segmenter.model_copy(update={"loss": "ce"})})
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "segmenter"
        paths = Paths(patches=PATCHES, out=out, curves=out / places.CURVES)
        train_segmenter(clean, paths, target="masks", split=split, stage=f"upper_bound_{split}")
        segmenter, _ = load_model(out, choose_device())
    classifier, _ = load_model(places.CLASSIFIER, choose_device())
    frame = read_manifest(PATCHES, vocabulary)
    rows = frame[(frame["split"] == "test") & frame["mask_path"].notna()]
    options = params.evaluate
    predictions = predict_patches(segmenter, classifier, rows, PATCHES, scales=options.scales, flip=options.flip)
    metrics = segmentation_metrics(judge_patches(predictions, vocabulary).ungated, vocabulary.codes)
    write_json(REPORT, {"trained_on": f"masks of split {split}", "patches": len(rows), **metrics})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=("train", "valid"), default="train", help="whose masks (default: train)")
    arguments = parser.parse_args()
    run_program(lambda: run_stage(lambda params: upper_bound(params, arguments.split)), LINE)
