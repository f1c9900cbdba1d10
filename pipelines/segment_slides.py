"""Segment the cohort's slides of the chosen splits; a bad slide is named in the end, when the others are done."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from wsss_mm.engine.runner import prepare_torch
from wsss_mm.errors import InputError
from wsss_mm.files import atomic_folder, write_json, write_text
from wsss_mm.patches.quarantine import slides_aside
from wsss_mm.places import NOTE
from wsss_mm.places import SLIDES_TABLE as SLIDES
from wsss_mm.settings import Params
from wsss_mm.slides.table import read_slide_table, resolve
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.wsi import SlideModel
from wsss_mm.wsi.cohort import Job, segment_all, share_folder, write_table
from wsss_mm.wsi.segment import SUMMARY
from wsss_mm.wsi.truth import judge_slide
from wsss_mm.wsi.viewer import write_overview

TABLE, MODEL, OUT = Path("data/cohort/slides.csv"), Path("models/segmenter"), Path("results/slides")
WORK = Path(
    "work_dirs/segment_slides"
)  # what is done of a failed or killed run: OUT is replaced when all have had their turn


def main(params: Params) -> None:
    """Segment each slide into results/slides/<slide_id>, and list them in slides.csv and index.html there."""
    prepare_torch(params.threads)
    table = read_slide_table(TABLE, check_files=False)
    slides = table[table["split"].isin(params.slides.splits) & (table["path"] != "")]
    slides = slides[~slides["slide_id"].isin(slides_aside(table))]
    if slides.empty:
        splits = ", ".join(params.slides.splits)
        with atomic_folder(OUT) as folder:
            write_text(folder / NOTE, f"{TABLE} names no slide file in the splits {splits}: nothing to segment.\n")
        return
    model = SlideModel.from_folder(MODEL, precision=params.slides.precision)
    codes = get_vocabulary(params.cohort.vocabulary).codes
    if model.vocabulary.codes != codes:
        raise InputError(f"{MODEL}: its classes are not {', '.join(codes)} of params.yaml; train it again: dvc repro")
    splits = dict(zip(slides["slide_id"], slides["split"], strict=True))
    jobs = [_job(slide) for slide in slides.itertuples(index=False)]
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


def _job(slide: Any) -> Job:
    roi = resolve(TABLE, slide.roi) if slide.roi else None
    mpp = None if pd.isna(slide.mpp) else float(slide.mpp)
    return Job(slide.slide_id, resolve(TABLE, slide.path), WORK / slide.slide_id, mpp, roi)


def _publish(slide_id: str, summary: dict[str, Any], codes: Sequence[str], out: Path) -> dict[str, Any]:
    """Put a finished slide among the results, judged where there is truth; gives further columns of the table."""
    folder, truth = out / slide_id, TABLE.parent / "truth" / f"{slide_id}.tif"
    share_folder(WORK / slide_id, folder)
    if not truth.is_file():
        return {}
    summary["truth"] = judge_slide(folder / "segmentation.tif", truth, codes)
    write_json(folder / SUMMARY, summary)
    return {"miou": summary["truth"]["miou"]}
