"""Full supervision where masks are few: k folds over all slides with masks, by slide, beside the weak line on the same.

For cohorts whose masks are those of the validation and test splits. The segmenter's network, start and schedule are
trained, with plain cross-entropy, on the masks of all folds but one, the last weights segment the fold that was left
out, and the pixels of all folds make one confusion matrix. The weak segmenter in models/segmenter is judged on the same
slides; its checkpoint was chosen on those of the validation split. With `--by site` each fold is a site, and each site
is judged by a network that saw none of its slides. Run after `dvc repro evaluate`; a row of JSON is
added to --out, and `python -m studies.tables` makes the table.
"""

import argparse
import logging
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from studies.patches import link_patches
from studies.rows import add_row, read_rows, with_values
from wsss_mm import places
from wsss_mm.errors import InputError
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
    held_out = sites(rows) if arguments.by == "site" else {}
    parts = list(held_out.values()) or folds(rows, vocabulary, arguments.folds)
    done = {(row["cohort"], row["seed"], row.get("by", "slide")) for row in read_rows(arguments.out)}
    for seed in arguments.seeds:
        if (params.cohort.name, seed, arguments.by) in done:
            continue
        run = with_values(params, [*arguments.set, f"seed={seed}", "segmenter.loss=ce"])
        weak = [judge_model(SEGMENTER, rows[rows["slide_id"].isin(held)], vocabulary, params) for held in parts]
        full = [train_and_judge(run, rows, held, vocabulary) for held in parts]
        found = {"cohort": params.cohort.name, "seed": seed, "folds": len(parts), "settings": arguments.set}
        if held_out:
            found |= {"by": "site", "sites": site_figures(held_out, weak, full, vocabulary.codes)}
        metrics = {
            name: segmentation_metrics(np.sum(matrices, axis=0), vocabulary.codes)
            for name, matrices in (("weak", weak), ("full", full))
        }
        add_row(arguments.out, {**found, "slides": rows["slide_id"].nunique(), **metrics})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--out", type=Path, default=places.STUDIES / "folds.jsonl", help="rows of results")
    parser.add_argument("--folds", type=int, default=4, help="how many, by slide")
    parser.add_argument("--by", choices=("slide", "site"), default="slide", help="what is held out: each site in turn")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of training")
    parser.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="like dvc's")
    return parser


def folds(rows: pd.DataFrame, vocabulary: Vocabulary, count: int) -> list[set[str]]:
    """Slides of each fold: those that hold the rarest class are dealt out first, so that every fold can have one."""
    held = pd.DataFrame(rows.groupby("slide_id")[list(vocabulary.codes)].any())
    rarest_first = held.sum().sort_values(kind="stable").index
    order = held.sort_values([*rarest_first], ascending=False, kind="stable").index
    return [set(order[start::count]) for start in range(count)]


def sites(rows: pd.DataFrame) -> dict[str, set[str]]:
    """The slides of each site, which are held out together.

    Raises:
        InputError: a slide has no site, or all are of one.
    """
    of_slide = rows.groupby("slide_id")["site"].first().fillna("")
    if unknown := sorted(of_slide.index[of_slide == ""]):
        raise InputError(f"{PATCHES}: {unknown[0]} has no site; give each slide its own in column site of slides.csv")
    found = {str(site): set(part.index) for site, part in of_slide.groupby(of_slide)}
    if len(found) < 2:
        raise InputError(f"{PATCHES}: all slides with masks are of site {', '.join(found)}; --by site needs two")
    return found


def site_figures(
    names: Iterable[str], weak: Sequence[np.ndarray], full: Sequence[np.ndarray], codes: Sequence[str]
) -> dict[str, dict[str, float | None]]:
    """Of each site the mIoU of the weak segmenter, and of the one that saw nothing of the site."""
    from wsss_mm.evaluation import segmentation_metrics

    return {
        name: {"weak": segmentation_metrics(one, codes)["miou"], "full": segmentation_metrics(other, codes)["miou"]}
        for name, one, other in zip(names, weak, full, strict=True)
    }


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
    from wsss_mm.evaluation.judge import judge_patches
    from wsss_mm.evaluation.predict import predict_patches
    from wsss_mm.inference.runtime import choose_device
    from wsss_mm.models import load_model

    options = params.evaluate
    segmenter, classifier = (load_model(folder, choose_device())[0] for folder in (model, CLASSIFIER))
    found = predict_patches(segmenter, classifier, rows, PATCHES, scales=options.scales, flip=options.flip)
    return judge_patches(found, vocabulary).ungated


if __name__ == "__main__":
    main()
