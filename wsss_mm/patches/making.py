"""From params.yaml to the rows of the manifest: cut from slides, or imported from a data set of patches."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm.cohort import DRAWINGS, LABELS, TABLE, Cohort
from wsss_mm.errors import InputError
from wsss_mm.patches.cutting import cut_rows
from wsss_mm.patches.images import Keep
from wsss_mm.patches.importers import import_rows
from wsss_mm.sources import SOURCES
from wsss_mm.vocabulary import get_vocabulary

if TYPE_CHECKING:
    from wsss_mm.settings import Params


def make_rows(
    params: "Params",
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
    settings, vocabulary = params.patches, get_vocabulary(params.cohort.vocabulary)
    cohort = Cohort.read(root / TABLE)
    if params.cohort.name in SOURCES:
        source = root / params.cohort.source
        return import_rows(params.cohort.name, source, keep, cohort, settings=settings, vocabulary=vocabulary)
    try:
        return cut_rows(cohort, keep, settings=settings, vocabulary=vocabulary, without=without, side=side)
    except InputError as error:
        raise _with_original(error, root, params.cohort.source) from None


def _with_original(error: InputError, root: Path, source: Path) -> InputError:
    """What is wrong in a copy that stage `cohort` made is to be mended in the original: the next run copies anew."""
    copies = (f"{root / TABLE.parent / LABELS}: ", f"{root / TABLE.parent / DRAWINGS}{os.sep}")
    if not str(error).startswith(copies):
        return error
    return InputError(f"{error}, not here, in this copy, but in your own file, which {source} names or lies beside")
