"""Ablation, one element of the method at a time, as DVC experiments on the cohort of params.yaml.

Run in a clone with a clean work tree. Each variant and seed becomes a DVC experiment, and MLflow runs of the same name
(`dvc exp show`, `make ui`), with a row of JSON in --out; experiments that are there are skipped, and what an experiment
shares with the one before it, such as the classifier, is not made again. `python -m studies.tables` makes the table.
params.yaml is put back as it was; the work tree keeps the outs of the last experiment, and `dvc checkout` puts them
back too.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from studies.registration import KEY, MATRICES, registered
from studies.rows import add_row, read_rows
from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.evaluation.tables import counts_of
from wsss_mm.files import atomic_path
from wsss_mm.formats import read_object, without_number
from wsss_mm.patches import read_manifest
from wsss_mm.places import FIGURES
from wsss_mm.settings import load_params
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.yaml_places import read

PARAMS = Path(places.PARAMS_FILE)
SUMMARY, VALID = places.SUMMARY_METRICS, places.SEGMENTER_METRICS

VARIANTS: dict[str, tuple[str, ...]] = {
    "reference": (),
    "cam": ("pseudo_labels.method=cam",),
    "grad-cam": ("pseudo_labels.method=grad_cam",),
    "one-scale": ("pseudo_labels.scales=[1.0]",),
    "class-norm": ("pseudo_labels.normalization=class",),
    "ce": ("segmenter.loss=ce",),
    "onss-margin": ("segmenter.loss=onss_margin",),
    "pda-off": ("classifier.attention=off",),
}
"""What each variant changes in the reference, which is the published setting of these elements; the only one with a
classifier of its own comes last, because DVC keeps the outs of the last experiment alone for the next."""

REFERENCE = (
    "pseudo_labels.method=grad_cam_plus_plus",
    "pseudo_labels.scales=[0.75,1.0,1.25]",
    "pseudo_labels.normalization=joint",
    "choose_pseudo_labels.enabled=false",
    "classifier.attention=published",
    "segmenter.loss=onss",
)


def main() -> None:
    """Run every experiment that has no row yet."""
    arguments = _parser().parse_args()
    if _output(
        "git", "status", "--porcelain", "--untracked-files=no", places.PARAMS_FILE, places.GATES_FILE, places.PIPELINE
    ):
        sys.stderr.write(
            "error: params.yaml, gates.yaml or dvc.yaml has changes; commit them, or git checkout them, first\n"
        )
        sys.exit(2)
    original = PARAMS.read_bytes()
    cohort = read(PARAMS, absent="run from the project's root").content["cohort"]["name"]
    done = {(row["cohort"], row["variant"], row["seed"]) for row in read_rows(arguments.out)}
    try:
        for seed in arguments.seeds:
            for variant in arguments.variants:
                if (cohort, variant, seed) not in done:
                    PARAMS.write_bytes(original)
                    begun = {KEY: registered()}
                    metrics = _experiment(f"{cohort}-{variant}-{seed}", variant, seed, arguments.set)
                    row = {"cohort": cohort, "variant": variant, "seed": seed, "settings": arguments.set}
                    add_row(arguments.out, row | begun | metrics)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    finally:
        with atomic_path(PARAMS) as path:
            path.write_bytes(original)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--out", type=Path, default=places.STUDIES / "ablation.jsonl", help="rows of results")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="which")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of training")
    parser.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="of all experiments")
    return parser


def _experiment(name: str, variant: str, seed: int, shared: list[str]) -> dict[str, Any]:
    """Run one experiment up to `evaluate`; give its headline numbers."""
    values = [*REFERENCE, *VARIANTS[variant], *shared, f"seed={seed}"]
    if name in _output("dvc", "exp", "list", "--name-only").split():
        subprocess.run(["dvc", "exp", "remove", name], check=True)  # it was stopped before its row was written
    overrides = [part for value in values for part in ("-S", value)]
    result = subprocess.run(["dvc", "exp", "run", "-n", name, *overrides, "evaluate"], check=False)
    if result.returncode:
        raise InputError(f"experiment {name} failed; see above, mend it and run this again: what is done is skipped")
    figures = {**without_number(read_object(SUMMARY, FIGURES)), "valid_miou": read_object(VALID, FIGURES).get("miou")}
    return figures | {MATRICES: slide_matrices()}


def slide_matrices() -> dict[str, list[list[int]]]:
    """Slide to the ungated confusion matrix of its test patches, which the row's mIoU is of: for a verdict."""
    vocabulary = load_params().cohort.vocabulary
    table = pd.read_csv(places.TEST_COUNTS)
    counts = counts_of(table, "ungated", get_vocabulary(vocabulary).codes)
    manifest = read_manifest(places.PATCHES, get_vocabulary(vocabulary)).set_index("patch_id")
    slides = manifest.loc[table["patch_id"], "slide_id"].to_numpy()
    return {slide: counts[slides == slide].sum(axis=0).tolist() for slide in sorted(set(slides))}


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
