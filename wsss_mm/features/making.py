"""Features as an out of the line: a file a slide, and what they are of."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_mm.features.encoders import choose_encoder
from wsss_mm.features.shards import FeatureWork, Progress, Shard, Store, write_shard
from wsss_mm.formats import write_object
from wsss_mm.places import FEATURES_FILE, FEATURES_INDEX

if TYPE_CHECKING:
    import pandas as pd

    from wsss_mm.cohort import Cohort


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
        for index, key, found in FeatureWork(cohort, encoder, Store.of(encoder, memory), progress).shards(candidates):
            if isinstance(found, Shard):
                slides.append(str(candidates.loc[index[0], "slide_id"]))
                write_shard(folder / f"{slides[-1]}.npz", found, key)
            else:
                failed.append(str(found))
    write_object(folder / FEATURES_FILE, FEATURES_INDEX, {**said, "slides": slides}, exact=("mpp",))
    return failed
