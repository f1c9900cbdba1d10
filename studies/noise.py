"""Noise study: true masks are spoiled, the segmenter is trained on them, and the untouched test masks judge it.

Run after `dvc repro gate@classifier`, with the phantom cohort in params.yaml. One row of JSON a run is added to
--out; runs that are there are skipped, so a study that was stopped goes on where it was. `python -m studies.tables`
makes the table.
"""

import argparse
import logging
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
from tqdm import tqdm

from studies.corruption import Kind, corrupt
from studies.patches import link_patches
from studies.rows import add_row, read_rows, with_values
from wsss_mm import places
from wsss_mm.patches import read_manifest
from wsss_mm.patches.images import read_image, read_mask
from wsss_mm.settings import Params, load_params
from wsss_mm.vocabulary import IGNORE, get_vocabulary

PATCHES = places.PATCHES
_KINDS = get_args(Kind)
SMALL = ("segmenter.iterations=200", "segmenter.crop=112", "segmenter.precision=bf16")


def main() -> None:
    """Train and judge every combination that has no row yet."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.WARNING)
    params = with_values(load_params(), [*SMALL, *arguments.set])
    done = {(row["kind"], row["level"], row["loss"], row["seed"]) for row in read_rows(arguments.out)}
    # Seeds outermost: a study that is stopped holds whole tables of fewer seeds.
    for seed, level, kind in product(arguments.seeds, arguments.levels, arguments.kinds):
        if level == 0 and kind != arguments.kinds[0]:
            continue  # clean masks are the same for every kind
        name = "none" if level == 0 else kind
        missing = [loss for loss in arguments.losses if (name, level, loss, seed) not in done]
        if not missing:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            wrong = write_spoiled(params, Path(scratch) / "labels", kind=kind, level=level, seed=seed)
            for loss in missing:
                metrics = train_and_judge(params, Path(scratch), loss=loss, seed=seed)
                run = {"kind": name, "level": level, "loss": loss, "seed": seed, "wrong": wrong}
                add_row(arguments.out, {**run, "settings": [*SMALL, *arguments.set], **metrics})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--out", type=Path, default=places.STUDIES / "noise.jsonl", help="rows of results")
    parser.add_argument("--levels", type=float, nargs="+", default=[0, 0.2, 0.4, 0.6], help="share of wrong pixels")
    parser.add_argument("--kinds", nargs="+", choices=_KINDS, default=[*_KINDS], help="how masks are spoiled")
    parser.add_argument("--losses", nargs="+", default=["ce", "onss", "onss_margin"], help="segmenter.loss")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of noise and training")
    parser.add_argument(
        "-S", "--set", action="append", default=[], metavar="KEY=VALUE", help=f"like dvc's; on top of {' '.join(SMALL)}"
    )
    return parser


def write_spoiled(params: Params, folder: Path, *, kind: Kind, level: float, seed: int) -> float:
    """Write spoiled masks of the training patches as a folder of pseudo-labels; give the share of wrong pixels."""
    from wsss_mm.cam.store import LabelledPatch, write_pseudo_labels

    vocabulary = get_vocabulary(params.cohort.vocabulary)
    frame = read_manifest(PATCHES, vocabulary)
    rows = frame[(frame["split"] == "train") & frame["mask_path"].notna()]
    counts = np.zeros(2, dtype=np.int64)

    def patches() -> Iterator[LabelledPatch]:
        for number, (_, row) in enumerate(rows.iterrows()):
            truth = read_mask(PATCHES / row["mask_path"], len(vocabulary))
            rng = np.random.default_rng((seed, number))
            labels = corrupt(truth, level, kind, len(vocabulary), rng)
            counts[:] += ((labels != truth).sum(), (truth != IGNORE).sum())
            yield LabelledPatch(row, read_image(PATCHES / row["path"]), labels, 1.0)

    shown = tqdm(patches(), total=len(rows), desc=f"{kind} {level:.0%}", unit="mask")
    write_pseudo_labels(iter(shown), folder, vocabulary)
    return float(counts[0] / counts[1])


def train_and_judge(params: Params, scratch: Path, *, loss: str, seed: int) -> dict[str, Any]:
    """Train on the spoiled masks, without a validation; give the test metrics of the last weights."""
    from wsss_mm.engine import Paths, train_segmenter
    from wsss_mm.evaluation import segmentation_metrics
    from wsss_mm.evaluation.judge import judge_patches
    from wsss_mm.evaluation.predict import predict_patches
    from wsss_mm.inference.runtime import choose_device
    from wsss_mm.models import load_model

    vocabulary = get_vocabulary(params.cohort.vocabulary)
    frame = read_manifest(PATCHES, vocabulary)
    patches, out = scratch / "patches", scratch / "segmenter"
    if not patches.exists():
        link_patches(frame[frame["split"] == "train"], PATCHES, patches)
    paths = Paths(patches=patches, out=out, curves=out / places.CURVES, pseudo_labels=scratch / "labels")
    train_segmenter(with_values(params, [f"seed={seed}", f"segmenter.loss={loss}"]), paths, stage="noise_study")
    segmenter, classifier = (load_model(folder, choose_device())[0] for folder in (out, paths.classifier))
    rows = frame[(frame["split"] == "test") & frame["mask_path"].notna()]
    found = judge_patches(predict_patches(segmenter, classifier, rows, PATCHES, flip=False), vocabulary)
    return segmentation_metrics(found.ungated, vocabulary.codes)


if __name__ == "__main__":
    main()
