"""Patches with their label sets, and the manifest: cut from slides, or imported from a data set of patches."""

import runpy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_mm import places
from wsss_mm.clusters import named_cluster
from wsss_mm.cohort import TABLE, Cohort
from wsss_mm.files import atomic_folder, remove_unfinished
from wsss_mm.patches import write_manifest
from wsss_mm.patches.images import store_patch
from wsss_mm.patches.making import make_rows
from wsss_mm.patches.manifest import build_manifest
from wsss_mm.patches.quarantine import slides_aside, without_quarantined
from wsss_mm.patches.shards import store_as
from wsss_mm.patches.stains import write_stains
from wsss_mm.slides.icc import note_icc
from wsss_mm.sources import SOURCES
from wsss_mm.vocabulary import get_vocabulary

if TYPE_CHECKING:
    from wsss_mm.settings import Params

OUT = places.PATCHES


def main(params: "Params") -> None:
    """Make data/patches whole or not at all."""
    vocabulary = get_vocabulary(params.cohort.vocabulary)
    with atomic_folder(OUT) as folder:
        store, aside = partial(store_patch, folder, vocabulary=vocabulary), frozenset()
        if params.cohort.name not in SOURCES:
            aside = slides_aside(Cohort.read(TABLE, check_files=False).frame)  # not even opened
        frame = build_manifest(make_rows(params, Path(), store, without=aside), vocabulary, str(OUT))
        if named_cluster():
            remove_unfinished(folder)  # of a node that died
        if params.cohort.name in SOURCES:
            slides_aside(frame)  # stops where a row does not quite fit
        kept, left = without_quarantined(store_as(params.patches.storage, frame, folder))
        write_manifest(kept, folder)
        if params.stain.icc:
            note_icc(folder)  # whoever trains on them writes it into the model
        if params.stain.normalization != "none":
            cohort = None if params.cohort.name in SOURCES else Cohort.read(TABLE, check_files=False)
            write_stains(folder, kept, params.stain.normalization, cohort)
        if len(left):
            write_manifest(left, folder / places.SET_ASIDE)


if __name__ == "__main__":
    runpy.run_module("pipelines", run_name="__main__")
