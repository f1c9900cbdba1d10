"""One trial of `wsss-mm tune`: both trainings with the values of params.yaml, judged on the validation split alone."""

import os
import runpy
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places

if TYPE_CHECKING:
    from wsss_mm.settings import Params
    from wsss_mm.tracking.tracker import Tracker

PATCHES, METRICS, COUNTS = places.PATCHES, places.TUNE_METRICS, places.TUNE_COUNTS


def main(params: "Params", tracker: "Tracker") -> None:
    """Train and judge; classifiers and pseudo-labels that trials share are made once, in the project they are of."""
    from wsss_mm.cam.store import label_patches, made_by, write_pseudo_labels
    from wsss_mm.choosing.choose import choose
    from wsss_mm.choosing.tuning.judging import validation_counts
    from wsss_mm.engine import Paths, train_classifiers, train_segmenter
    from wsss_mm.engine.workdir import fingerprint
    from wsss_mm.files import write_json
    from wsss_mm.inference.runtime import choose_device, prepare_torch
    from wsss_mm.models.description import described
    from wsss_mm.models.members import load_classifiers
    from wsss_mm.patches import read_manifest
    from wsss_mm.patches.digests import judged_rows
    from wsss_mm.sources import SOURCES
    from wsss_mm.vocabulary import get_vocabulary

    start = time.monotonic()
    shared = Path(os.environ.get("DVC_ROOT") or ".") / places.TUNE_WORK
    vocabulary = get_vocabulary(params.cohort.vocabulary)
    manifest, codes = read_manifest(PATCHES, vocabulary), vocabulary.codes
    about: dict[str, Any] = {
        "seed": params.seed,
        "vocabulary": params.cohort.vocabulary,
        "classifier": params.classifier,
    }
    begins = params.classifier.begins_with()
    settings = {**about, "classifier": params.classifier.model_dump(mode="json")}
    key = fingerprint(settings, [PATCHES / places.MANIFEST, *begins])
    out = shared / f"classifier-{key}"
    if not (out / places.DESCRIPTION).is_file():
        with tracker.training("train_classifier", about, [PATCHES, *begins], weights=out / places.WEIGHTS):
            train_classifiers(params, Paths(patches=PATCHES, out=out, curves=out.with_suffix(".csv"), work=shared))
    valid = dict(described(out)["valid"])
    found: dict[str, Any] = {"value": float(valid["mean_ap"]), "counts": None}
    if len(judged_rows(manifest, "valid")):
        prepare_torch(params.threads)
        (classifier, *others), _ = load_classifiers(out, choose_device(), codes, members=params.classifier.members)
        trying, given = params.choose_pseudo_labels, params.pseudo_labels.model_dump()
        least, placed, seed = params.patches.min_class_share, params.cohort.name in SOURCES, params.seed
        how: dict[str, Any] = {"settings": given, "trying": trying, "least": least, "placed": placed, "seed": seed}
        labels = shared / f"labels-{fingerprint({'classifier': key, **how, 'trying': trying.model_dump()}, [])}"
        if not labels.is_dir():
            choice = choose(classifier, manifest, PATCHES, codes, others=others, **how)
            labeller, rows = choice.labeller(classifier, *others), manifest[manifest["split"] == "train"]
            made = label_patches(labeller, rows, PATCHES, vocabulary)
            write_pseudo_labels(made, labels, vocabulary, made_by([classifier, *others]))
        model = COUNTS.parent / "segmenter"
        paths = Paths(PATCHES, model, model.with_suffix(".csv"), labels, classifier=out, work=shared)
        about |= {"segmenter": params.segmenter}
        with tracker.training("train_segmenter", about, [PATCHES], weights=model / places.WEIGHTS):
            valid |= train_segmenter(params, paths)
        counts = validation_counts(model, out, manifest, PATCHES, vocabulary)
        found = {"value": valid["miou"], "counts": counts.tolist()}
    seconds = round(time.monotonic() - start, 1)
    write_json(METRICS, {**valid, "seconds": seconds})
    write_json(COUNTS, {**found, "seconds": seconds})


if __name__ == "__main__":
    runpy.run_module("pipelines", run_name="__main__")
