"""Cutting slides into patches, with manifest and statistics, against a plain OpenSlide loop and against decoding alone.

Two slides of tissue, at 0.25 um/px in JPEG tiles, of which all patches of the grid are labelled: `cut_slides` stores
them as PNG and writes the manifest, and what gate `patches` measures of an image is measured too. The plain loop reads
the same patches of the best level one after another, and stores them as PNG; decoding reads each tile of that level
once. Tissue, label sets and digests are what the loop does without. Times are of the wall, which two cores shorten,
and of all cores (CPU).

    OMP_NUM_THREADS=1 python -m benchmarks.patches
"""

import io
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import openslide
import pandas as pd
from PIL import Image

from benchmarks.command import Option, cores, run
from benchmarks.rows import Measurement
from benchmarks.slides_memory import write_slide
from wsss_mm.cohort import LABELS, TABLE, Cohort
from wsss_mm.patches import get_vocabulary, write_manifest
from wsss_mm.patches.appearance import image_statistics
from wsss_mm.patches.cutting import cut_rows
from wsss_mm.patches.images import read_image, store_patch
from wsss_mm.patches.manifest import build_manifest
from wsss_mm.settings import load_profile
from wsss_mm.slides.table import write_slide_table

SIZE, SLIDE_MPP, TILE = 224, 0.25, 512
OPTIONS = {
    "side": Option(14_336, 3584, "px of each slide"),
    "mpp": Option(1.0, 1.0, "um/px of the patches; 1 is a level of the slides, 0.5 is read from one twice as fine"),
}
VOCABULARY = get_vocabulary("lung")


def make_cohort(folder: Path, side: int, mpp: float) -> Cohort:
    """Two slides, one for training and one for validation, and a label set for each patch of their grids."""
    table = folder / TABLE
    table.parent.mkdir(parents=True)
    rows, labels = [], []
    step = round(SIZE * mpp / SLIDE_MPP)
    for name, split in (("a", "train"), ("b", "valid")):
        write_slide(table.parent / f"{name}.tif", side, side)
        rows.append({"slide_id": name, "patient_id": name, "path": f"{name}.tif", "split": split})
        labels += [(name, x, y, "TE") for y in range(0, side, step) for x in range(0, side, step)]
    write_slide_table(pd.DataFrame(rows), table)
    pd.DataFrame(labels, columns=["slide_id", "x", "y", "labels"]).to_csv(table.parent / LABELS, index=False)
    return Cohort.read(table)


def cut(cohort: Cohort, out: Path, mpp: float) -> pd.DataFrame:
    """As stage `patches` does it, and the statistics of its gate."""
    measured = []

    def keep(patch_id: str, split: str, *, image: np.ndarray, mask: np.ndarray | None) -> dict:
        measured.append(image_statistics(image))
        return store_patch(out, patch_id, split, image=image, mask=mask, vocabulary=VOCABULARY)

    settings = load_profile("phantom").patches.model_copy(update={"mpp": mpp, "size": SIZE})
    frame = build_manifest(cut_rows(cohort, keep, settings=settings, vocabulary=VOCABULARY), VOCABULARY, str(out))
    write_manifest(frame, out)
    return frame


def loop(cohort: Cohort, out: Path, mpp: float) -> int:
    """What a script of ten lines does; how many patches."""
    count = 0
    for slide in cohort:
        with openslide.OpenSlide(str(slide.path)) as source:
            level = source.get_best_level_for_downsample(mpp / SLIDE_MPP)
            step = round(SIZE * mpp / SLIDE_MPP)
            side = round(step / source.level_downsamples[level])
            for y in range(0, source.dimensions[1], step):
                for x in range(0, source.dimensions[0], step):
                    image = source.read_region((x, y), level, (side, side)).convert("RGB")
                    if side != SIZE:
                        image = image.resize((SIZE, SIZE), Image.Resampling.BOX)
                    image.save(out / f"{slide.slide_id}-{x}-{y}.png")
                    count += 1
    return count


def decode(cohort: Cohort, mpp: float) -> None:
    """Each tile of the level that patches are read from, once."""
    for slide in cohort:
        with openslide.OpenSlide(str(slide.path)) as source:
            level = source.get_best_level_for_downsample(mpp / SLIDE_MPP)
            factor, (width, height) = source.level_downsamples[level], source.level_dimensions[level]
            for y in range(0, height, TILE):
                for x in range(0, width, TILE):
                    source.read_region((round(x * factor), round(y * factor)), level, (TILE, TILE))


def encode(images: list[np.ndarray]) -> None:
    """PNG as Pillow writes it unless told otherwise, which the loop does, into memory."""
    for image in images:
        Image.fromarray(image).save(io.BytesIO(), "PNG")


def both_clocks(work: partial, out: Path) -> tuple[float, float]:
    """Seconds on the wall and of all cores, into an empty folder."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(arguments) -> Iterator[Measurement]:
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "patches"
        cohort = make_cohort(Path(place), arguments.side, arguments.mpp)
        out.mkdir()
        count = loop(cohort, out, arguments.mpp)
        images = [read_image(path) for path in out.iterdir()]
        ways = {
            "cut": partial(cut, cohort, out, arguments.mpp),
            "loop": partial(loop, cohort, out, arguments.mpp),
            "decoding": partial(decode, cohort, arguments.mpp),
            "PNG": partial(encode, images),
        }
        rounds = [{name: both_clocks(work, out) for name, work in ways.items()} for _ in range(arguments.repeats + 1)]
    what = f"cutting {count} patches at {arguments.mpp:g} um/px of 2 slides with manifest and statistics"

    def times(name: str, clock: int) -> list[float]:
        return [found[name][clock] for found in rounds[1:]]

    rate, plain = ([count / seconds for seconds in times(name, 0)] for name in ("cut", "loop"))
    yield Measurement(
        f"{what}, wall, {cores()} cores", rate, "patches/s", over=plain, over_what="a plain OpenSlide loop", at_least=2
    )
    rate, plain = ([count / seconds for seconds in times(name, 1)] for name in ("cut", "loop"))
    yield Measurement(f"{what}, CPU", rate, "patches/s of CPU time", over=plain, over_what="a plain OpenSlide loop")
    whole, png, once = (times(name, 1) for name in ("cut", "PNG", "decoding"))
    over = "decoding each tile once"
    yield Measurement(f"{what}, CPU", whole, "s", over=once, over_what=over, at_most=1.5)
    yield Measurement(f"PNG of the same {count} patches alone, CPU", png, "s", over=once, over_what=over)


if __name__ == "__main__":
    sys.exit(run(measure, OPTIONS))
