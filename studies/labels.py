"""How many labels are enough, and what is it worth in which order they are made, and to look at doubtful ones again?

Run after `dvc repro gate@patches`; the labels that are there are the oracle. Two parts:

order: patches are labelled in batches, at random, useful first or clusters first, and the line is trained on 50, 100,
    200, ... of them.
spoiled: all patches are labelled, each class of each patch wrongly with a chance of 5, 10, 20 %. Then the most doubtful
    labels are corrected by the oracle (`reviewed`), or taken as unsure without asking anybody (`unsure`).

--until says how far the line goes: `probe` (a linear probe on colour and texture: seconds), `classifier` (the patch
classifier, and the pseudo-labels it makes for test patches), `segmenter` (the whole line: hours). A row of JSON a run
is added to --out; runs that are there are skipped. `python -m studies.tables` makes the tables, `python -m
studies.pictures` the plot.
"""

import argparse
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from studies.looks import looks_of
from studies.patches import link_patches
from studies.rows import add_row, read_rows, with_values
from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.patches import read_manifest
from wsss_mm.patches.manifest import manifest_columns
from wsss_mm.sampling import probe
from wsss_mm.sampling.curve import average_precisions
from wsss_mm.sampling.doubtful import doubtful
from wsss_mm.sampling.order import clusters_order, random_order, useful_order
from wsss_mm.settings import Params, load_params
from wsss_mm.vocabulary import Vocabulary, get_vocabulary

PATCHES = places.PATCHES
ORDERS = ("random", "useful", "clusters")
ARMS = ("as they are", "reviewed", "unsure")
DEPTHS = ("probe", "classifier", "segmenter")


@dataclass(frozen=True)
class Oracle:
    """The training patches that can be labelled, what they hold and look like; and the patches that judge.

    Attributes:
        rows: N training rows of the manifest.
        states: (N, C) int8, present or absent.
        looks: (N, D).
        judged: rows of the validation and test splits.
        judged_looks: their looks.
        vocabulary: the classes.
    """

    rows: pd.DataFrame
    states: probe.States
    looks: npt.NDArray[np.float32]
    judged: pd.DataFrame
    judged_looks: npt.NDArray[np.float32]
    vocabulary: Vocabulary

    @classmethod
    def read(cls, vocabulary: Vocabulary) -> "Oracle":
        """What the line's manifest says."""
        frame = read_manifest(PATCHES, vocabulary)
        rows = frame[frame["split"] == "train"].reset_index(drop=True)
        judged = frame[frame["split"] != "train"].reset_index(drop=True)
        states = rows[list(vocabulary.codes)].to_numpy(np.int8)
        return cls(rows, states, looks_of(rows, PATCHES), judged, looks_of(judged, PATCHES), vocabulary)

    @property
    def candidates(self) -> pd.DataFrame:
        """The training patches as candidates."""
        return self.rows[["slide_id", "site"]]


def main() -> None:
    """Run everything that has no row yet."""
    parser = _parser()
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    params = load_params()
    oracle = Oracle.read(get_vocabulary(params.cohort.vocabulary))
    given = [*arguments.set, *([f"steps={arguments.steps}"] if arguments.steps else [])]
    done = {_key(row): row["settings"] for row in read_rows(arguments.out)}
    for seed in arguments.seeds:
        for run in _runs(arguments, len(oracle.rows)):
            row = {"cohort": params.cohort.name, "until": arguments.until, "seed": seed, **run}
            if (settings := done.get(_key(row))) is not None:
                if settings != given:
                    parser.error(f"{arguments.out}: has this run with {settings or 'no settings'}; change --out")
                continue
            states, extra = labels_of(oracle, run, seed, arguments)
            values = [*arguments.set, f"seed={seed}", *_steps(params, states, arguments)]
            found = learned(oracle, states, with_values(params, values), arguments.until)
            add_row(arguments.out, {**row, "settings": given, **extra, **found})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=places.STUDIES / "labels.jsonl", help="(default: %(default)s)")
    parser.add_argument("--until", choices=DEPTHS, default="segmenter", help="how far the line goes (%(default)s)")
    parser.add_argument("--parts", nargs="+", choices=("order", "spoiled"), default=["order", "spoiled"])
    parser.add_argument("--orders", nargs="+", choices=ORDERS, default=[*ORDERS])
    parser.add_argument("--labels", type=int, nargs="+", default=[50, 100, 200, 400], help="patches; all come last")
    parser.add_argument("--batch", type=int, default=25, help="patches between two orders (%(default)s)")
    parser.add_argument("--levels", type=float, nargs="+", default=[0.05, 0.1, 0.2], help="chance of a wrong label")
    parser.add_argument("--review", type=float, default=0.1, help="share of the labels looked at again (%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of order, faults and training")
    parser.add_argument(
        "--steps", type=int, help="steps of the classifier, however many labels; as many epochs without"
    )
    parser.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="like dvc's")
    return parser


def _runs(arguments: argparse.Namespace, patches: int) -> Iterator[dict[str, Any]]:
    """What tells runs apart, beside the seed."""
    if "order" in arguments.parts:
        for labels in sorted({count for count in arguments.labels if count < patches}):
            for order in arguments.orders:
                yield {"part": "order", "order": order, "labels": labels}
        yield {"part": "order", "order": "all", "labels": patches}
    if "spoiled" in arguments.parts:
        for level in arguments.levels:
            for arm in ARMS:
                yield {"part": "spoiled", "level": level, "arm": arm}


def _key(row: dict[str, Any]) -> tuple:
    return tuple(row.get(name) for name in ("cohort", "until", "seed", "part", "order", "labels", "level", "arm"))


def _steps(params: Params, states: probe.States, arguments: argparse.Namespace) -> list[str]:
    """Epochs that make up the steps asked for."""
    if not arguments.steps:
        return []
    labels = int((states != probe.UNKNOWN).any(axis=1).sum())
    return [f"classifier.epochs={max(1, round(arguments.steps * params.classifier.batch_size / labels))}"]


def labels_of(
    oracle: Oracle, run: dict[str, Any], seed: int, arguments: argparse.Namespace
) -> tuple[probe.States, dict[str, Any]]:
    """The labels of a run, (N, C), unknown where a patch is not labelled; and what is to be said of them."""
    if run["part"] == "order":
        rows = ordered(oracle, run["order"], run["labels"], seed, arguments.batch)
        states = np.full_like(oracle.states, probe.UNKNOWN)
        states[rows] = oracle.states[rows]
        present = (states == probe.PRESENT).sum(axis=0)
        return states, {"present": dict(zip(oracle.vocabulary.codes, present.tolist(), strict=True))}
    spoiled = spoil(oracle.states, run["level"], seed)
    states, looked_at = reviewed(oracle, spoiled, run["arm"], arguments.review, seed)
    wrong = (states != oracle.states) & (states != probe.UNKNOWN)
    return states, {"wrong": float(wrong.mean()), "unknown": float((states == probe.UNKNOWN).mean()), **looked_at}


def ordered(oracle: Oracle, order: str, labels: int, seed: int, batch: int) -> list[int]:
    """The first patches of an order, which is found anew after each batch of labels."""
    if order == "all":
        return list(range(len(oracle.rows)))
    if order == "random":
        return random_order(len(oracle.rows), seed)[:labels].tolist()
    rows: list[int] = []
    while len(rows) < min(labels, len(oracle.rows)):
        count = min(batch, labels - len(rows))
        if order == "clusters":
            picks = clusters_order(oracle.looks, oracle.candidates, rows, count, seed)
        else:
            states = np.full_like(oracle.states, probe.UNKNOWN)
            states[rows] = oracle.states[rows]
            picks = useful_order(oracle.looks, None, oracle.candidates, rows, count, seed, states=states)
        rows += [pick.row for pick in picks]
    return rows


def spoil(states: probe.States, level: float, seed: int) -> probe.States:
    """Labels of which each is wrong with a chance of `level`. A higher level spoils what a lower one does, and more."""
    wrong = np.random.default_rng((seed, 7)).random(states.shape) < level
    return np.where(wrong, 1 - states, states).astype(np.int8)


def reviewed(
    oracle: Oracle, states: probe.States, arm: str, share: float, seed: int
) -> tuple[probe.States, dict[str, Any]]:
    """What becomes of the most doubtful `share` of the labels, and how many of these were wrong."""
    if arm == "as they are":
        return states, {}
    found = doubtful(oracle.looks, states, oracle.rows["slide_id"], seed).head(round(share * states.size))
    places_of = found["row"].to_numpy(), found["column"].to_numpy()
    changed = states.copy()
    changed[places_of] = oracle.states[places_of] if arm == "reviewed" else probe.UNKNOWN
    hits = states[places_of] != oracle.states[places_of]
    return changed, {"looked_at": len(found), "were_wrong": int(hits.sum()), "wrong_first_50": int(hits[:50].sum())}


def learned(oracle: Oracle, states: probe.States, params: Params, until: str) -> dict[str, Any]:
    """Figures of what was trained on the labels, validation and test."""
    found = probe_metrics(oracle, states)
    if until == "probe":
        return found
    with tempfile.TemporaryDirectory() as scratch:
        return {**found, **line_metrics(oracle, states, params, Path(scratch), segmenter=until == "segmenter")}


def probe_metrics(oracle: Oracle, states: probe.States) -> dict[str, float]:
    """Mean average precision of a linear probe on looks, by split."""
    points = probe.probe_space(np.vstack([oracle.looks, oracle.judged_looks]))
    rows = (states != probe.UNKNOWN).any(axis=1)
    weights = probe.fit_probe(points[: len(rows)][rows], states[rows])
    scores = probe.probabilities(points[len(rows) :], weights)
    truth = oracle.judged[list(oracle.vocabulary.codes)].to_numpy(np.int8)
    found = {}
    for split in ("valid", "test"):
        own = (oracle.judged["split"] == split).to_numpy()
        each = average_precisions(truth[own], scores[own])
        found |= {f"probe_ap.{split}.{code}": value for code, value in zip(oracle.vocabulary.codes, each, strict=True)}
        found[f"probe_ap.{split}"] = float(np.nanmean(each))
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def line_metrics(
    oracle: Oracle, states: probe.States, params: Params, scratch: Path, *, segmenter: bool
) -> dict[str, Any]:
    """Train the line on the labels: the classifier, its pseudo-labels and, where asked for, the segmenter."""
    from wsss_mm.cam import PseudoLabeller
    from wsss_mm.cam.store import label_patches, made_by, write_pseudo_labels
    from wsss_mm.engine import Paths, train_classifiers, train_segmenter
    from wsss_mm.evaluation import segmentation_metrics
    from wsss_mm.evaluation.judge import judge_patches
    from wsss_mm.evaluation.predict import predict_patches
    from wsss_mm.inference.runtime import choose_device, prepare_torch
    from wsss_mm.models import load_model
    from wsss_mm.models.members import load_classifiers

    vocabulary = oracle.vocabulary
    prepare_torch(params.threads)
    rows = pd.concat([with_states(oracle.rows, states, vocabulary), oracle.judged])
    folder = link_patches(rows, PATCHES, scratch / "patches")
    paths = Paths(
        patches=folder,
        out=scratch / "classifier",
        curves=scratch / "classifier.csv",
        pseudo_labels=scratch / "labels",
        classifier=scratch / "classifier",
        work=scratch / "work",
    )
    train_classifiers(params, paths)
    (classifier, *others), _ = load_classifiers(paths.classifier, choose_device(), members=params.classifier.members)
    test = oracle.judged[(oracle.judged["split"] == "test") & oracle.judged["mask_path"].notna()]
    labeller = PseudoLabeller(classifier, others=others, **params.pseudo_labels.model_dump())
    found = {
        **classifier_metrics(paths.classifier, oracle, params.threads),
        "miou_pseudo_labels": pseudo_label_miou(label_patches(labeller, test, PATCHES, vocabulary), vocabulary),
    }
    if not segmenter:
        return found
    train = read_manifest(folder, vocabulary).query("split == 'train'")
    labelled = label_patches(labeller, train, folder, vocabulary)
    write_pseudo_labels(labelled, paths.pseudo_labels, vocabulary, made_by([classifier, *others]))
    valid = train_segmenter(params, Paths(**{**vars(paths), "out": scratch / "segmenter"}), stage="labels_study")
    options = params.evaluate
    predictions = predict_patches(
        load_model(scratch / "segmenter", choose_device())[0],
        classifier,
        test,
        PATCHES,
        scales=options.scales,
        flip=options.flip,
    )
    metrics = segmentation_metrics(judge_patches(predictions, vocabulary).ungated, vocabulary.codes)
    return {**found, **metrics, "valid_miou": valid.get("miou")}


def with_states(rows: pd.DataFrame, states: probe.States, vocabulary: Vocabulary) -> pd.DataFrame:
    """Manifest rows that are labelled, with these labels; classes that nobody knows of are in column `unsure`.

    Raises:
        InputError: a labelled patch has such a class and the manifest no column for it.
    """
    known = states != probe.UNKNOWN
    labelled = known.any(axis=1)
    rows, states, known = rows[labelled].copy(), states[labelled], known[labelled]
    rows[list(vocabulary.codes)] = states == probe.PRESENT
    if known.all():
        return rows
    if "unsure" not in manifest_columns(vocabulary.codes):
        raise InputError("the patches' manifest has no column unsure; leave out --parts spoiled, or use --until probe")
    unsure = [";".join(np.array(vocabulary.codes)[~row]) or None for row in known]
    return rows.assign(unsure=pd.Series(unsure, dtype=object, index=rows.index))


def classifier_metrics(model: Path, oracle: Oracle, threads: int) -> dict[str, float]:
    """Mean average precision of the classifier, by split."""
    from wsss_mm.engine.scoring import classifier_scores

    found, codes = {}, list(oracle.vocabulary.codes)
    for split in ("valid", "test"):
        scores = classifier_scores(model, PATCHES, split=split, threads=threads).set_index("patch_id")
        rows = oracle.judged[oracle.judged["split"] == split]
        each = average_precisions(rows[codes].to_numpy(np.int8), scores.loc[rows["patch_id"], codes].to_numpy(float))
        found[f"ap.{split}"] = float(np.nanmean(each))
    return found


def pseudo_label_miou(patches: Any, vocabulary: Vocabulary) -> float | None:
    """Mean IoU of the pseudo-labels of patches with masks, where they say anything."""
    from wsss_mm.evaluation import segmentation_metrics
    from wsss_mm.evaluation.judge import judge_label

    matrices = [judge_label(patch, PATCHES, len(vocabulary))[1] for patch in patches]
    return segmentation_metrics(np.sum(matrices, axis=0), vocabulary.codes)["miou"]


if __name__ == "__main__":
    main()
