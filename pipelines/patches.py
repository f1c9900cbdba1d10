"""Patches with their label sets, and the manifest: cut from slides, or imported from a data set of patches."""

import shutil
import tempfile
from pathlib import Path

from pipelines import run_stage
from wsss_mm.patches import get_vocabulary, write_manifest
from wsss_mm.patches.cutting import cut_slides
from wsss_mm.patches.importers import import_patches
from wsss_mm.patches.sources import SOURCES
from wsss_mm.settings import CohortSettings, Params

COHORT, OUT = Path("data/cohort"), Path("data/patches")


def main(params: Params) -> None:
    """Make data/patches; it is replaced as a whole when all of it is there."""
    cohort, vocabulary = params.cohort, get_vocabulary(params.cohort.vocabulary)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=OUT.parent, prefix=f".{OUT.name}."))
    common = {"settings": params.patches, "vocabulary": vocabulary, "seed": params.seed}
    try:
        temporary.chmod(0o755)
        if cohort.name in SOURCES:
            frame = import_patches(cohort.name, cohort.source, temporary, **common)
        else:
            frame = cut_slides(COHORT / "slides.csv", temporary, labels=_labels(cohort), **common)
        write_manifest(frame, temporary)
        if OUT.exists():
            shutil.rmtree(OUT)
        temporary.rename(OUT)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _labels(cohort: CohortSettings) -> Path | None:
    """labels.csv of the cohort, or beside the user's table of slides."""
    folder = cohort.source if cohort.source.is_dir() else cohort.source.parent
    places = [COHORT / "labels.csv", *([folder / "labels.csv"] if cohort.name == "slides" else [])]
    return next((path for path in places if path.is_file()), None)


if __name__ == "__main__":
    run_stage(main)
