"""Segment the cohort's slides of the chosen splits; a bad slide is named in the end, when the others are done."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pipelines import run_stage
from wsss_mm.cohort import TABLE, Cohort, Slide
from wsss_mm.engine.runner import prepare_torch
from wsss_mm.errors import InputError
from wsss_mm.files import atomic_folder, write_json, write_text
from wsss_mm.names import NOTE
from wsss_mm.names import TABLE as SLIDES
from wsss_mm.patches import get_vocabulary
from wsss_mm.patches.quarantine import slides_aside
from wsss_mm.settings import Params
from wsss_mm.wsi import SlideModel
from wsss_mm.wsi.cohort import Job, segment_all, share_folder, write_table
from wsss_mm.wsi.segment import SUMMARY
from wsss_mm.wsi.truth import judge_slide
from wsss_mm.wsi.viewer import write_overview

MODEL, OUT = Path("models/segmenter"), Path("results/slides")
WORK = Path(
    "work_dirs/segment_slides"
)  # what is done of a failed or killed run: OUT is replaced when all have had their turn


def main(params: Params) -> None:
    """Segment each slide into results/slides/<slide_id>, and list them in slides.csv and index.html there."""
    prepare_torch(params.threads)
    cohort = Cohort.read(TABLE, check_files=False)
    slides = cohort.with_files(params.slides.splits, slides_aside(cohort.frame))
    if cohort.with_files() and not cohort.with_files(params.slides.splits):
        there = ", ".join(sorted({slide.split for slide in cohort.with_files()}))
        raise InputError(
            f"params.yaml: slides.splits: {', '.join(params.slides.splits)}: {TABLE} has no slide of that; there are "
            f"slides of {there}: choose from these, or give slides that split in the table"
        )
    if not slides:
        splits = ", ".join(params.slides.splits)
        with atomic_folder(OUT) as folder:
            write_text(folder / NOTE, f"{TABLE} names no slide file in the splits {splits}: nothing to segment.\n")
        return
    model = SlideModel.from_folder(MODEL, precision=params.slides.precision)
    codes = get_vocabulary(params.cohort.vocabulary).codes
    if tuple(item.code for item in model.classes) != codes:
        raise InputError(f"{MODEL}: its classes are not {', '.join(codes)} of params.yaml; train it again: dvc repro")
    splits = cohort.splits
    jobs = [_job(slide) for slide in slides]
    options = params.slides.model_dump(exclude={"splits", "precision"}) | {"skip_done": True}
    results = []
    with atomic_folder(OUT) as folder:
        for result in tqdm(segment_all(jobs, model, options), "slides", len(jobs), unit="slide"):
            notes = {"split": splits[result.slide_id]}
            if result.summary is not None:
                notes |= _publish(result.slide_id, dict(result.summary), codes, folder)
            results.append(replace(result, notes=notes))
        write_table(folder / SLIDES, results)
        write_overview(folder, OUT)
    if errors := [result.error for result in results if result.error]:
        raise InputError(f"{len(errors)} of {len(jobs)} slides failed, the first: {errors[0]}")
    shutil.rmtree(WORK)


def _job(slide: Slide) -> Job:
    return Job(slide.slide_id, slide.path, WORK / slide.slide_id, slide.mpp, slide.roi)


def _publish(slide_id: str, summary: dict[str, Any], codes: Sequence[str], out: Path) -> dict[str, Any]:
    """Put a finished slide among the results, judged where there is truth; gives further columns of the table."""
    folder, truth = out / slide_id, TABLE.parent / "truth" / f"{slide_id}.tif"
    share_folder(WORK / slide_id, folder)
    if not truth.is_file():
        return {}
    summary["truth"] = judge_slide(folder / "segmentation.tif", truth, codes)
    write_json(folder / SUMMARY, summary)
    return {"miou": summary["truth"]["miou"]}


if __name__ == "__main__":
    run_stage(main)
