"""Gate after `cohort`: can every slide be used?

Reads data/cohort/slides.csv, every row as it is (`wsss_mm.slides.table.read_slide_table` would stop at the first
fault), and looks at each slide once: an overview, and fields at the resolution of the patches. A cohort of labelled
patches names slides without files; of them only the table is judged. Quarantined slides are passed over.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wsss_mm.errors import InputError
from wsss_mm.files import read_cells
from wsss_mm.gates.checks import Check, Table
from wsss_mm.gates.measure import image_statistics
from wsss_mm.gates.quarantine import PATH as QUARANTINE
from wsss_mm.gates.quarantine import quarantined
from wsss_mm.settings import CohortGate, Params

TABLE = Path("data/cohort/slides.csv")

_COLUMNS = ("slide_id", "patient_id", "path", "split", "mpp", "roi", "annotation")
_SPLITS = ("train", "valid", "test")
_OVERVIEW = 2048  # px, longer side of the image tissue and stain are measured on
_FIELD, _FIELDS = 256, 16  # px at patches.mpp, and how many are looked at for focus


def tables(params: Params, root: Path) -> Iterator[Table]:
    """Measure the table of slides: its columns, the slides, their files, the splits."""
    slides = read_cells(
        root / TABLE, absent="not found; make it with: dvc repro -f cohort", remedy="make it again: dvc repro -f cohort"
    )
    columns = pd.DataFrame({"column": list(_COLUMNS), "there": [name in slides for name in _COLUMNS]})
    yield Table("columns", columns, "column", _column_checks, required=True)
    slides = slides[~slides["slide_id"].isin(quarantined("slide", root / QUARANTINE))].reset_index(drop=True)
    listed = slides[["slide_id", "patient_id", "split"]].replace("", None)
    patients = listed.groupby("patient_id")["split"].transform("nunique")  # slides without one are no patient's
    yield Table("slides", listed.assign(patient_splits=patients), "slide_id", _listed_checks)
    yield Table("files", _measure_slides(slides, params, root), "slide_id", lambda gxe: _file_checks(gxe, params))
    counts = slides.groupby("split")["slide_id"].nunique()
    splits = pd.DataFrame({"split": ["train", "test"], "slides": [int(counts.get(s, 0)) for s in ("train", "test")]})
    yield Table("splits", splits, "split", lambda gxe: _split_checks(gxe, params))


def _measure_slides(slides: pd.DataFrame, params: Params, root: Path) -> pd.DataFrame:
    """One row a slide that has a file; `copies` counts the slides with the same picture."""
    from wsss_mm.patches.parallel import map_files

    named = slides[slides["path"] != ""]
    folder = (root / TABLE).parent
    rows = map_files(lambda slide: _measure_slide(slide, folder, params), named.itertuples(), "measure slides")
    columns = ["slide_id", "problem", "mpp", "tissue_area", "focus", "haematoxylin", "eosin", "content", "drawings"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(copies=frame.groupby("content")["slide_id"].transform("size")).drop(columns="content")


def _measure_slide(slide: Any, folder: Path, params: Params) -> dict[str, Any]:
    """Measurements of one slide, or what prevents them: a bad slide does not take good ones with it."""
    from wsss_mm.slides import open_slide

    row = {"slide_id": slide.slide_id, "problem": "none", "drawings": "none"}
    try:
        override = float(slide.mpp) if slide.mpp else None
        with open_slide(folder / slide.path, override) as reader:
            row["mpp"] = reader.mpp
            low, high = params.gates.cohort.mpp
            if low <= reader.mpp <= high:  # else fields would be single pixels, or larger than memory
                row |= _look(reader, params.patches.mpp)
    except (InputError, ValueError) as error:
        row["problem"] = str(error)
    except (OSError, MemoryError) as error:
        row["problem"] = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return row | {"drawings": _drawings(slide, folder)}


def _look(reader: Any, mpp: float) -> dict[str, Any]:
    from wsss_mm.slides.tissue import TissueMask, tissue_mask

    overview = reader.thumbnail(min(_OVERVIEW, max(reader.size)))
    scale = (reader.size[0] / overview.shape[1], reader.size[1] / overview.shape[0])
    mask = TissueMask(tissue_mask(overview, reader.mpp * scale[0]), scale)
    stain = image_statistics(overview)
    return {
        "tissue_area": float(mask.mask.sum()) * scale[0] * scale[1] * reader.mpp**2 / 1e6,
        "focus": _focus(reader, mask, mpp),
        "haematoxylin": stain["haematoxylin"],
        "eosin": stain["eosin"],
        "content": hashlib.sha256(repr(reader.size).encode() + overview.tobytes()).hexdigest(),
    }


def _focus(reader: Any, mask: Any, mpp: float) -> float:
    """Median focus of the fields with the most tissue, evenly taken; NaN where there is none."""
    from wsss_mm.slides.tiling import grid

    side = _FIELD * mpp / reader.mpp
    corners = grid(*reader.size, side)
    if not len(corners):
        return image_statistics(reader.read(0, 0, tuple(int(s * reader.mpp / mpp) for s in reader.size), mpp))["focus"]
    share = mask.share(np.hstack([corners, np.full((len(corners), 2), side)]))
    full = corners[share >= 0.9 * share.max()] if share.max() > 0 else corners[:1]
    chosen = full[np.unique(np.linspace(0, len(full) - 1, _FIELDS).round().astype(int))]
    values = [image_statistics(reader.read(int(x), int(y), _FIELD, mpp))["focus"] for x, y in chosen]
    values = [value for value in values if np.isfinite(value)]
    return float(np.median(values)) if values else float("nan")


def _drawings(slide: Any, folder: Path) -> str:
    """What is wrong with the slide's GeoJSON files, or "none"."""
    from wsss_mm.slides.roi import read_annotations

    for name in filter(None, (slide.roi, slide.annotation)):
        try:
            read_annotations(folder / name)
        except (InputError, OSError) as error:
            return str(error)
    return "none"


def _column_checks(gxe: Any) -> list[Check]:
    return [
        Check(
            "columns",
            "every column is there",
            gxe.ExpectColumnValuesToBeInSet(column="there", value_set=[True]),
            "make the table again: dvc repro -f cohort",
        )
    ]


def _listed_checks(gxe: Any) -> list[Check]:
    return [
        Check(
            "some_slides",
            "there is at least one slide",
            gxe.ExpectTableRowCountToBeBetween(min_value=1),
            "list slides in slides.csv",
        ),
        Check(
            "unique_ids",
            "a slide id is given once",
            gxe.ExpectColumnValuesToBeUnique(column="slide_id"),
            "give every slide its own slide_id in slides.csv",
        ),
        Check(
            "has_patient",
            "a slide has a patient",
            gxe.ExpectColumnValuesToNotBeNull(column="patient_id"),
            "fill in patient_id in slides.csv",
        ),
        Check(
            "known_splits",
            f"split is one of {', '.join(_SPLITS)}",
            gxe.ExpectColumnValuesToBeInSet(column="split", value_set=list(_SPLITS)),
            "correct the column split of slides.csv",
        ),
        Check(
            "one_patient_one_split",
            "a patient is in one split",
            gxe.ExpectColumnValuesToBeInSet(column="patient_splits", value_set=[0, 1]),
            "give all slides of the patient the same split in slides.csv",
            optional=True,
        ),
    ]


def _file_checks(gxe: Any, params: Params) -> list[Check]:
    return [
        Check(
            "opens",
            "the slide opens, and its resolution is known",
            gxe.ExpectColumnValuesToBeInSet(column="problem", value_set=["none"]),
            "fetch the file again, or give mpp in slides.csv; or wsss-mm quarantine add --from"
            " reports/gates/cohort.json",
        ),
        Check(
            "drawings_readable",
            "roi and annotation, where given, are GeoJSON",
            gxe.ExpectColumnValuesToBeInSet(column="drawings", value_set=["none"]),
            "export it from QuPath again, or empty the cell in slides.csv",
        ),
        *_look_checks(gxe, params.gates.cohort),
        Check(
            "one_slide_once",
            "no two slides show the same picture",
            gxe.ExpectColumnValuesToBeInSet(column="copies", value_set=[1]),
            "keep one of them in slides.csv",
            optional=True,
        ),
    ]


def _look_checks(gxe: Any, gate: CohortGate) -> list[Check]:
    """What was measured lies within its limits."""

    def between(name: str, says: str, column: str, limits: tuple[float | None, float | None], remedy: str) -> Check:
        # Slides without measurements fail `opens`, once is enough.
        low, high = limits
        expectation = gxe.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high)
        return Check(name, says, expectation, remedy, optional=True)

    aside = "scan it again, or set it aside: wsss-mm quarantine add --from reports/gates/cohort.json"
    return [
        between(
            "mpp",
            f"a slide has {gate.mpp[0]:g} to {gate.mpp[1]:g} um/px",
            "mpp",
            gate.mpp,
            "correct mpp in slides.csv",
        ),
        between(
            "tissue",
            f"a slide shows at least {gate.min_tissue_area:g} mm2 of tissue",
            "tissue_area",
            (gate.min_tissue_area, None),
            aside,
        ),
        between(
            "focus",
            f"the variance of the Laplacian is at least {gate.min_focus:g}",
            "focus",
            (gate.min_focus, None),
            aside,
        ),
        between(
            "haematoxylin",
            f"the density of haematoxylin is {gate.haematoxylin[0]:g} to {gate.haematoxylin[1]:g}",
            "haematoxylin",
            gate.haematoxylin,
            aside,
        ),
        between(
            "eosin",
            f"the density of eosin is {gate.eosin[0]:g} to {gate.eosin[1]:g}",
            "eosin",
            gate.eosin,
            aside,
        ),
    ]


def _split_checks(gxe: Any, params: Params) -> list[Check]:
    least = params.gates.cohort.min_slides_per_split
    return [
        Check(
            "slides_per_split",
            f"train and test have at least {least} slides",
            gxe.ExpectColumnValuesToBeBetween(column="slides", min_value=least),
            "move slides of other patients into it in slides.csv",
        )
    ]
