"""Features of candidates, made once: what a page, an order of patches or a study asks for."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.features.encoders import Kind, choose_encoder
from wsss_mm.features.shards import FeatureWork, Progress, Shard, Stopped, Store

if TYPE_CHECKING:
    import pandas as pd

    from wsss_mm.cohort import Cohort

__all__ = ["Features", "Stopped", "features_of"]


@dataclass(frozen=True)
class Features:
    """Features of candidates, row by row.

    Attributes:
        values: (N, D) float16; NaN in the rows of slides that cannot be read.
        kind: what made them.
        scores: (N, C) float32, the classifier's probabilities, likewise NaN; None where there is no classifier.
        codes: the classes of `scores`, in their order.
        digest: of what made them.
        failed: a message for each slide that cannot be read.
    """

    values: npt.NDArray[np.float16]
    kind: Kind
    scores: npt.NDArray[np.float32] | None
    codes: tuple[str, ...] = ()
    digest: str = ""
    failed: tuple[str, ...] = ()


def features_of(
    candidates: "pd.DataFrame",
    cohort: "Cohort",
    kind: Literal["auto", "classifier", "statistics"] = "auto",
    root: Path | str = Path(),
    progress: bool | Progress = True,
    *,
    codes: Sequence[str] | None = None,
    stop: threading.Event | None = None,
) -> Features:
    """Features of candidates by the best there is; only those are computed that never were.

    Args:
        candidates: rows of the table, all of one resolution and size, as `read_candidates` gives them.
        cohort: opens their slides.
        kind: `auto` is the stored classifier if there is one of these classes, resolution and size, else statistics.
        root: the project's root: the classifier and data/features are looked for there, work_dirs/features is kept.
        progress: a bar, or none, or a function that is told after each patch how many are done, of how many.
        codes: classes that the classifier must have, in order; if None, those of the vocabulary in params.yaml.
        stop: where it is set, the work ends; what was made is kept.

    Raises:
        InputError: the cohort lacks a slide, or a classifier is asked for by name and there is none that fits. A slide
            that cannot be read is none: see `Features.failed`.
        Stopped: `stop` was set.
    """
    root = Path(root)
    if not len(candidates):
        return Features(np.zeros((0, 0), np.float16), "statistics", None)
    if candidates["mpp"].nunique() > 1 or candidates["size"].nunique() > 1:
        raise InputError(
            f"{places.CANDIDATES_FILE}: holds patches of several sizes or resolutions; {places.CANDIDATE_TABLE.again}"
        )
    folder, mpp, size = root / places.CLASSIFIER, float(candidates["mpp"].iloc[0]), int(candidates["size"].iloc[0])
    if codes is None and kind != "statistics" and folder.is_dir():
        codes = _codes(root)
    encoder = choose_encoder(kind, folder, codes, mpp=mpp, size=size)
    store = Store.of(encoder, root / places.FEATURES_MEMORY, (root / places.FEATURES,))
    table = candidates.reset_index(drop=True)
    values: npt.NDArray[np.float16] | None = None
    scores, failed = np.full((len(table), len(encoder.codes)), np.nan, np.float32), []
    with _told(progress, len(table)) as tell:
        for index, _, found in FeatureWork(cohort, encoder, store, tell, stop).shards(table):
            if not isinstance(found, Shard):
                failed.append(str(found))
                continue
            if values is None:
                values = np.full((len(table), found.values.shape[1]), np.nan, np.float16)
            values[index], scores[index] = found.values, found.scores
    if values is None:
        values = np.full((len(table), 0), np.nan, np.float16)
    return Features(
        values, encoder.kind, scores if encoder.codes else None, encoder.codes, encoder.digest, tuple(failed)
    )


def _codes(root: Path) -> tuple[str, ...] | None:
    """Classes of the project's vocabulary; None where it has no params.yaml."""
    from wsss_mm.settings import load_params
    from wsss_mm.vocabulary import get_vocabulary

    path = root / places.PARAMS_FILE
    return get_vocabulary(load_params(path).cohort.vocabulary).codes if path.is_file() else None


@contextmanager
def _told(progress: bool | Progress, total: int) -> Iterator[Progress]:
    if callable(progress):
        yield progress
        return
    with tqdm(total=total, desc="features", unit="patch", disable=True if progress is False else None) as bar:
        yield lambda done, _: bar.update(done - bar.n)
