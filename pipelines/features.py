"""Stage `features`: what the trained classifier sees in each candidate, for the next labels."""

import runpy
from functools import partial
from typing import TYPE_CHECKING

from tqdm import tqdm

from wsss_mm import places
from wsss_mm.cohort import TABLE, Cohort
from wsss_mm.features.making import write_features
from wsss_mm.files import atomic_folder
from wsss_mm.labelling.candidates import raise_broken, read_candidates
from wsss_mm.vocabulary import get_vocabulary

if TYPE_CHECKING:
    from wsss_mm.settings import Params

OUT, MEMORY, MODEL = places.FEATURES, places.FEATURES_MEMORY, places.CLASSIFIER


def main(params: "Params") -> None:
    """Make data/features of all slides that can be read, and then name those that cannot."""
    candidates, cohort = read_candidates(), Cohort.read(TABLE)
    if len(candidates):
        from wsss_mm.inference.runtime import prepare_torch

        prepare_torch(params.threads)
    codes = get_vocabulary(params.cohort.vocabulary).codes
    with atomic_folder(OUT) as folder, tqdm(total=len(candidates), desc="features", unit="patch") as bar:
        failed = write_features(candidates, cohort, folder, MODEL, codes, memory=MEMORY, progress=partial(_show, bar))
    raise_broken(failed)


def _show(bar: tqdm, done: int, _: int) -> None:
    bar.update(done - bar.n)


if __name__ == "__main__":
    runpy.run_module("pipelines", run_name="__main__")
