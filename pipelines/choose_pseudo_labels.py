"""The settings of pseudo-labels that suit this cohort: tried on the validation masks, published ones where they tie."""

import runpy
from typing import TYPE_CHECKING

from wsss_mm import places
from wsss_mm.choosing import write_choice
from wsss_mm.choosing.choose import choose
from wsss_mm.choosing.figure import choice_figure
from wsss_mm.files import atomic_path
from wsss_mm.inference.runtime import choose_device, prepare_torch
from wsss_mm.models.members import load_classifiers
from wsss_mm.patches import read_manifest
from wsss_mm.sources import SOURCES
from wsss_mm.vocabulary import get_vocabulary

if TYPE_CHECKING:
    from wsss_mm.settings import Params

PATCHES, MODEL, OUT, PICTURE = places.PATCHES, places.CLASSIFIER, places.CHOICE_FILE, places.CHOICE_PICTURE


def main(params: "Params") -> None:
    """Choose, and write what was chosen with all that was tried."""
    prepare_torch(params.threads)
    vocabulary = get_vocabulary(params.cohort.vocabulary)
    (classifier, *others), _ = load_classifiers(
        MODEL, choose_device(), vocabulary.codes, members=params.classifier.members
    )
    choice = choose(
        classifier,
        read_manifest(PATCHES, vocabulary),
        PATCHES,
        vocabulary.codes,
        settings=params.pseudo_labels.model_dump(),
        trying=params.choose_pseudo_labels,
        least=params.patches.min_class_share,
        placed=params.cohort.name in SOURCES,
        seed=params.seed,
        others=others,
    )
    write_choice(OUT, choice)
    with atomic_path(PICTURE) as path:
        choice_figure(choice, path)


if __name__ == "__main__":
    runpy.run_module("pipelines", run_name="__main__")
