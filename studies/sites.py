"""How well the site can be read from what a classifier sees in patches, beside how well the tissue can.

A linear probe (ridge regression, each class weighing the same) on the features of all patches with a known site, judged
on slides that it did not see: of each site some are left out in turn. Scores are balanced accuracies above chance, 0 of
guessing and 1 of knowing; that of the tissue is the mean over the classes, each held and not held by patches of two
slides or more. What tells sites apart, stain or scanner, is there for the classifier to take for tissue. Run after
`dvc repro train_classifier`, for slides of two sites or more with two slides each; a row of JSON is added to --out.
"""

import argparse
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from studies.rows import add_row
from wsss_mm import places
from wsss_mm.cohort import TABLE, Cohort
from wsss_mm.errors import InputError
from wsss_mm.patches import read_manifest
from wsss_mm.patches.manifest import known_labels
from wsss_mm.settings import load_params
from wsss_mm.vocabulary import get_vocabulary

_FOLDS = 5  # at most


def main() -> None:
    """Probe the features of the stored classifier, and say what came of it."""
    from wsss_mm.features.store import features_of

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--out", type=Path, default=places.STUDIES / "sites.jsonl", help="rows of results")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    params = load_params()
    vocabulary = get_vocabulary(params.cohort.vocabulary)
    rows = of_several_slides(read_manifest(places.PATCHES, vocabulary))
    found = features_of(rows, Cohort.read(TABLE), "classifier", codes=vocabulary.codes)
    if found.failed:
        raise InputError(found.failed[0])
    figures = readable(rows, found.values.astype(np.float64), vocabulary.codes)
    row = {"cohort": params.cohort.name, "encoder": found.digest, "slides": rows["slide_id"].nunique()}
    add_row(arguments.out, {**row, "sites": sorted(set(rows["site"])), **figures})
    shown = {name: "unknown" if score is None else f"{score:.2f}" for name, score in figures.items()}
    logging.getLogger(__name__).warning("of chance 0 and knowledge 1: site %(site)s, tissue %(tissue)s", shown)


def of_several_slides(manifest: pd.DataFrame) -> pd.DataFrame:
    """Rows of the sites that have two slides or more, of patches whose place is known.

    Raises:
        InputError: there are no two such sites.
    """
    rows = manifest[manifest["site"].notna() & (manifest["x"] >= 0)]
    slides = rows.groupby("site")["slide_id"].transform("nunique")
    rows = rows[slides >= 2].reset_index(drop=True)
    if rows["site"].nunique() < 2:
        raise InputError(
            f"{places.PATCHES}: no two sites have patches of two slides each; name sites in column site of slides.csv"
        )
    return rows


def readable(rows: pd.DataFrame, features: npt.NDArray[np.float64], codes: Sequence[str]) -> dict[str, float | None]:
    """How well site and tissue can be read from features.

    Args:
        rows: (N) manifest rows, of sites with two slides or more each.
        features: (N, D), finite.
        codes: of the classes.

    Returns:
        `site` and `tissue`, balanced accuracies above chance, and of each class `tissue.CODE`; None where no class can
        be judged.
    """
    slides, known = rows["slide_id"].to_numpy(str), known_labels(rows, codes)
    figures: dict[str, Any] = {"site": probe(features, rows["site"].to_numpy(str), slides)}
    for index, code in enumerate(codes):
        judged = known[:, index]
        held = rows.loc[judged, code].to_numpy(bool)
        figures[f"tissue.{code}"] = probe(features[judged], held.astype(str), slides[judged])
    scores = [score for name, score in figures.items() if name != "site" and score is not None]
    return {**figures, "tissue": float(np.mean(scores)) if scores else None}


def probe(
    features: npt.NDArray[np.float64], target: npt.NDArray[np.str_], slides: npt.NDArray[np.str_]
) -> float | None:
    """Balanced accuracy above chance of a linear probe on slides it did not see; None where none can be trained."""
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    values = np.unique(target)
    if len(values) < 2 or min(len(set(slides[target == value])) for value in values) < 2:
        return None
    predicted = np.full(len(target), "", target.dtype)
    for held in _folds(target, slides):
        probing = make_pipeline(StandardScaler(), RidgeClassifier(features.shape[1], class_weight="balanced"))
        predicted[held] = probing.fit(features[~held], target[~held]).predict(features[held])
    recalls = [float((predicted[target == value] == value).mean()) for value in values]
    chance = 1 / len(values)
    return (float(np.mean(recalls)) - chance) / (1 - chance)


def _folds(target: npt.NDArray[np.str_], slides: npt.NDArray[np.str_]) -> Iterator[npt.NDArray[np.bool_]]:
    """Rows of whole slides, such that what is left has slides of each value; the rarest value is dealt out first."""
    of_value = sorted((sorted(set(slides[target == value])) for value in np.unique(target)), key=len)
    count, fold = min(_FOLDS, len(of_value[0])), dict[str, int]()
    for names in of_value:
        for place, name in enumerate([name for name in names if name not in fold]):
            fold[name] = place % count
    numbers = np.array([fold[name] for name in slides])
    for number in range(count):
        held = numbers == number
        if held.any() and set(target[~held]) == set(target):
            yield held


if __name__ == "__main__":
    main()
