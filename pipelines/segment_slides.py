"""Map the cohort's slides of the chosen splits; a bad slide is named in the end, when the others are done."""

import runpy
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from wsss_mm import places
from wsss_mm.clusters import named_cluster
from wsss_mm.cohort import TABLE, Cohort
from wsss_mm.errors import InputError
from wsss_mm.files import atomic_folder
from wsss_mm.inference.nodes import Seat
from wsss_mm.inference.runtime import prepare_torch
from wsss_mm.slide_parameters import Parameters
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.wsi.cohort import jobs_of, note_nothing, raise_failed, share_folder, side_by_side
from wsss_mm.wsi.mapping import map_slide
from wsss_mm.wsi.model import SlideModel
from wsss_mm.wsi.nodes import with_model

if TYPE_CHECKING:
    from wsss_mm.settings import Params

MODEL, OUT = places.SEGMENTER, places.MAPS
WORK = Path(
    "work_dirs/segment_slides"
)  # what is done of a failed or killed run: OUT is replaced when all have had their turn


def main(params: "Params") -> None:
    """Store what the network sees on each slide in data/maps/<slide_id>."""
    prepare_torch(params.threads)
    jobs = jobs_of(Cohort.read(TABLE, check_files=False), params.slides.splits, WORK)
    if not jobs:
        note_nothing(OUT, TABLE, params.slides.splits)
        return
    model = SlideModel.from_folder(MODEL, precision=params.slides.precision)
    codes = get_vocabulary(params.cohort.vocabulary).codes
    if tuple(item.code for item in model.classes) != codes:
        raise InputError(f"{MODEL}: its classes are not {', '.join(codes)} of params.yaml; train it again: dvc repro")
    seat, parameters = Seat.here(), Parameters.of(params.slides)
    if named_cluster():
        work = partial(map_slide, parameters=parameters, skip_done=True, progress=False)
        work = with_model(work, MODEL, seat, model.precision, model.digest or None)
    else:
        rows = sys.stderr.isatty()  # a second bar, below the first, is for terminals alone: it moves the cursor
        work = partial(map_slide, model=model, parameters=parameters, skip_done=True, progress=rows)
    with atomic_folder(OUT) as folder:
        done = side_by_side(list(jobs), work, "segment slides", seat.demand)
        results = list(tqdm(done, "slides", len(jobs), unit="slide"))
        for job, result in zip(jobs, results, strict=True):
            if not result.error:
                share_folder(job.folder, folder / job.slide_id)
    raise_failed(results, "; results of the others: dvc repro -s export_slides")
    shutil.rmtree(WORK)


if __name__ == "__main__":
    runpy.run_module("pipelines", run_name="__main__")
