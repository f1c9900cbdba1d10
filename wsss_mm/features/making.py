"""Features as an out of the line: a file a slide, and what they are of."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_mm.clusters import named_cluster, results_on_cluster
from wsss_mm.features.encoders import choose_encoder
from wsss_mm.features.shards import FeatureWork, Progress, Shard, Store, write_shard
from wsss_mm.formats import write_object
from wsss_mm.places import FEATURES_FILE, FEATURES_INDEX

if TYPE_CHECKING:
    import pandas as pd

    from wsss_mm.cohort import Cohort
    from wsss_mm.inference.nodes import Seat

logger = logging.getLogger(__name__)


def write_features(
    candidates: "pd.DataFrame",
    cohort: "Cohort",
    folder: Path,
    model: Path,
    codes: Sequence[str],
    *,
    memory: Path,
    progress: Progress,
) -> list[str]:
    """Write the features that a classifier has of candidates.

    On a cluster, where one is named (see `wsss_mm.clusters`): a task a slide, which keeps what it makes in `memory`.

    Args:
        candidates: of one resolution and size; where there are none, neither slides nor classifier are opened.
        cohort: opens their slides.
        folder: gets features.json and a file for each slide.
        model: the classifier's folder.
        codes: classes that it must have, in order.
        memory: folder of what was computed before; what is computed now is kept there.
        progress: is told how far it is.

    Returns:
        A message for each slide that cannot be read.

    Raises:
        InputError: there is no such classifier, or the cohort lacks a slide.
    """
    said, failed, slides = {}, [], []
    if len(candidates):
        mpp, size = float(candidates["mpp"].iloc[0]), int(candidates["size"].iloc[0])
        encoder = choose_encoder("classifier", model, codes, mpp=mpp, size=size)
        said = {"kind": encoder.kind, "encoder": encoder.digest, "codes": list(encoder.codes), "mpp": mpp, "size": size}
        work = FeatureWork(cohort, encoder, Store.of(encoder, memory), progress)
        if named_cluster():
            _make_on_cluster(work, candidates)
        for index, key, found in work.shards(candidates):
            if isinstance(found, Shard):
                slides.append(str(candidates.loc[index[0], "slide_id"]))
                write_shard(folder / f"{slides[-1]}.npz", found, key)
            else:
                failed.append(str(found))
    write_object(folder / FEATURES_FILE, FEATURES_INDEX, {**said, "slides": slides}, exact=("mpp",))
    return failed


def _make_on_cluster(work: FeatureWork, candidates: "pd.DataFrame") -> None:
    """Have the nodes fill the store; what none of them could do is left to this machine, which says why it fails."""
    from wsss_mm.inference.nodes import Seat

    seat = Seat.here()
    slides = [rows for _, rows in candidates.groupby("slide_id", sort=True, observed=True)]
    task = partial(_make, work=replace(work, progress=_pass_over), seat=seat)
    done = 0
    for index, result in results_on_cluster(task, slides, "features", _slide_of, seat.demand):
        if result.error is not None:
            logger.warning("%s; tried again on this machine", result.error)
        done += len(slides[index])
        work.progress(done, len(candidates))


def _make(rows: "pd.DataFrame", work: FeatureWork, seat: "Seat") -> None:
    """The task: make and keep the features of a slide's candidates."""
    seat.take()
    for _ in work.shards(rows):
        pass  # an error of the slide is logged


def _slide_of(rows: "pd.DataFrame") -> str:
    return str(rows["slide_id"].iloc[0])


def _pass_over(_done: int, _total: int) -> None:
    """Nobody looks at a task's progress."""
