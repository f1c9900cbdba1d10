"""Gate after `cohort`: can every slide be used?

Reads data/cohort/slides.csv, every row as it is (`wsss_mm.cohort.Cohort.read` would stop at the first fault), and looks
at each slide once: an overview, and fields at the resolution of the patches. A cohort of labelled patches names slides
without files; of them only the table is judged. Quarantined slides are passed over.
"""

import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely

from wsss_mm.cohort import TABLE, Slide
from wsss_mm.cohort.cohort import read_cells
from wsss_mm.errors import InputError
from wsss_mm.gates.checks import Measured, gate_tables
from wsss_mm.gates.measure import shown_again
from wsss_mm.gates.typical import ODD, above_others, judge
from wsss_mm.names import likeness
from wsss_mm.patches.appearance import image_statistics
from wsss_mm.patches.parallel import map_files
from wsss_mm.patches.quarantine import PATH as QUARANTINE
from wsss_mm.patches.quarantine import quarantined
from wsss_mm.patches.twins import look, twins
from wsss_mm.places import SLIDE_COLUMNS
from wsss_mm.settings import Params, PatchSettings
from wsss_mm.slides import SlideReader, open_slide
from wsss_mm.slides.overlap import overlap, sketches, tissue_alone
from wsss_mm.slides.roi import Region, read_annotations
from wsss_mm.slides.table import resolve
from wsss_mm.slides.tiling import grid
from wsss_mm.slides.tissue import TissueMask, tissue_and_pen
from wsss_mm.vocabulary import SPLITS

_MAY_LACK = {"site", "bytes", "quickhash"}
_COLUMNS = tuple(name for name in SLIDE_COLUMNS if name not in _MAY_LACK)
_OVERVIEW = 2048  # px, longer side of the image tissue and stain are measured on
_FIELD, _FIELDS = 256, 16  # px at patches.mpp, and how many are looked at for focus
_DRAWN, _LOOKS = ("roi", "annotation"), ("focus", "haematoxylin", "eosin")
_MEASURED = ("slide_id", "problem", "drawings", "mpp", "mpp_error", *_DRAWN, "tissue_area", "pen", *_LOOKS)
_SAME = 0.6  # correlation of tissue that is the same; that of two slides stays below 0.4

_MAKE = "dvc repro -f cohort"

COLUMNS, SLIDES, FILES, GROUPS, SITES, SPLIT_SIZES = gate_tables("cohort").values()


def measure(params: Params, root: Path) -> Iterator[Measured]:
    """Measure the table of slides: its columns, the slides, their files, the splits."""
    table = root / TABLE
    yield from measure_slides(read_cells(table, _MAKE), table, params, quarantined("slide", root / QUARANTINE))


def measure_slides(
    slides: pd.DataFrame, table: Path, params: Params, aside: Collection[str] = ()
) -> Iterator[Measured]:
    """Measure the rows of a table, made by stage `cohort` or not yet.

    Args:
        slides: its cells as text.
        table: where it lies.
        params: all of params.yaml and gates.yaml.
        aside: slides to pass over.
    """
    yield COLUMNS.of(pd.DataFrame({"column": list(_COLUMNS), "there": [name in slides for name in _COLUMNS]}))
    slides = slides[~slides["slide_id"].isin(list(aside))].reset_index(drop=True)
    listed = slides[["slide_id", "patient_id", "split"]].replace("", None)
    patients = listed.groupby(listed["patient_id"].map(likeness, na_action="ignore").replace("", None))[
        "split"
    ].transform("nunique")
    yield SLIDES.of(listed.assign(patient_splits=patients))
    files = _measure_slides(slides, params, table)
    sites = slides["site"][files.index] if "site" in slides else ""
    judged = judge(files.assign(site=sites), "slide_id", params.gates.cohort, _LOOKS)
    inked, plain = above_others(files, "slide_id", "pen", params.gates.cohort.max_more_pen)
    yield FILES.of(files.join(judged.said).assign(odd_pen=inked), like={**judged.like, f"{ODD}pen": plain})
    yield GROUPS.of(judged.groups)
    yield SITES.of(_sites_of_splits(slides))
    counts = slides.groupby("split")["slide_id"].nunique()
    rows = [{"split": split, "slides": int(counts.get(split, 0))} for split in ("train", "test")]
    yield SPLIT_SIZES.of(pd.DataFrame(rows))


def _sites_of_splits(slides: pd.DataFrame) -> pd.DataFrame:
    """Of valid and test, whether they are of other sites than training; of splits whose sites are all known."""
    sites = slides["site"] if "site" in slides else pd.Series("", slides.index)
    of = {split: set(sites[slides["split"] == split]) for split in SPLITS}
    rows = []
    for split in ("valid", "test"):
        if of[split] and of["train"] and "" not in of[split] | of["train"]:
            here, there = (", ".join(sorted(of[name])) for name in (split, "train"))
            apart = "none" if of[split] & of["train"] else f"{split} is of {here}, train of {there}"
            rows.append({"split": split, "apart": apart})
    return pd.DataFrame(rows, columns=["split", "apart"])


def _measure_slides(slides: pd.DataFrame, params: Params, table: Path) -> pd.DataFrame:
    """One row a slide that has a file; `copies` counts the slides with the same picture."""
    named = slides[slides["path"] != ""]
    rows = map_files(lambda row: _measure_slide(row, table, params), named.itertuples(), "measure slides")
    frame = pd.DataFrame(rows, columns=[*_MEASURED, "content", "look", "sketches"], index=named.index)
    again = _again(frame, named["split"])
    copies = frame.groupby("content")["slide_id"].transform("size")
    return frame[[*_MEASURED]].assign(copies=copies, **again)


def _again(frame: pd.DataFrame, splits: pd.Series) -> dict[str, np.ndarray]:
    """For each slide another one that shows the same tissue: in its split the whole of it, in another any part."""
    seen = np.flatnonzero(frame["look"].notna())
    looks, drawn = frame["look"].to_numpy(object), frame["sketches"].to_numpy(object)
    found = {(seen[one], seen[other]) for one, other in (twins(np.stack(looks[seen])) if len(seen) else ())}
    across = [(one, other) for one in seen for other in seen if one < other and splits.iloc[one] != splits.iloc[other]]
    alike = map_files(lambda pair: overlap(drawn[pair[0]], drawn[pair[1]]), across, "compare slides")
    found |= {pair for pair, correlation in zip(across, alike, strict=True) if correlation >= _SAME}
    return shown_again(frame["slide_id"], splits, found)


def _measure_slide(cells: Any, table: Path, params: Params) -> dict[str, Any]:
    """Measurements of one slide, or what prevents them: a bad slide does not take good ones with it."""
    row = {"slide_id": cells.slide_id, "problem": "none", "drawings": "none"}
    drawn: dict[str, Region] = {}
    try:
        drawn = _drawn(cells, table)
    except (InputError, OSError) as error:
        row["drawings"] = str(error)
    try:
        slide = Slide.of_row(cells, table)
        with slide.open() as reader:
            row |= {"mpp": reader.mpp, "mpp_error": _mpp_error(reader.path, slide.mpp)}
            low, high = params.gates.cohort.mpp
            if low <= reader.mpp <= high:  # else fields would be single pixels, or larger than memory
                row |= _look(reader, params.patches, drawn)
    except (InputError, ValueError) as error:
        row["problem"] = str(error)
    except (OSError, MemoryError) as error:
        row["problem"] = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return row


def _mpp_error(path: Path, override: float | None) -> float | None:
    """How far a given mpp is from the file's own, as a share of it."""
    try:
        with open_slide(path) as reader:
            return None if override is None else abs(override / reader.mpp - 1)
    except InputError:
        return None


def _look(reader: SlideReader, settings: PatchSettings, drawn: dict[str, Region]) -> dict[str, Any]:
    overview = reader.thumbnail(min(_OVERVIEW, max(reader.size)))
    scale = (reader.size[0] / overview.shape[1], reader.size[1] / overview.shape[0])
    mpp, without = reader.mpp * scale[0], settings.leave_out_pen
    tissue, pen = tissue_and_pen(overview, mpp, leave_out_pen=without)
    mask, marked = TissueMask(tissue, scale), float(pen.sum())
    stain = image_statistics(overview, mpp if without and tissue.any() else None)
    return {
        "tissue_area": float(mask.mask.sum()) * scale[0] * scale[1] * reader.mpp**2 / 1e6,
        "pen": marked / max(1.0, marked + tissue.sum()) if without else float("nan"),
        "focus": _focus(reader, mask, settings.mpp),
        **{name: stain[name] for name in _LOOKS if name != "focus"},
        **{name: _share_of_tissue(region, reader, mask) for name, region in drawn.items()},
        "content": hashlib.sha256(repr(reader.size).encode() + overview.tobytes()).hexdigest(),
        "look": look(tissue_alone(overview, mask.mask)),
        "sketches": sketches(overview, mask.mask, reader.mpp * scale[0]),
    }


def _focus(reader: SlideReader, mask: TissueMask, mpp: float) -> float:
    """Median focus of the fields with the most tissue, evenly taken; NaN where there is none."""
    side = _FIELD * mpp / reader.mpp
    corners = grid(*reader.size, side)
    if not len(corners):
        width, height = (int(side * reader.mpp / mpp) for side in reader.size)
        return image_statistics(reader.read(0, 0, (width, height), mpp))["focus"]
    share = mask.share(np.hstack([corners, np.full((len(corners), 2), side)]))
    full = corners[share >= 0.9 * share.max()] if share.max() > 0 else corners[:1]
    chosen = full[np.unique(np.linspace(0, len(full) - 1, _FIELDS).round().astype(int))]
    values = [image_statistics(reader.read(int(x), int(y), _FIELD, mpp))["focus"] for x, y in chosen]
    values = [value for value in values if np.isfinite(value)]
    return float(np.median(values)) if values else float("nan")


def _drawn(cells: Any, table: Path) -> dict[str, Region]:
    """The slide's GeoJSON files as areas, without those of a class that QuPath ignores.

    Raises:
        InputError: one cannot be read.
    """
    areas = {name: read_annotations(resolve(table, cell)) for name in _DRAWN if (cell := getattr(cells, name))}
    return {
        name: Region(shapely.union_all([area.geometry for area in found if not area.name.endswith("*")]))
        for name, found in areas.items()
    }


def _share_of_tissue(region: Region, reader: SlideReader, mask: TissueMask) -> float:
    """Share of what is drawn that is tissue of the slide."""
    corner = (-reader.bounds[0], -reader.bounds[1])  # QuPath counts from there
    inside = region.mask(corner, mask.mask.shape[::-1], mask.scale[0])
    return float((inside & mask.mask).sum() * mask.scale[0] * mask.scale[1] / max(region.geometry.area, 1))
