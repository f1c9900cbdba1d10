"""Inputs and contracts of what describes a cohort: file names, folders, tables, drawings."""

import json
import math
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.fuzzing.contract import SAFE_NAME, Target, one_line, written
from tests.fuzzing.mutation import HOSTILE_TEXT, damaged, damaged_table, json_like
from wsss_mm.patches import IGNORE, VOCABULARIES

LUNG = VOCABULARIES["lung"]

# -- names of label files, and the folders they lie in

_NAMES = (
    "1031280-2300-27920-[1 0 0 1]",
    "1031280-2300-27920[1001]",
    "TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500+0[1101]",
    "00-0-112-[1, 1, 0]",
    "00-0-112",
)


def _name(random: Random) -> bytes:
    text = random.choice(_NAMES)
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, len(text))
        piece = random.choice((*HOSTILE_TEXT[:40], *"-[]01 ,_+.٣\n", *_NAMES))
        text = text[:at] + piece + text[at + random.choice((0, 0, 1, 5)) :]
    return text.encode("utf-8", "surrogatepass")


def check_name(data: bytes, folder: Path) -> None:
    from wsss_mm.sources import SOURCES, UNKNOWN, label_of, origin_of

    name = data.decode("utf-8", "surrogateescape").replace("/", "").replace("\x00", "") + ".png"
    path = Path("data") / name
    for source in (row for row in SOURCES.values() if row.layout == "named"):
        vocabulary = VOCABULARIES[source.vocabulary]
        with one_line("data/"):
            assert len(label_of(path, vocabulary)) == len(vocabulary)
        for split in ("train", "valid"):
            with one_line("data/"):
                origin = origin_of(path, split, source)
                for part in (origin.slide_id, origin.patient_id, origin.patch_id):
                    assert SAFE_NAME.fullmatch(part) and len(part) < 200, part
                assert min(origin.x, origin.y) >= UNKNOWN and max(origin.x, origin.y) < 1e9


_FILES = ("train/a-0-0[1001].png", "training/img/b-0-0-[0 1 0 0].png", "val/img/c-1-2.png", "val/mask/c-1-2.png")
_FILES += ("test/img/d-1-2.png", "test/mask/d-1-2.png", "train/e-5-5[0001].jpg", "test/img/x-9-9.png")


def _layout(random: Random) -> bytes:
    names = random.sample(_FILES, random.randint(1, len(_FILES)))
    changed = []
    for name in names:
        parts = name.split("/")
        if random.randrange(2):
            parts[random.randrange(len(parts))] = random.choice(
                (*HOSTILE_TEXT[:40], "img", "mask", "TRAIN", "..", "test")
            )
        changed.append("/".join(parts))
    return json.dumps(changed).encode()


def check_layout(data: bytes, folder: Path) -> None:
    from wsss_mm.patches.importers import list_slides

    root = folder / "set"
    root.mkdir()
    for name in json.loads(data):
        path = root / name.replace("\x00", "0")
        try:
            if path.is_relative_to(root) and ".." not in path.parts:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        except (OSError, UnicodeError):  # no such name on this file system
            continue
    for name in ("luad_histoseg", "wsss4luad", "bcss_wsss"):
        with one_line("set"):
            slides = list_slides(name, root)
            assert len(slides) and slides["slide_id"].map(SAFE_NAME.fullmatch).all()


# -- tables

_SLIDES = (
    ("slide_id", "patient_id", "path", "split", "mpp", "roi", "annotation"),
    ("S1", "P1", "s1.svs", "train", "", "", ""),
    ("S2", "P2", "s1.svs", "valid", "0.25", "s1.svs", ""),
    ("S3", "P3", "", "test", "0.5", "", ""),
)
_LABELS = (("slide_id", "x", "y", "labels"), ("S1", "0", "448", "TE;TAS"), ("S1", "448", "0", "Lymphocytes"))
_ASIDE = (
    ("kind", "id", "gate", "expectation", "reason", "reviewer", "date"),
    ("patch", "p1", "patches", "focus", "out of focus", "Ada", "2026-01-02"),
    ("slide", "s1", "", "", "pen", "Ada", "2026-01-02"),
)


def _table(rows: tuple[tuple[str, ...], ...]) -> Callable[[Random], bytes]:
    return lambda random: damaged_table(random, rows)


def check_slides(data: bytes, folder: Path) -> None:
    from wsss_mm.slides.table import SPLITS, read_slide_table

    path = written(folder, "slides.csv", data)
    written(folder, "s1.svs", b"slide")
    for files in (False, True):
        with one_line("slides.csv"):
            table = read_slide_table(path, check_files=files)
            assert len(table) and table["slide_id"].is_unique and set(table["split"]) <= set(SPLITS)
            assert table["slide_id"].map(lambda name: bool(SAFE_NAME.fullmatch(name)) and len(name) <= 200).all()
            assert (table["patient_id"] != "").all()
            assert ((table["mpp"] > 0) | table["mpp"].isna()).all() and not np.isinf(table["mpp"]).any()


def check_labels(data: bytes, folder: Path) -> None:
    from wsss_mm.patches.truth import read_patch_labels

    with one_line("labels.csv"):
        table = read_patch_labels(written(folder, "labels.csv", data), ["S1", "S2"], LUNG)
        assert set(table["slide_id"]) <= {"S1", "S2"} and not table[["slide_id", "x", "y"]].duplicated().any()
        assert not len(table) or (table[["x", "y"]].to_numpy(dtype=int) >= 0).all()
        assert table[list(LUNG.codes)].any(axis=1).all()


def check_quarantine(data: bytes, folder: Path) -> None:
    from wsss_mm.patches.quarantine import KINDS, read_quarantine, write_quarantine

    path = written(folder, "quarantine.csv", data)
    with one_line("quarantine.csv"):
        entries = read_quarantine(path)
        assert all(entry.kind in KINDS and entry.id and entry.reason for entry in entries)
        write_quarantine(entries, path)
        assert sorted(map(repr, read_quarantine(path))) == sorted(map(repr, entries)), "does not survive being written"


@cache
def _manifest_bytes() -> bytes:
    from tempfile import TemporaryDirectory

    from wsss_mm.patches import write_manifest

    with TemporaryDirectory() as name:
        return write_manifest(_manifest_frame(), name).read_bytes()


def _manifest_frame() -> Any:
    import pandas as pd

    rows = [
        {
            **{"patch_id": f"p{n}", "slide_id": f"s{n}", "patient_id": f"h{n}", "split": split, "x": n, "y": 0},
            **{"mpp": 1.0, "size": 224, "path": f"images/{split}/p{n}.png", "mask_path": None},
            **dict.fromkeys(LUNG.codes, True),
            **{"sha256": "0" * 64, "tissue": 0.5},
        }
        for n, split in enumerate(("train", "valid", "test"))
    ]
    return pd.DataFrame(rows)


def _manifest(random: Random) -> bytes:
    """A parquet file of a manifest some of whose values are of any kind."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: list(values) for name, values in _manifest_frame().items()}
    for _ in range(random.randint(1, 3)):
        name = random.choice(list(columns))
        values = columns[name]
        how = random.randrange(6)
        if how == 0:
            columns[random.choice(HOSTILE_TEXT)] = columns.pop(name)
        elif how == 1:
            values[random.randrange(len(values))] = None
        elif how == 2:
            columns[name] = [random.choice((0, -1, 2**62, 1e308, math.nan, "1", True, b"x", [1], {"a": 1}))] * len(
                values
            )
        else:
            values[random.randrange(len(values))] = random.choice(HOSTILE_TEXT)
    stream = BytesIO()
    try:
        pq.write_table(pa.table({str(name): pa.array(values) for name, values in columns.items()}), stream)
    except (pa.ArrowException, TypeError, UnicodeError, ValueError):  # one array cannot hold it: another, then
        return _manifest_bytes()
    return stream.getvalue()


def check_manifest(data: bytes, folder: Path) -> None:
    from wsss_mm.patches import read_manifest

    written(folder, "manifest.parquet", data)
    with one_line("manifest.parquet"):
        frame = read_manifest(folder, LUNG)
        assert frame["patch_id"].is_unique and frame["path"].map(str).is_unique
        for name in (*frame["path"], *frame["mask_path"].dropna()):
            assert (folder / name).resolve().is_relative_to(folder.resolve()), name
        for name in frame["patch_id"]:
            assert (folder / f"{name}.png").resolve().parent == folder.resolve(), name
        assert (frame["size"] > 0).all() and np.isfinite(frame["mpp"].to_numpy(dtype=float)).all()


def check_pseudo_manifest(data: bytes, folder: Path) -> None:
    from wsss_mm.datasets.patches import pseudo_label_paths
    from wsss_mm.vocabulary import get_vocabulary

    written(folder, "manifest.parquet", data)
    with one_line("manifest.parquet"):
        for path in pseudo_label_paths(folder, get_vocabulary("lung")).values():
            assert path.resolve().is_relative_to(folder.resolve()), path


# -- drawings

_POLYGON = {"type": "Polygon", "coordinates": [[[0, 0], [90, 0], [90, 90], [0, 90], [0, 0]]]}
_MULTI = {"type": "MultiPolygon", "coordinates": [_POLYGON["coordinates"], [[[9, 9], [20, 9], [9, 20], [9, 9]]]]}
_DRAWING = {
    "type": "FeatureCollection",
    "features": [
        {"type": "Feature", "geometry": _POLYGON, "properties": {"classification": {"name": "TE"}}},
        {"type": "Feature", "geometry": _MULTI, "properties": {"classification": "TAS"}},
        {
            "type": "Feature",
            "geometry": _POLYGON,
            "properties": {"classification": {"names": ["TE", "Positive"]}},
            "childObjects": [{"type": "Feature", "geometry": _MULTI, "properties": {"classification": "LYM"}}],
        },
        {"type": "Feature", "geometry": {"type": "GeometryCollection", "geometries": [_POLYGON]}, "properties": None},
    ],
}


def check_drawing(data: bytes, folder: Path) -> None:
    from wsss_mm.slides.roi import Region, rasterise, read_annotations

    with one_line("roi.geojson"):
        areas = read_annotations(written(folder, "roi.geojson", data), (5, 5), (100, 80))
        for area in areas:
            assert isinstance(area.name, str)
            assert area.geometry.is_valid and area.geometry.area > 0 and np.isfinite(area.geometry.bounds).all()
            region = Region(area.geometry)
            assert (region.share([[0, 0, 50, 50], [-9, -9, 3, 3]]) <= 1 + 1e-6).all()
            assert region.mask((0, 0), (16, 16), 4.0).shape == (16, 16)
        assert set(np.unique(rasterise([(area.geometry, 1) for area in areas], (0, 0), (16, 16), 4.0))) <= {1, IGNORE}


def _manifest_file(random: Random) -> bytes:
    return damaged(random, _manifest_bytes()) if random.randrange(2) else _manifest(random)


TARGETS = [
    Target("label file names", _name, check_name, 60),
    Target("layouts of data sets", _layout, check_layout, 10),
    Target("slides.csv", _table(_SLIDES), check_slides, 20),
    Target("labels.csv", _table(_LABELS), check_labels, 20),
    Target("quarantine.csv", _table(_ASIDE), check_quarantine, 10),
    Target("manifest.parquet", _manifest_file, check_manifest, 10),
    Target("manifest of pseudo-labels", _manifest_file, check_pseudo_manifest, 10),
    Target("GeoJSON", json_like(_DRAWING), check_drawing, 20),
]
