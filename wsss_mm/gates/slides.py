"""Gate after `export_slides`: do the products of each slide agree with each other, with the slide and the segmenter?

Reads results/slides/<slide_id>/ as `wsss_mm.wsi.segment_slide` writes it, the table beside it, the slides themselves,
and models/segmenter. Each figure is recomputed from the map. A cohort of labelled patches has no slides: no rows pass,
and the report says that there are none.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from wsss_mm import places
from wsss_mm.cohort import TABLE, Cohort, Slide
from wsss_mm.errors import InputError
from wsss_mm.files import digest, rounded
from wsss_mm.formats import read_object
from wsss_mm.gates.checks import Measured, gate_tables
from wsss_mm.gates.reading import flat, weights_md5
from wsss_mm.patches.quarantine import PATH as QUARANTINE
from wsss_mm.patches.quarantine import quarantined
from wsss_mm.places import DICOM_SEG, LABEL_MAP, LABELS_ZARR, OVERLAY, POLYGONS, SLIDE_SUMMARY, SUMMARY
from wsss_mm.places import MODEL as DESCRIPTION
from wsss_mm.settings import Params
from wsss_mm.slide_parameters import EARLIER, Parameters, in_full
from wsss_mm.slides.bands import MapLevel, count_wrong_samples, open_label_pyramid
from wsss_mm.slides.roi import read_region
from wsss_mm.tables import read_table
from wsss_mm.vocabulary import IGNORE, Vocabulary, get_vocabulary
from wsss_mm.wsi import agreement
from wsss_mm.wsi.dicom_seg import wrong_segments
from wsss_mm.wsi.geojson import Written
from wsss_mm.wsi.geoparquet import areas_of
from wsss_mm.wsi.omezarr import wrong_labels
from wsss_mm.wsi.outlines import outlines_of
from wsss_mm.wsi.outputs import files_of
from wsss_mm.wsi.seams import seam_ratio
from wsss_mm.wsi.summary import class_figures, polygon_figures, tumour_stroma_ratio
from wsss_mm.wsi.truth import judge_slide

FOLDER = places.RESULTS
MODEL = places.SEGMENTER

_MAKE = "dvc repro -s -f segment_slides export_slides"
_LISTED, _NONE = 6, "none"
_ROUNDING = 1.5e-6  # JSON and CSV keep six decimals

SLIDES, MODELS = gate_tables("slides").values()


def measure(params: Params, root: Path) -> Iterator[Measured]:
    """Measure each slide's map, figures and polygons against each other, against the slide and the segmenter."""
    results = _Results(params, root)
    if not results.folder.is_dir():
        raise InputError(f"{results.folder}: not found; make it with: {_MAKE}")
    models = ["weights_md5", "precision"]
    frame = pd.DataFrame(results.rows(), columns=["slide_id", *(check.column for check in SLIDES.checks), *models])
    yield SLIDES.of(frame.drop(columns=models))
    yield MODELS.of(frame.groupby(models, as_index=False).agg(slides=("slide_id", "size")))


class _Results:
    """The results of a cohort, and what they must be."""

    def __init__(self, params: Params, root: Path) -> None:
        self.folder, self._model = root / FOLDER, root / MODEL
        parameters = Parameters.of(params.slides)
        self._files = files_of(parameters)
        self._vocabulary = get_vocabulary(params.cohort.vocabulary)
        self._check_vocabulary()
        precision = {} if params.slides.precision == "auto" else {"precision": params.slides.precision}
        self._asked = {"parameters": parameters.deciding("map", "export"), "model": precision}
        self._most_simplified = params.gates.slides.max_simplified_error
        cohort, aside = Cohort.read(root / TABLE, check_files=False), quarantined("slide", root / QUARANTINE)
        self._views: dict[str, agreement.View] = {}
        self._wanted = {slide.slide_id: slide for slide in cohort.with_files(params.slides.splits, aside)}

    def rows(self) -> list[dict[str, Any]]:
        """Measurements of the slides that are there, that ought to be, or that the table lists."""
        found = {item.name for item in self.folder.iterdir() if item.is_dir()}
        rows = [self._measured(name) for name in sorted(found | set(self._wanted) | set(self._table))]
        for row in rows:
            if (view := self._views.get(row["slide_id"])) is not None:
                row["better_elsewhere"] = agreement.better_elsewhere(view, self._views.values())
        return rows

    def _measured(self, name: str) -> dict[str, Any]:
        """Measurements of one slide, or what prevents them: a bad slide does not take good ones with it."""
        row, folder = {"slide_id": name, "problem": _NONE}, self.folder / name
        if name not in self._wanted:
            return row | {"problem": "it is not among the slides to segment"}
        if not folder.is_dir():
            return row | {"problem": "it was not segmented"}
        missing = [file for file in self._files if not (folder / file).exists()]
        if missing:
            return row | {"problem": f"{', '.join(missing)} is not there"}
        try:
            summary = read_object(folder / SUMMARY, SLIDE_SUMMARY, remedy=_MAKE)
            summary["parameters"] = in_full(summary["parameters"])
            return row | _numbers(self._against_all(folder, summary))
        except InputError as error:
            return row | {"problem": str(error)}
        except Exception as error:  # broken files make TIFF and JSON readers raise anything
            return row | {"problem": f"{type(error).__name__}: {' '.join(str(error).split())}"}

    @cached_property
    def _table(self) -> dict[str, dict[str, str]]:
        """Rows of slides.csv by slide; a cohort without slides has no such table."""
        path = self.folder / places.SLIDES_TABLE
        if not path.is_file():
            return {}
        table = read_table(path, absent="not found", remedy=f"make it again: {_MAKE}")
        if "slide_id" not in table:
            raise InputError(f"{path}: has no column slide_id; make it again: {_MAKE}")
        if table["slide_id"].duplicated().any():
            raise InputError(f"{path}: lists a slide twice; make it again: {_MAKE}")
        return {row["slide_id"]: row for row in table.to_dict("records")}

    def _check_vocabulary(self) -> None:
        """Refuse to judge maps by classes that are not those of the segmenter: no map that it makes would pass."""
        path = self._model / places.DESCRIPTION
        known, wanted = Vocabulary.from_json(self._description, path).classes, self._vocabulary.classes
        shown = [[(item.code, item.name, item.color) for item in classes] for classes in (known, wanted)]
        if shown[0] != shown[1]:
            raise InputError(
                f"{path}: trained with other codes, names or colours than vocabulary {self._vocabulary.name!r} has "
                "now, and it segments with those; train again: dvc repro, or give the vocabulary back what it had"
            )

    @cached_property
    def _description(self) -> dict[str, Any]:
        """What the segmenter says of itself."""
        return read_object(self._model / places.DESCRIPTION, DESCRIPTION, remedy="dvc repro -f train_segmenter")

    @cached_property
    def _segmenter(self) -> dict[str, Any]:
        """What a summary must say of the segmenter."""
        info = self._description
        weights = weights_md5(self._model, "dvc repro -f train_segmenter")
        codes = [item["code"] for item in info["classes"]]
        return {"mpp": info["mpp"], "model": {"weights_md5": weights, "classes": codes}}

    def _against_all(self, folder: Path, summary: dict[str, Any]) -> dict[str, Any]:
        """The results of a slide against everything they tell of."""
        slide, codes = self._wanted[folder.name], self._vocabulary.codes
        if set(summary["classes"]) != set(codes):
            raise InputError(f"classes are {', '.join(summary['classes'])}")
        cells, truth = self._table.get(folder.name, {}), slide.truth
        measures = self._against_slide(folder, summary, slide)
        if not measures["stray_pixels"]:
            fit = {"truth": judge_slide(folder / LABEL_MAP, truth, codes)} if truth.is_file() else {"truth": None}
            measures["miou"] = (fit["truth"] or {}).get("miou")
            measures["other_truth"] = _differences(fit, {"truth": None} | summary)
        return measures | {
            "other_model": _differences(self._segmenter, summary),
            "other_parameters": _differences(self._asked, summary),
            "other_cells": _differences(_cells(summary, slide.split, "miou" in cells), cells),
            "weights_md5": str(summary["model"]["weights_md5"]),
            "precision": str(summary["model"]["precision"]),
        }

    def _against_slide(self, folder: Path, summary: dict[str, Any], slide: Slide) -> dict[str, Any]:
        """The map against its slide, its figures, its outlines and its picture."""
        vocabulary, path, parameters = self._vocabulary, folder / LABEL_MAP, summary["parameters"]
        drawn = slide.roi
        with slide.open() as reader, open_label_pyramid(path) as pyramid:
            level, mpp, said = pyramid.levels[0], summary["mpp"], summary["slide"]
            region = None if drawn is None else read_region(drawn, reader.bounds[:2])
            file, bounds = reader.path, list(reader.bounds)
            identity = {"file": file.name, "bytes": file.stat().st_size, "quickhash": reader.quickhash}
            identity = identity | {"mpp": reader.mpp, "bounds": bounds}
            roi = None if drawn is None else {"file": drawn.name, "sha256": digest(drawn)}
            size, wide = level.shape[::-1], said["bounds"][2:]
            extent = [side * pyramid.mpp[0] / (px * said["mpp"]) for side, px in zip(size, wide, strict=True)]
            counts, coherence = agreement.tally(level)
            of_classes = counts[: len(vocabulary)]
            written = agreement.expected_outlines(level, of_classes.tolist(), parameters["min_island"] / mpp**2)
            outlines = agreement.compare_outlines(
                outlines_of(folder) or folder,
                level,
                vocabulary,
                written,
                factor=mpp / reader.mpp,
                seed=int(digest(path)[:16], 16),
                tolerance=parameters["simplify_um"] / mpp,
            )
            if parameters["simplify_um"]:
                written = [replace(item, outlined=area) for item, area in zip(written, outlines.areas, strict=True)]
            classes = class_figures(of_classes, vocabulary.classes, mpp)
            for code, item in zip(vocabulary.codes, written, strict=True):
                classes[code] |= polygon_figures(item, mpp)
                del classes[code]["name"], classes[code]["color"]  # `legend` looks at these
            figures = {
                "size": list(size),
                "classes": classes,
                "tissue_area_mm2": int(of_classes.sum()) * mpp**2 / 1e6,
                "tumour_stroma_ratio": tumour_stroma_ratio(classes, vocabulary.classes),
                "unreadable_share": min(max(summary["unreadable_share"], 0), counts[IGNORE] / counts.sum()),
            }
            pen = parameters.get("leave_out_pen", EARLIER["leave_out_pen"])
            on_slide, self._views[folder.name] = agreement.on_slide(
                level, reader, region, vocabulary, folder / OVERLAY, leave_out_pen=bool(pen)
            )
            return on_slide | {
                "other_slide": _differences({"slide": identity, "roi": roi}, summary),
                "mpp_error": max(abs(stated / mpp - 1) for stated in pyramid.mpp),
                "extent_error": max(abs(ratio - 1) for ratio in extent),
                "stray_pixels": int(counts.sum() - of_classes.sum() - counts[IGNORE]),
                "coherence": coherence,
                "seam": seam_ratio(path, parameters["window"], parameters["overlap"]) or 0.0,
                "wrong_samples": count_wrong_samples(pyramid.levels),
                "other_legend": _legend(summary, vocabulary, pyramid.colors, outlines.recolored),
                "other_figures": _differences(figures, summary),
                "invalid_polygons": outlines.invalid,
                "miscounted_polygons": outlines.miscounted,
                "other_copies": self._copies(folder, level, written, mpp),
                **self._areas(outlines, written),
                "misplaced_points": outlines.misplaced,
            }

    def _areas(self, outlines: agreement.Outlines, written: Sequence[Written]) -> dict[str, Any]:
        """How far polygons are off the areas of their regions: exact ones as a number, simplified ones by class."""
        if all(item.outlined is None for item in written):
            return {"area_error": outlines.area_error}
        codes = self._vocabulary.codes
        return {"simplified_off": agreement.off_by(outlines.areas, written, codes, self._most_simplified)}

    def _copies(self, folder: Path, level: MapLevel, written: Sequence[Written], mpp: float) -> str:
        """What files that are written on request have otherwise than the map."""
        off = []
        if POLYGONS in self._files:
            regions = zip(self._vocabulary.codes, written, strict=True)
            wanted = {code: (item.polygons, item.pixels * mpp**2 / 1e6) for code, item in regions if item.polygons}
            found, nothing = areas_of(folder / POLYGONS), (0, 0.0)
            off += [
                f"polygons of {code} in {POLYGONS}"
                for code in {**wanted, **found}
                if any(map(_differ, wanted.get(code, nothing), found.get(code, nothing)))
            ]
        if LABELS_ZARR in self._files and (wrong := wrong_labels(folder / LABELS_ZARR, level)):
            off.append(f"{wrong} px of {LABELS_ZARR}")
        if DICOM_SEG in self._files and (other := wrong_segments(folder / DICOM_SEG, level, self._vocabulary, mpp)):
            off.append(f"{other} of {DICOM_SEG}")
        return ", ".join(off) or _NONE


def _numbers(measured: dict[str, Any]) -> dict[str, Any]:
    """The measurements, if none of them is NaN, which a check would pass over."""
    unknown = [name for name, value in measured.items() if isinstance(value, float) and math.isnan(value)]
    if unknown:
        raise InputError(f"no number for {', '.join(unknown)}")
    return measured


def _differences(expected: Mapping[str, Any], said: Mapping[str, Any]) -> str:
    """What is said otherwise than expected, or not at all, such as "area mm2 of TE"."""
    said = flat(dict(said))
    found = [
        _in_words(key) for key, value in flat(dict(expected)).items() if key not in said or _differ(value, said[key])
    ]
    return ", ".join([*found[:_LISTED], *(["..."] if len(found) > _LISTED else [])]) or _NONE


def _in_words(key: str) -> str:
    """The name of a figure as people say it."""
    parts = key.replace("_", " ").removeprefix("classes.").split(".")
    return " of ".join(reversed(parts))


def _differ(expected: Any, said: Any) -> bool:
    """Whether two values are not the same: in a CSV numbers are text, and nothing is empty."""
    if isinstance(said, str) and not isinstance(expected, str):
        try:
            said = float(said) if said else None
        except ValueError:
            return True
    if isinstance(expected, int | float) and isinstance(said, int | float):
        return not abs(expected - said) <= _ROUNDING
    return rounded(expected) != said


def _cells(summary: dict[str, Any], split: str, judged: bool) -> dict[str, Any]:
    """What slides.csv must say of a slide; `judged` if it has a column of mIoU."""
    names = ("tissue_area_mm2", "tumour_stroma_ratio", "unreadable_share")
    cells = {"status": "done", "split": split, "error": ""} | {name: summary[name] for name in names}
    for figure in ("area_mm2", "share"):
        cells |= {f"{figure}.{code}": figures[figure] for code, figures in summary["classes"].items()}
    return cells | ({"miou": summary.get("truth", {}).get("miou")} if judged or "truth" in summary else {})


def _legend(summary: dict[str, Any], vocabulary: Vocabulary, colors: Any, recolored: int) -> str:
    """Where a class has another name or colour."""
    said = {
        "summary": [(item["name"], tuple(item["color"])) for item in map(summary["classes"].get, vocabulary.codes)],
        "map": [] if colors is None else colors.ravel().tolist(),
        "GeoJSON": recolored,
    }
    true = {
        "summary": [(item.name, item.color) for item in vocabulary.classes],
        "map": vocabulary.palette,
        "GeoJSON": 0,
    }
    return ", ".join(where for where, found in said.items() if found != true[where]) or _NONE
