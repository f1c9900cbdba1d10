"""Segment the cohort's slides of the chosen splits; a bad slide is named in the end, when the others are done."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from pipelines import run_stage
from wsss_mm.engine.runner import prepare_torch
from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path, write_json, write_text
from wsss_mm.patches import get_vocabulary
from wsss_mm.settings import Params
from wsss_mm.slides.table import read_slide_table, resolve
from wsss_mm.wsi import SlideModel, segment_slide
from wsss_mm.wsi.segment import SUMMARY
from wsss_mm.wsi.truth import judge_slide
from wsss_mm.wsi.viewer import write_overview

logger = logging.getLogger(__name__)

TABLE, MODEL, OUT = Path("data/cohort/slides.csv"), Path("models/segmenter"), Path("results/slides")


def main(params: Params) -> None:
    """Segment each slide into results/slides/<slide_id>, and list them in slides.csv and index.html there."""
    prepare_torch(params.threads)
    table = read_slide_table(TABLE, check_files=False)
    slides = table[table["split"].isin(params.slides.splits) & (table["path"] != "")]
    OUT.mkdir(parents=True, exist_ok=True)
    if slides.empty:
        splits = ", ".join(params.slides.splits)
        write_text(OUT / "NOTE.txt", f"{TABLE} names no slide file in the splits {splits}: nothing to segment.\n")
        return
    model, codes = SlideModel.from_folder(MODEL), get_vocabulary(params.cohort.vocabulary).codes
    if tuple(item.code for item in model.classes) != codes:
        raise InputError(f"{MODEL}: its classes are not {', '.join(codes)} of params.yaml; train it again: dvc repro")
    records, errors = [], []
    for slide in tqdm(list(slides.itertuples(index=False)), desc="slides", unit="slide"):
        try:
            records.append(_record(slide, _segment(slide, model, params)))
        except InputError as error:
            logger.error("%s: %s", slide.slide_id, error)
            errors.append(str(error))
    with atomic_path(OUT / "slides.csv") as path:
        pd.DataFrame(records).to_csv(path, index=False, lineterminator="\n", float_format="%.6f")
    write_overview(OUT)
    if errors:
        raise InputError(f"{len(errors)} of {len(slides)} slides failed, the first: {errors[0]}")


def _segment(slide: Any, model: SlideModel, params: Params) -> dict[str, Any]:
    folder = OUT / slide.slide_id
    mpp = None if pd.isna(slide.mpp) else float(slide.mpp)
    options = params.slides.model_dump(exclude={"splits"})
    summary = segment_slide(resolve(TABLE, slide.path), model, folder, mpp_override=mpp, **options)
    truth = TABLE.parent / "truth" / f"{slide.slide_id}.tif"
    if truth.is_file():
        codes = [item.code for item in model.classes]
        summary["truth"] = judge_slide(folder / "segmentation.tif", truth, codes)
        write_json(folder / SUMMARY, summary)
    return summary


def _record(slide: Any, summary: Mapping[str, Any]) -> dict[str, Any]:
    """One line of the cohort's table."""
    areas = {f"area_mm2.{code}": figures["area_mm2"] for code, figures in summary["classes"].items()}
    whole = {key: summary[key] for key in ("tissue_area_mm2", "tumour_stroma_ratio")}
    judged = {"miou": summary["truth"]["miou"]} if "truth" in summary else {}
    return {"slide_id": slide.slide_id, "split": slide.split, **whole, **areas, **judged}


if __name__ == "__main__":
    run_stage(main)
