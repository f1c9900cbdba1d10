"""Pages of a run's slides, one after the other, and one of all: what is written already is not written again."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from tqdm import tqdm

from wsss_mm import __version__, places
from wsss_mm.errors import InputError, spelled_out
from wsss_mm.evaluation.areas import EDGES
from wsss_mm.files import atomic_path, digest, locked, read_json, sampled_digest, write_json, write_text
from wsss_mm.findings.cohort import cohort_document
from wsss_mm.findings.document import Document, Shot
from wsss_mm.findings.html import render_html
from wsss_mm.findings.looks import overlay_of, shots_of
from wsss_mm.findings.pages import slide_document
from wsss_mm.findings.pdf import write_pdf
from wsss_mm.findings.program import Program
from wsss_mm.findings.slide import Asked, Findings, findings_of
from wsss_mm.findings.survey import LEAST, MOST, MapField, Survey, survey
from wsss_mm.names import text_cell
from wsss_mm.slides import open_slide
from wsss_mm.slides.roi import read_region
from wsss_mm.wsi.viewer.results import Result

logger = logging.getLogger(__name__)

_LAYOUT = 2  # of the pages: a higher number writes all anew
_OVERLAY, _SMALL = 1400, 320  # px
_OF_COHORT = 2  # fields of a class that are shown as most certain, and as least
_LONGEST_ERROR = 300


@dataclass(frozen=True)
class FindingsRun:
    """What pages are made of.

    Attributes:
        results: the slides.
        slides: their files by the results' names, where they were found.
        asked: whose they are, by name.
        program: the model; None where it is not at hand.
        failed: why slides have no results, by name.
    """

    results: Sequence[Result]
    slides: Mapping[str, Path]
    asked: Mapping[str, Asked] = field(default_factory=dict)
    program: Program | None = None
    failed: Mapping[str, str] = field(default_factory=dict)


def write_findings(run: FindingsRun, out: Path, *, anew: bool = False, progress: bool = True) -> list[str]:
    """Write a page of each slide and one of all, as HTML and as PDF, and the areas as a table.

    Args:
        run: what they are of.
        out: a folder; gets one for each slide.
        anew: also of what was written already.
        progress: show a progress bar.

    Returns:
        Names of slides that failed here; each is logged, and the others are finished.

    Raises:
        InputError: slides have differing classes, or none could be looked at.
    """
    _check_classes(run.results)
    done: list[Findings] = []
    failed = dict(run.failed)
    quiet = {} if progress else {"disable": True}  # `disable=False` would overrule TQDM_DISABLE
    for result in tqdm(run.results, desc="findings", unit="slide", **quiet):
        try:
            done.append(_slide(run, result, out, anew=anew))
        except (InputError, OSError) as error:
            logger.error("%s: %s", result.name, error)
            failed[result.name] = _told(error)
    if not done:
        raise InputError(f"{out}: no slide could be looked at; the lines above say why")
    write_text(out / places.AREAS, _areas(done))
    links = {found.result.name: f"{quote(found.result.name)}/{places.FINDINGS_PAGE}" for found in done}
    overviews = [Shot(overlay_of(found.result, _SMALL), found.result.name) for found in done]
    document = cohort_document(_of_one_program(done), failed, links, overviews, _of_all(run, done))
    _write(document, out / places.COHORT_FINDINGS_PAGE)
    return [name for name in failed if name not in run.failed]


def _told(error: Exception) -> str:
    return spelled_out(" ".join(str(error).split()))[:_LONGEST_ERROR]


def _check_classes(results: Sequence[Result]) -> None:
    first = results[0]
    for result in results[1:]:
        if [item.code for item in result.classes] != [item.code for item in first.classes]:
            raise InputError(
                f"{result.folder}: has other classes than {first.folder}; give the results of one model at a time"
            )


def _slide(run: FindingsRun, result: Result, out: Path, *, anew: bool) -> Findings:
    """What is known of a slide, whose page is there afterwards."""
    asked, slide = run.asked.get(result.name, Asked()), run.slides.get(result.name)
    program = run.program if run.program is not None and _drew(run.program, result) else None
    folder = out / result.name
    with locked(folder):
        of = _made_of(result, asked, program, slide)
        found = None if anew else _remembered(folder, of)
        fresh = found is None
        found = survey(result) if found is None else found
        known = findings_of(result, asked, program, found, _outside(asked, result))
        if fresh:
            shots, why = [], f"The file of the slide, {result.slide_file}, was not at hand, so no fields are shown."
            if slide is not None:
                shots = shots_of(result, found.places, slide)
            overlay = Shot(overlay_of(result, _OVERLAY), "The slide with its tissues in their colours.")
            _write(slide_document(known, overlay, shots, why), folder / places.FINDINGS_PAGE)
            memory = {"of": of, "pixels": found.pixels.tolist(), "places": [asdict(place) for place in found.places]}
            write_json(folder / places.FINDINGS_MEMORY, memory)
    return known


def _drew(program: Program, result: Result) -> bool:
    """Whether a model is the one that drew a map."""
    said = read_json(result.folder / places.SUMMARY)["model"]
    same = said.get("weights_md5") == program.weights_md5 and said["classes"] == list(program.vocabulary.codes)
    if not same:
        logger.warning(
            "%s: was segmented with another model than %s; name that one with --model, for intervals of its areas",
            result.name,
            program.folder,
        )
    return same


def _write(document: Document, page: Path) -> None:
    """A page as PDF, and as HTML beside it."""
    with atomic_path(page.with_suffix(".pdf")) as temporary:
        write_pdf(document, temporary)
    write_text(page, render_html(document))


def _made_of(result: Result, asked: Asked, program: Program | None, slide: Path | None) -> str:
    """A digest of all that a slide's page depends on."""
    files = [result.folder / name for name in (places.LABEL_MAP, places.OVERLAY, places.CONFIDENCE)]
    said = [
        *(__version__, str(_LAYOUT), digest(result.folder / places.SUMMARY)),
        *(sampled_digest(path) if path.is_file() else "" for path in files),
        *(asked.patient, asked.site, "" if asked.roi is None else digest(asked.roi)),
        *(
            "" if program is None else repr((program.sentences, program.errors and program.errors.to_json())),
            result.name,
        ),
        "" if slide is None else f"{slide.name} {slide.stat().st_size}",
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _remembered(folder: Path, of: str) -> Survey | None:
    """What was found before of the same things, whose pages are there; None, to look again, of what does not fit."""
    page = folder / places.FINDINGS_PAGE
    if not (page.is_file() and page.with_suffix(".pdf").is_file()):
        return None
    try:
        said = read_json(folder / places.FINDINGS_MEMORY)
        if said["of"] != of:
            return None
        pixels = np.array(said["pixels"], np.float64).reshape(-1, len(EDGES) - 1)
        return Survey(pixels, tuple(MapField(**place) for place in said["places"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _outside(asked: Asked, result: Result) -> float | None:
    """mm2 of a slide outside of its region of interest; None where that is not known."""
    if asked.roi is None:
        return None
    roi = read_json(result.folder / places.SUMMARY).get("roi")
    if not isinstance(roi, dict) or roi.get("sha256") != digest(asked.roi):
        return None
    inside = read_region(asked.roi, result.bounds[:2]).geometry.area * result.slide_mpp**2 / 1e6
    return max(0.0, result.size[0] * result.size[1] * result.mpp**2 / 1e6 - inside)


def _of_one_program(slides: Sequence[Findings]) -> Sequence[Findings]:
    """Slides, the first of which speaks for the model of all; of none where they differ."""
    programs = {id(found.program) for found in slides}
    if len(programs) == 1:
        return slides
    return sorted(slides, key=lambda found: found.program is not None)


def _of_all(run: FindingsRun, slides: Sequence[Findings]) -> list[Shot]:
    """Fields of each class where the model was most and least certain, over all slides that can be opened."""
    shown = [found for found in slides if found.result.certain and found.result.name in run.slides]
    chosen: list[tuple[Findings, MapField]] = []
    for index in range(len(slides[0].result.classes)):
        for why, sign in ((MOST, -1), (LEAST, 1)):
            found = [
                (sign * (place.confidence or 0), number, place)
                for number, one in enumerate(shown)
                for place in one.survey.places
                if place.index == index and place.why == why
            ]
            best = sorted(found, key=lambda item: item[:2])[:_OF_COHORT]
            chosen += [(shown[number], place) for _, number, place in best]
    return list(_shots(run, chosen))


def _shots(run: FindingsRun, chosen: Sequence[tuple[Findings, MapField]]) -> Iterator[Shot]:
    for found, place in chosen:
        (shot,) = shots_of(found.result, [place], run.slides[found.result.name])
        yield Shot(shot.picture, f"{shot.caption}, {found.result.name}", shot.color)


def _areas(slides: Sequence[Findings]) -> str:
    """A CSV of one row for each class of each slide."""
    rows: list[dict[str, Any]] = []
    for found in slides:
        for index, item in enumerate(found.result.classes):
            low, high = (None, None) if found.intervals is None else found.intervals[index]
            rows.append(
                {
                    "slide": text_cell(found.result.name),
                    "patient": text_cell(found.asked.patient),
                    "site": text_cell(found.asked.site),
                    "tissue": text_cell(item.name),
                    "area_mm2": item.area_mm2,
                    "area_mm2_low": low,
                    "area_mm2_high": high,
                    "share": item.share,
                    "certainty": item.confidence,
                }
            )
    return pd.DataFrame(rows).to_csv(index=False, lineterminator="\n", float_format="%.6f")


def readable(slides: Mapping[str, Path], results: Sequence[Result]) -> dict[str, Path]:
    """Slide files that open; others are named."""
    found = {}
    for result in results:
        if (path := slides.get(result.name)) is None:
            continue
        try:
            open_slide(path, result.slide_mpp).close()
            found[result.name] = path
        except InputError as error:
            logger.warning("%s", error)
    return found
