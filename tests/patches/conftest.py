"""Small slides whose tissue and truth are known to the pixel."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from wsss_mm.patches import IGNORE
from wsss_mm.slides.table import write_slide_table

MPP = 0.5
WIDTH, HEIGHT = 1024, 768  # px at 0.5 um/px: 4 x 3 patches of 128 px at 1 um/px


@dataclass
class Cohort:
    """Slides, their table, and what a test adds to it."""

    folder: Path
    rows: list[dict] = field(default_factory=list)

    @property
    def table(self):
        return self.folder / "slides.csv"

    @property
    def labels(self):
        return self.folder / "labels.csv"

    def add(self, slide_id, split, *, truth=None, glass=0, mpp=MPP, patient_id=None, **columns):
        """A slide whose colour is its position; `glass` px at the right are white, `truth` a label map of any scale."""
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        image[..., 0] = 235  # of eosin's colours, all of them: others that are so smooth are ink
        image[..., 1] = np.arange(WIDTH) // 16
        image[..., 2] = 130 + np.arange(HEIGHT)[:, None] // 16
        image[:, WIDTH - glass :] = 255
        path = self.folder / "slides" / f"{slide_id}.tiff"
        path.parent.mkdir(parents=True, exist_ok=True)
        resolution = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": 3}
        tifffile.imwrite(path, image, photometric="rgb", tile=(64, 64), compression="zlib", metadata=None, **resolution)
        if truth is not None:
            (self.folder / "truth").mkdir(exist_ok=True)
            truth = np.asarray(truth, np.uint8)
            tifffile.imwrite(self.folder / "truth" / f"{slide_id}.tif", truth, tile=(64, 64), compression="zlib")
        row = {"slide_id": slide_id, "patient_id": patient_id or slide_id, "path": f"slides/{slide_id}.tiff"}
        self.rows.append(row | {"split": split, "mpp": "", "roi": "", "annotation": ""} | columns)
        write_slide_table(pd.DataFrame(self.rows), self.table)
        return self

    def mark(self, slide_id, left):
        """A green pen covers a slide from `left` px on."""
        path = self.folder / "slides" / f"{slide_id}.tiff"
        image = tifffile.imread(path)
        image[:, left:] = (20, 115, 75)
        resolution = {"resolution": (1e4 / MPP, 1e4 / MPP), "resolutionunit": 3}
        tifffile.imwrite(path, image, photometric="rgb", tile=(64, 64), compression="zlib", metadata=None, **resolution)
        return self

    def draw(self, name, *areas):
        """A QuPath export of rectangles: (class name or None, left, top, right, bottom)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        features = []
        for kind, left, top, right, bottom in areas:
            ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
            properties = {"classification": {"name": kind}} if kind else {}
            geometry = {"type": "Polygon", "coordinates": [ring]}
            features.append({"type": "Feature", "properties": properties, "geometry": geometry})
        (self.folder / name).write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        return name


@pytest.fixture
def cohort(tmp_path):
    return Cohort(tmp_path / "cohort")


@pytest.fixture
def quarters():
    """Truth at 1 um/px: classes 0, 1 above 2, 3, and a band of no class along the bottom."""
    labels = np.zeros((HEIGHT // 2, WIDTH // 2), np.uint8)
    labels[:, 256:] = 1
    labels[192:, :256] = 2
    labels[192:, 256:] = 3
    labels[-64:] = IGNORE
    return labels
