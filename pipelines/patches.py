"""Patches with their label sets, and the manifest: cut from slides, or imported from a data set of patches."""

from functools import partial
from pathlib import Path

from pipelines import run_stage
from wsss_mm.files import atomic_folder
from wsss_mm.gates.quarantine import quarantined, without_quarantined
from wsss_mm.patches import get_vocabulary, write_manifest
from wsss_mm.patches.images import store_patch
from wsss_mm.patches.making import make_rows
from wsss_mm.patches.manifest import build_manifest
from wsss_mm.settings import Params

OUT = Path("data/patches")


def main(params: Params) -> None:
    """Make data/patches whole or not at all."""
    vocabulary = get_vocabulary(params.cohort.vocabulary)
    with atomic_folder(OUT) as folder:
        store = partial(store_patch, folder, vocabulary=vocabulary)
        rows = make_rows(params, Path(), store, without=quarantined("slide"))
        kept, aside = without_quarantined(build_manifest(rows, vocabulary, str(OUT)))
        write_manifest(kept, folder)
        if len(aside):
            write_manifest(aside, folder / "quarantined")


if __name__ == "__main__":
    run_stage(main)
