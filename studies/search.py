"""Search for a cohort's profile: variants of params.yaml, judged on the validation split. The test split is not opened.

Run after `dvc repro gate@patches`. `--registered NAME` runs what studies/registered/NAME.yaml asks for: its reference
and its variant, with its seeds. Else variants come from a YAML file of names and values:

    longer: &longer [classifier.epochs=24, segmenter.iterations=600]
    longer, averaged: [*longer, segmenter.averaging=0.98]

Later values win over earlier ones, and a list within a list is its values. A row of JSON a variant and seed is added to
--out; those that are there are skipped. Classifiers and pseudo-labels that variants share are made once, in --work, as
are the patches' stains where a variant has another `stain.normalization` than data/patches.
"""

import argparse
import logging
import time
from pathlib import Path
from typing import Any

from studies.patches import stained_patches
from studies.registration import FOLDER, KEY, MATRICES, read_registration, registered
from studies.rows import add_row, read_rows, with_values
from wsss_mm import places
from wsss_mm.engine.workdir import fingerprint
from wsss_mm.errors import InputError
from wsss_mm.patches import read_manifest
from wsss_mm.patches.manifest import FILE_NAME
from wsss_mm.settings import Params, load_params
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.yaml_places import read

PATCHES = places.PATCHES


def main() -> None:
    """Run every variant and seed that has no row yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("variants", type=Path, nargs="?", help="YAML: name to a list of KEY=VALUE")
    asked.add_argument("--registered", metavar="NAME", help=f"of a file in {FOLDER.relative_to(FOLDER.parents[1])}")
    parser.add_argument("--out", type=Path, default=places.STUDIES / "search.jsonl", help="(default: %(default)s)")
    parser.add_argument("--work", type=Path, default=places.WORK / "search", help="(default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", help="of training (default: 0, or those that are registered)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    base = load_params()
    try:
        variants, seeds = _asked(arguments, base.cohort.name)
    except InputError as error:
        parser.error(str(error))
    rows = [row for row in read_rows(arguments.out) if row["cohort"] == base.cohort.name]
    for row in rows:
        if row["settings"] != variants.get(row["variant"], row["settings"]):
            parser.error(f"{arguments.out}: {row['variant']} has rows with other values; rename it or change --out")
    done = {(row["cohort"], row["variant"], row["seed"]) for row in rows}
    for seed in seeds:
        for name, values in variants.items():
            if (base.cohort.name, name, seed) not in done:
                row = {"cohort": base.cohort.name, "variant": name, "seed": seed, "settings": values, KEY: registered()}
                metrics = run_variant(with_values(base, [*values, f"seed={seed}"]), arguments.work)
                add_row(arguments.out, row | metrics)


def _asked(arguments: argparse.Namespace, cohort: str) -> tuple[dict[str, list[str]], list[int]]:
    """Variants and seeds.

    Raises:
        InputError: nothing of that name is registered, or it is of another cohort.
    """
    if arguments.registered is None:
        return read_variants(arguments.variants), arguments.seeds or [0]
    path = FOLDER / f"{arguments.registered}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(item.stem for item in FOLDER.glob("*.yaml")))
        raise InputError(f"{arguments.registered}: not registered; choose from {known}")
    plan = read_registration(path)
    if plan.cohort != cohort:
        raise InputError(f"{path}: is of cohort {plan.cohort}, params.yaml of {cohort}: wsss-mm profile {plan.cohort}")
    variants = read_variants(plan.file)
    return {name: variants[name] for name in (plan.reference, plan.variant)}, arguments.seeds or plan.seeds


def read_variants(path: Path) -> dict[str, list[str]]:
    """Names to values; lists within lists, however deep, are flattened, so that a variant can build on another."""

    def flat(items: list) -> list[str]:
        return [value for item in items for value in (flat(item) if isinstance(item, list) else [item])]

    return {str(name): flat(items) for name, items in read(path, absent="see studies/registration.py").content.items()}


def classifier_key(params: Params) -> str:
    """What tells a search's classifiers apart: settings, classes, and the patches' manifest, which digests them."""
    settings = {
        "seed": params.seed,
        "vocabulary": params.cohort.vocabulary,
        "classifier": params.classifier.model_dump(mode="json"),
    }
    if params.stain.normalization != "none":
        settings["stain"] = params.stain.normalization
    return fingerprint(settings, [PATCHES / FILE_NAME, *params.classifier.begins_with()])


def run_variant(params: Params, work: Path) -> dict[str, Any]:
    """The line from classifier to segmenter; its metrics on the validation split and the seconds each part took."""
    from wsss_mm.cam import PseudoLabeller
    from wsss_mm.cam.store import label_patches, made_by, write_pseudo_labels
    from wsss_mm.engine import Paths, train_classifiers, train_segmenter
    from wsss_mm.inference.runtime import choose_device, prepare_torch
    from wsss_mm.models.description import described
    from wsss_mm.models.members import load_classifiers

    start, patches = time.monotonic(), stained_patches(params, PATCHES, work)
    key = classifier_key(params)
    classifier = work / f"classifier-{key}"
    if not (classifier / places.DESCRIPTION).exists():
        train_classifiers(params, Paths(patches=patches, out=classifier, curves=work / f"classifier-{key}.csv"))
    trained = time.monotonic()

    labels = work / f"labels-{fingerprint({'classifier': key, **params.pseudo_labels.model_dump(mode='json')}, [])}"
    if not labels.exists():
        vocabulary = get_vocabulary(params.cohort.vocabulary)
        rows = read_manifest(PATCHES, vocabulary)
        prepare_torch(params.threads)
        (first, *others), _ = load_classifiers(classifier, choose_device(), members=params.classifier.members)
        labeller = PseudoLabeller(first, others=others, **params.pseudo_labels.model_dump())
        labelled_patches = label_patches(labeller, rows[rows["split"] == "train"], patches, vocabulary)
        write_pseudo_labels(labelled_patches, labels, vocabulary, made_by([first, *others]))
    labelled = time.monotonic()

    paths = Paths(
        patches=patches,
        out=work / "segmenter",
        curves=work / "segmenter.csv",
        pseudo_labels=labels,
        classifier=classifier,
    )
    metrics = train_segmenter(params, paths)
    seconds = [trained - start, labelled - trained, time.monotonic() - labelled]
    figures = {**described(classifier)["valid"], **metrics, "seconds": [round(part) for part in seconds]}
    return figures | {MATRICES: slide_matrices(params, classifier, paths.out, patches)}


def slide_matrices(
    params: Params, classifier: Path, segmenter: Path, patches: Path = PATCHES
) -> dict[str, list[list[int]]]:
    """Slide to the ungated confusion matrix of its validation patches, for verdicts of `studies.registration`."""
    from wsss_mm.evaluation.judge import judge_patches
    from wsss_mm.evaluation.predict import predict_patches
    from wsss_mm.inference.runtime import choose_device
    from wsss_mm.models import load_model
    from wsss_mm.patches.digests import judged_rows

    vocabulary, device = get_vocabulary(params.cohort.vocabulary), choose_device()
    networks = [load_model(path, device, vocabulary.codes)[0] for path in (segmenter, classifier)]
    rows = judged_rows(read_manifest(patches, vocabulary), "valid")
    judgement = judge_patches(predict_patches(*networks, rows, patches, flip=False), vocabulary)
    slides = judgement.patches["slide_id"].to_numpy()
    return {slide: judgement.patch_ungated[slides == slide].sum(axis=0).tolist() for slide in sorted(set(slides))}


if __name__ == "__main__":
    main()
