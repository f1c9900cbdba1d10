"""How well the site can be read from what a network sees in patches, beside how well the tissue can.

A linear probe (ridge regression, each class weighing the same) on features of patches with a known site, judged on
slides that it did not see: of each site some are left out in turn. Scores are balanced accuracies above chance, 0 of
guessing and 1 of knowing; that of the tissue is the mean over the classes, each held and not held by patches of two
slides or more. What tells sites apart, stain or scanner, is there for a classifier to take for tissue.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wsss_mm.patches.manifest import known_mask

if TYPE_CHECKING:
    import pandas as pd

SITE, TISSUE = "site", "tissue"
"""Keys of `site_readability`."""

_FOLDS = 5  # at most
_MOST_PATCHES = 2000  # of a cohort: a probe of some hundred features needs no more
_LEAST_SITES, _LEAST_SLIDES = 2, 2


def probed_rows(manifest: "pd.DataFrame") -> "pd.DataFrame":
    """Those of manifest rows that tell something of sites, at most 2000, evenly taken; none of a cohort of one site.

    They are of the sites with patches of two slides or more; where there are no two such sites, and only the tissue can
    be judged, of all sites.
    """
    rows = manifest[manifest["site"].fillna("") != ""]
    if rows["site"].nunique() < _LEAST_SITES:
        return rows[:0]
    slides = rows.groupby("site")["slide_id"].transform("nunique")
    if rows.loc[slides >= _LEAST_SLIDES, "site"].nunique() >= _LEAST_SITES:
        rows = rows[slides >= _LEAST_SLIDES]
    count = min(len(rows), _MOST_PATCHES)
    return rows.iloc[[index * len(rows) // count for index in range(count)]].reset_index(drop=True)


def site_readability(
    rows: "pd.DataFrame", features: npt.NDArray[np.floating], codes: Sequence[str]
) -> dict[str, float | None]:
    """How well site and tissue can be read from features.

    Args:
        rows: (N) manifest rows, see `probed_rows`.
        features: (N, D), finite.
        codes: of the classes.

    Returns:
        `site` and `tissue`, balanced accuracies above chance, and of each class `tissue.CODE`; None where it cannot be
        judged: sites with a single slide, no class that patches of two slides hold and those of two slides lack.
    """
    values = features.astype(np.float64)
    slides, known = rows["slide_id"].to_numpy(str), known_mask(rows, codes)
    figures: dict[str, Any] = {SITE: probe(values, rows["site"].to_numpy(str), slides)}
    for index, code in enumerate(codes):
        judged = known[:, index]
        held = rows.loc[judged, code].to_numpy(bool)
        figures[f"{TISSUE}.{code}"] = probe(values[judged], held.astype(str), slides[judged])
    scores = [score for name, score in figures.items() if name != SITE and score is not None]
    return {**figures, TISSUE: float(np.mean(scores)) if scores else None}


def probe(
    features: npt.NDArray[np.float64], target: npt.NDArray[np.str_], slides: npt.NDArray[np.str_]
) -> float | None:
    """Balanced accuracy above chance of a linear probe on slides it did not see; None where none can be trained."""
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    values = np.unique(target)
    if len(values) < _LEAST_SITES or min(len(set(slides[target == value])) for value in values) < _LEAST_SLIDES:
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
        dealt = [sum(fold.get(name) == number for name in names) for number in range(count)]
        for name in (name for name in names if name not in fold):
            fold[name] = dealt.index(min(dealt))  # where fewest slides of this value are, of other values too
            dealt[fold[name]] += 1
    numbers = np.array([fold[name] for name in slides])
    for number in range(count):
        held = numbers == number
        if held.any() and set(target[~held]) == set(target):
            yield held
