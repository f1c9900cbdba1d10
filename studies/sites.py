"""How well the site can be read from a classifier's features, beside how well the tissue can: a row for comparisons.

What is measured, `wsss_mm.evaluation.sites` says; training a classifier draws it as a figure of its run. Run after
`dvc repro train_classifier`, for slides of two sites or more with two slides each; a row of JSON is added to --out.
"""

import argparse
import logging
from pathlib import Path

import pandas as pd

from studies.rows import add_row
from wsss_mm import places
from wsss_mm.cohort import TABLE, Cohort
from wsss_mm.errors import InputError
from wsss_mm.evaluation.sites import probed_rows, site_readability
from wsss_mm.patches import read_manifest
from wsss_mm.settings import load_params
from wsss_mm.vocabulary import get_vocabulary


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
    figures = site_readability(rows, found.values, vocabulary.codes)
    row = {"cohort": params.cohort.name, "encoder": found.digest, "slides": rows["slide_id"].nunique()}
    add_row(arguments.out, {**row, "sites": sorted(set(rows["site"])), **figures})
    shown = {name: "unknown" if score is None else f"{score:.2f}" for name, score in figures.items()}
    logging.getLogger(__name__).warning("of chance 0 and knowledge 1: site %(site)s, tissue %(tissue)s", shown)


def of_several_slides(manifest: pd.DataFrame) -> pd.DataFrame:
    """Rows of the sites that have two slides or more, of patches whose place is known.

    Raises:
        InputError: there are no two such sites.
    """
    rows = probed_rows(manifest[manifest["x"] >= 0])
    if rows.empty or rows.groupby("site")["slide_id"].nunique().min() < 2:
        raise InputError(
            f"{places.PATCHES}: no two sites have patches of two slides each; name sites in column site of slides.csv"
        )
    return rows


if __name__ == "__main__":
    main()
