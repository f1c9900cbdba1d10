"""Full supervision where masks are few: k folds over all slides with masks, by slide, beside the weak line on the same.

For cohorts whose masks are those of the validation and test splits. The segmenter's network, start and schedule are
trained, with plain cross-entropy, on the masks of all folds but one, the last weights segment the fold that was left
out, and the pixels of all folds make one confusion matrix. The weak segmenter in models/segmenter is judged on the same
slides; its checkpoint was chosen on those of the validation split. Run after `dvc repro evaluate`; a row of JSON is
added to --out, and `python -m studies.tables` makes the table.
"""

import argparse
import logging
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from studies.patches import link_patches
from studies.rows import add_row, read_rows, with_values
from wsss_mm import places
from wsss_mm.patches import read_manifest
from wsss_mm.settings import Params, load_params
from wsss_mm.vocabulary import Vocabulary, get_vocabulary

PATCHES, SEGMENTER, CLASSIFIER = places.PATCHES, places.SEGMENTER, places.CLASSIFIER


def main() -> None:
    """Judge the weak segmenter and train the folds of every seed that has no row yet."""
    from wsss_mm.evaluation import segmentation_metrics

    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.WARNING)
    params = load_params()
    vocabulary = get_vocabulary(params.cohort.vocabulary)
    frame = read_manifest(PATCHES, vocabulary)
    rows = frame[frame["mask_path"].notna() & (frame["split"] != "train")]
    done = {(row["cohort"], row["seed"]) for row in read_rows(arguments.out)}
    for seed in arguments.seeds:
        if (params.cohort.name, seed) in done:
            continue
        run = with_values(params, [*arguments.set, f"seed={seed}", "segmenter.loss=ce"])
        weak = judge_model(SEGMENTER, rows, vocabulary, params)
        full = np.zeros_like(weak)
        for held in folds(rows, vocabulary, arguments.folds):
            full += train_and_judge(run, rows, held, vocabulary)
        metrics = {
            name: segmentation_metrics(matrix, vocabulary.codes) for name, matrix in (("weak", weak), ("full", full))
        }
        found = {"cohort": params.cohort.name, "seed": seed, "folds": arguments.folds, "settings": arguments.set}
        add_row(arguments.out, {**found, "slides": rows["slide_id"].nunique(), **metrics})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--out", type=Path, default=places.STUDIES / "folds.jsonl", help="rows of results")
    parser.add_argument("--folds", type=int, default=4, help="how many")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of training")
    parser.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="like dvc's")
    return parser


def folds(rows: pd.DataFrame, vocabulary: Vocabulary, count: int) -> list[set[str]]:
    """Slides of each fold: those that hold the rarest class are dealt out first, so that every fold can have one."""
    held = pd.DataFrame(rows.groupby("slide_id")[list(vocabulary.codes)].any())
    rarest_first = held.sum().sort_values(kind="stable").index
    order = held.sort_values([*rarest_first], ascending=False, kind="stable").index
    return [set(order[start::count]) for start in range(count)]


def train_and_judge(params: Params, rows: pd.DataFrame, held: set[str], vocabulary: Vocabulary) -> np.ndarray:
    """Train on the slides that are not held out; the (C, C) confusion matrix of those that are."""
    from wsss_mm.engine import Paths, train_segmenter

    params = with_values(params, [f"segmenter.val_interval={params.segmenter.iterations}"])  # no checkpoint is chosen
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "segmenter"
        outside = rows["slide_id"].isin(held)
        split = rows.assign(split=np.where(outside, "valid", "train"))
        folder = link_patches(split, PATCHES, Path(scratch) / "patches")
        paths = Paths(patches=folder, out=out, curves=out / places.CURVES, classifier=CLASSIFIER)
        train_segmenter(params, paths, target="masks", stage="folds")
        return judge_model(out, rows[outside], vocabulary, params)


def judge_model(model: Path, rows: pd.DataFrame, vocabulary: Vocabulary, params: Params) -> np.ndarray:
    """The (C, C) confusion matrix of a segmenter on manifest rows, with the test-time augmentation of the line."""
    from wsss_mm.evaluation.judge import judge
    from wsss_mm.evaluation.predict import predict_patches
    from wsss_mm.inference.runtime import choose_device
    from wsss_mm.models import load_model

    options = params.evaluate
    segmenter, classifier = (load_model(folder, choose_device())[0] for folder in (model, CLASSIFIER))
    found = predict_patches(segmenter, classifier, rows, PATCHES, scales=options.scales, flip=options.flip)
    return judge(found, vocabulary).ungated


if __name__ == "__main__":
    main()
