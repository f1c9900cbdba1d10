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
from wsss_mm.gates.checks import Check, Measured, Table
from wsss_mm.gates.measure import image_statistics
from wsss_mm.gates.quarantine import PATH as QUARANTINE
from wsss_mm.gates.quarantine import quarantined
from wsss_mm.settings import Params

LIST = Path("data/cohort/slides.csv")

_COLUMNS = ("slide_id", "patient_id", "path", "split", "mpp", "roi", "annotation")
_SPLITS = ("train", "valid", "test")
_OVERVIEW = 2048  # px, longer side of the image tissue and stain are measured on
_FIELD, _FIELDS = 256, 16  # px at patches.mpp, and how many are looked at for focus


_MAKE = "dvc repro -f cohort"
_ASIDE = "scan it again, or set it aside: wsss-mm quarantine add --from reports/gates/cohort.json"


def _seen(name: str, column: str, says: str, do: str, **limits: Any) -> Check:
    """A check of what is seen on a slide; slides without measurements fail `opens`, once is enough."""
    return Check(name, column, says, do, optional=True, **limits)


COLUMNS = Table(
    "columns",
    "column",
    (Check("columns", "there", "every column is there", f"make the table again: {_MAKE}", among=(True,)),),
    required=True,
)
SLIDES = Table(
    "slides",
    "slide_id",
    (
        Check("some_slides", None, "there is at least one slide", "list slides in slides.csv", low=1),
        Check(
            "unique_ids",
            "slide_id",
            "a slide id is given once",
            "give every slide its own slide_id in slides.csv",
            unique=True,
        ),
        Check("has_patient", "patient_id", "a slide has a patient", "fill in patient_id in slides.csv"),
        Check(
            "known_splits",
            "split",
            f"split is one of {', '.join(_SPLITS)}",
            "correct the column split of slides.csv",
            among=_SPLITS,
        ),
        _seen(
            "one_patient_one_split",
            "patient_splits",
            "a patient is in one split",
            "give all slides of the patient the same split in slides.csv",
            high=1,
        ),
    ),
)
FILES = Table(
    "files",
    "slide_id",
    (
        Check(
            "opens",
            "problem",
            "the slide opens, and its resolution is known",
            "fetch the file again, or give mpp in slides.csv; or wsss-mm quarantine add --from"
            " reports/gates/cohort.json",
            among=("none",),
        ),
        Check(
            "drawings_readable",
            "drawings",
            "roi and annotation, where given, are GeoJSON",
            "export it from QuPath again, or empty the cell in slides.csv",
            among=("none",),
        ),
        _seen(
            "mpp",
            "mpp",
            "a slide has {mpp[0]:g} to {mpp[1]:g} um/px",
            "correct mpp in slides.csv",
            low="mpp[0]",
            high="mpp[1]",
        ),
        _seen(
            "tissue",
            "tissue_area",
            "a slide shows at least {min_tissue_area:g} mm2 of tissue",
            _ASIDE,
            low="min_tissue_area",
        ),
        _seen("focus", "focus", "the variance of the Laplacian is at least {min_focus:g}", _ASIDE, low="min_focus"),
        _seen(
            "haematoxylin",
            "haematoxylin",
            "the density of haematoxylin is {haematoxylin[0]:g} to {haematoxylin[1]:g}",
            _ASIDE,
            low="haematoxylin[0]",
            high="haematoxylin[1]",
        ),
        _seen(
            "eosin",
            "eosin",
            "the density of eosin is {eosin[0]:g} to {eosin[1]:g}",
            _ASIDE,
            low="eosin[0]",
            high="eosin[1]",
        ),
        _seen(
            "one_slide_once", "copies", "no two slides show the same picture", "keep one of them in slides.csv", high=1
        ),
    ),
)
SPLIT_SIZES = Table(
    "splits",
    "split",
    (
        Check(
            "slides_per_split",
            "slides",
            "train and test have at least {min_slides_per_split} slides",
            "move slides of other patients into it in slides.csv",
            low="min_slides_per_split",
        ),
    ),
)
TABLES = (COLUMNS, SLIDES, FILES, SPLIT_SIZES)


def measure(params: Params, root: Path) -> Iterator[Measured]:
    """Measure the table of slides: its columns, the slides, their files, the splits."""
    slides = read_cells(root / LIST, absent=f"not found; make it with: {_MAKE}", remedy=f"make it again: {_MAKE}")
    yield COLUMNS.of(pd.DataFrame({"column": list(_COLUMNS), "there": [name in slides for name in _COLUMNS]}))
    slides = slides[~slides["slide_id"].isin(quarantined("slide", root / QUARANTINE))].reset_index(drop=True)
    listed = slides[["slide_id", "patient_id", "split"]].replace("", None)
    patients = listed.groupby("patient_id")["split"].transform("nunique")  # slides without one are no patient's
    yield SLIDES.of(listed.assign(patient_splits=patients))
    yield FILES.of(_measure_slides(slides, params, root))
    counts = slides.groupby("split")["slide_id"].nunique()
    rows = [{"split": split, "slides": int(counts.get(split, 0))} for split in ("train", "test")]
    yield SPLIT_SIZES.of(pd.DataFrame(rows))


def _measure_slides(slides: pd.DataFrame, params: Params, root: Path) -> pd.DataFrame:
    """One row a slide that has a file; `copies` counts the slides with the same picture."""
    from wsss_mm.patches.parallel import map_files

    named = slides[slides["path"] != ""]
    folder = (root / LIST).parent
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
