"""How often a model calls slides unlike its training that are of the same cohort: false alarms, with their interval.

What training patches look like is measured as for model.json (`wsss_mm.patches.likeness`), and then held against

- the validation and test patches of the same cohort, slide by slide, larger ones cut into windows of the training's;
- with --slides so many slides more of the phantom, of seeds that no cohort has, read and compared as
  `wsss-mm segment` does, which also tries other resolutions.

No network takes part. Run after `dvc repro patches`; a row of JSON a kind is added to --out. The interval is that of
Clopper and Pearson, 95 %: slides of one cohort are taken for independent of each other.
"""

import argparse
import logging
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from studies.rows import add_row
from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.patches import read_manifest
from wsss_mm.patches.images import Pixels, read_image
from wsss_mm.patches.likeness import LEAST_WINDOWS, Appearance, appearance_of, compared, measure_look
from wsss_mm.settings import load_params
from wsss_mm.slide_parameters import DEFAULTS
from wsss_mm.slides.phantom.aperio import write_aperio
from wsss_mm.slides.phantom.cohort import PHANTOM_MPP, generate_slide
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.wsi.job import Job
from wsss_mm.wsi.likeness import compare_slide
from wsss_mm.wsi.mapping import choose_pixels
from wsss_mm.wsi.slidemap import opened

logger = logging.getLogger(__name__)


def main() -> None:
    """Compare, and say how many slides were warned of."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=0, help="phantom slides to make, of a cohort of the phantom")
    parser.add_argument("--size", type=int, default=2048, help="px of each at 0.5 um/px")
    parser.add_argument("--seed", type=int, default=20_000, help="of the slides, none that a cohort has")
    parser.add_argument("--out", type=Path, default=places.STUDIES / "likeness.jsonl", help="rows of results")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    params = load_params()
    manifest = read_manifest(places.PATCHES, get_vocabulary(params.cohort.vocabulary))
    appearance = appearance_of(_pictures(manifest[manifest["split"] == "train"]), params.patches.size)
    if appearance is None:
        raise InputError(f"{places.PATCHES}: too few training patches to say what they look like")
    held = {"valid and test": of_patches(manifest[manifest["split"] != "train"], appearance)}
    if arguments.slides:
        seeds = np.random.SeedSequence(arguments.seed).spawn(arguments.slides)
        held["phantom"] = of_phantom(seeds, arguments.size, appearance, params.patches.mpp)
    for kind, found in held.items():
        row = {"cohort": params.cohort.name, "kind": kind, "limit": appearance.limit, **alarms(list(found))}
        add_row(arguments.out, row)
        logger.warning(
            "%s: %d of %d slides are called unlike, %.1f %%, from %.1f to %.1f; unlikeness at most %.2f, limit %.2f",
            *(kind, row["alarms"], row["slides"], 100 * row["share"], 100 * row["low"], 100 * row["high"]),
            *(row["most"], row["limit"]),
        )


def _pictures(rows: pd.DataFrame) -> list[tuple[str, Any]]:
    paths = zip(rows["slide_id"], rows["path"], strict=True)
    return [(str(slide), partial(read_image, places.PATCHES / path)) for slide, path in paths]


def of_patches(rows: pd.DataFrame, appearance: Appearance) -> Iterator[dict[str, Any]]:
    """What `compared` says of each slide of manifest rows that has windows enough."""
    for slide, own in rows.groupby("slide_id"):
        windows = [window for _, read in _pictures(own) for window in _windows(read(), appearance.size)]
        found = [one for window in windows if (one := measure_look(window)) is not None]
        if len(found) >= LEAST_WINDOWS:
            yield {"slide": slide, **compared(appearance, found, {}, float(own["mpp"].iloc[0]))}


def _windows(image: Pixels, size: int) -> Iterator[Pixels]:
    """Parts of an image of so many px, side by side."""
    height, width = image.shape[:2]
    for top in range(0, height - size + 1, size):
        for left in range(0, width - size + 1, size):
            yield image[top : top + size, left : left + size]


def of_phantom(
    seeds: list[np.random.SeedSequence], size: int, appearance: Appearance, mpp: float
) -> Iterator[dict[str, Any]]:
    """What is said of new slides of the phantom, read as those that are segmented, at a model's `mpp`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.tiff"
        for number, seed in enumerate(tqdm(seeds, unit="slide")):
            write_aperio(path, generate_slide(size, seed)[0], PHANTOM_MPP, 20)
            job = Job(str(number), path, Path(folder))
            with opened(job, mpp) as raster:
                choose_pixels(job, raster, DEFAULTS)
                found = compare_slide(job, raster, appearance)
            if found is not None and found["windows"] >= LEAST_WINDOWS:
                yield {"slide": number, **found}


def alarms(found: list[dict[str, Any]]) -> dict[str, Any]:
    """How many slides are warned of, their share with its interval, and the largest unlikeness."""
    from scipy.stats import beta

    count, warned = len(found), [one for one in found if one["warning"]]
    few, many = len(warned), len(found) - len(warned)
    return {
        "slides": count,
        "alarms": few,
        "share": few / count if count else float("nan"),
        "low": float(beta.ppf(0.025, few, many + 1)) if few else 0.0,
        "high": float(beta.ppf(0.975, few + 1, many)) if many else 1.0,
        "most": max((one["figures"]["unlikeness"]["found"] for one in found), default=float("nan")),
        "warnings": [f"{one['slide']}: {one['warning']}" for one in warned],
    }


if __name__ == "__main__":
    main()
