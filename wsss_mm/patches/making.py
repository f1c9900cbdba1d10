"""From params.yaml to the rows of the manifest: cut from slides, or imported from a data set of patches."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from wsss_mm.patches.cutting import cut_rows
from wsss_mm.patches.images import Keep
from wsss_mm.patches.importers import import_rows
from wsss_mm.patches.sources import SOURCES
from wsss_mm.settings import CohortSettings, Params
from wsss_mm.vocabulary import get_vocabulary

COHORT = Path("data/cohort")


def make_rows(
    params: Params,
    root: Path,
    keep: Keep,
    *,
    without: Collection[str] = (),
    side: int | None = None,
) -> list[dict[str, Any]]:
    """Make the patches of the cohort.

    Args:
        params: all of params.yaml.
        root: the project's root.
        keep: what becomes of a patch (see `wsss_mm.patches.images.Keep`).
        without: slides to leave out; they are not even opened.
        side: see `wsss_mm.patches.cutting.cut_rows`; data sets of patches are read as they are.

    Returns:
        Rows of the manifest, not checked.

    Raises:
        InputError: see `cut_slides` and `import_patches`.
    """
    cohort = params.cohort
    common = {"settings": params.patches, "vocabulary": get_vocabulary(cohort.vocabulary), "seed": params.seed}
    if cohort.name in SOURCES:
        return import_rows(cohort.name, root / cohort.source, keep, **common)
    labels = _labels(cohort, root)
    return cut_rows(root / COHORT / "slides.csv", keep, labels=labels, without=without, side=side, **common)


def _labels(cohort: CohortSettings, root: Path) -> Path | None:
    """labels.csv of the cohort, or beside the user's table of slides."""
    source = root / cohort.source
    folder = source if source.is_dir() else source.parent
    places = [root / COHORT / "labels.csv", *([folder / "labels.csv"] if cohort.name == "slides" else [])]
    return next((path for path in places if path.is_file()), None)
