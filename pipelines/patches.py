"""Patches with their label sets, and the manifest: cut from slides, or imported from a data set of patches."""

from pathlib import Path

from pipelines import run_stage
from wsss_mm.files import atomic_folder
from wsss_mm.gates.quarantine import slides_aside, without_quarantined
from wsss_mm.patches import get_vocabulary, write_manifest
from wsss_mm.patches.cutting import cut_slides
from wsss_mm.patches.importers import import_patches
from wsss_mm.patches.sources import SOURCES
from wsss_mm.settings import CohortSettings, Params
from wsss_mm.slides.table import read_slide_table

COHORT, OUT = Path("data/cohort"), Path("data/patches")


def main(params: Params) -> None:
    """Make data/patches whole or not at all."""
    cohort, vocabulary = params.cohort, get_vocabulary(params.cohort.vocabulary)
    common = {"settings": params.patches, "vocabulary": vocabulary, "seed": params.seed}
    with atomic_folder(OUT) as folder:
        if cohort.name in SOURCES:
            frame = import_patches(cohort.name, cohort.source, folder, **common)
            slides_aside(frame)  # stops where a row does not quite fit
        else:
            aside = slides_aside(read_slide_table(COHORT / "slides.csv", check_files=False))  # not even opened
            frame = cut_slides(COHORT / "slides.csv", folder, labels=_labels(cohort), without=aside, **common)
        kept, left = without_quarantined(frame)
        write_manifest(kept, folder)
        if len(left):
            write_manifest(left, folder / "quarantined")


def _labels(cohort: CohortSettings) -> Path | None:
    """labels.csv of the cohort, or beside the user's table of slides."""
    folder = cohort.source if cohort.source.is_dir() else cohort.source.parent
    places = [COHORT / "labels.csv", *([folder / "labels.csv"] if cohort.name == "slides" else [])]
    return next((path for path in places if path.is_file()), None)


if __name__ == "__main__":
    run_stage(main)
