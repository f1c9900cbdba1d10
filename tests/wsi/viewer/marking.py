"""A project with two segmented slides of a cohort, one outlined, and one slide that no cohort knows."""

import json
import re
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile

from wsss_mm.cohort import Cohort
from wsss_mm.cohort.files import slide_bytes
from wsss_mm.settings import PatchSettings
from wsss_mm.slides import open_slide
from wsss_mm.slides.table import write_slide_table
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.wsi import SlideModel, segment_slide
from wsss_mm.wsi.viewer.correcting import Desk
from wsss_mm.wsi.viewer.corrections import Corrections
from wsss_mm.wsi.viewer.guard import Guard
from wsss_mm.wsi.viewer.project import Project
from wsss_mm.wsi.viewer.remarking import RemarkDesk
from wsss_mm.wsi.viewer.remarks import Remarks
from wsss_mm.wsi.viewer.results import Result, read_results

WIDTH, HEIGHT, SIDE = 512, 384, 128
"""px of a slide of 0.5 um/px, and of a patch of 64 px at 1 um/px on it."""
SETTINGS = PatchSettings(
    mpp=1.0, size=64, min_tissue=0.25, leave_out_pen=True, min_class_share=0.03, valid_share=0.2, storage="auto"
)
LUNG = get_vocabulary("lung")


@dataclass(frozen=True)
class Marking:
    """What was made: the project's folder, its cohort and results, and where journals go."""

    folder: Path
    cohort: Cohort
    results: dict[str, Result]

    @property
    def labels(self) -> Path:
        return self.folder / "labels"

    @property
    def slides(self) -> dict[str, Path]:
        return {name: self.folder / f"{name}.tiff" for name in self.results}

    def desk(self, reader: str = "ann", guard: Guard | None = None) -> Desk:
        return Desk(Corrections(self.project(), SETTINGS, reader), guard)

    def project(self) -> Project:
        return Project(self.cohort, LUNG, self.labels)

    def remarks(self, reader: str = "ann", guard: Guard | None = None, *, within: bool = True) -> RemarkDesk:
        """Remarks, in the project or out of it."""
        project = self.project() if within else None
        notes, quarantine = self.folder / "notes.csv", self.folder / "quarantine.csv"
        return RemarkDesk(Remarks(notes, reader, project, quarantine), guard or Guard())


def view_of(client: Any, name: str) -> dict[str, Any]:
    """What the page of a slide is told of it."""
    return json.loads(unescape(re.search(r'data-view="([^"]*)"', client.get(f"/slides/{name}/").text)[1]))


def make_marking(folder: Path, **parameters: Any) -> Marking:
    """Make slides `s1` (train), `judged` (test, outlined) and `stranger`, and segment them, with these parameters."""
    rows, drawn = [], folder / "judged.geojson"
    ring = [[0, 0], [256, 0], [256, 256], [0, 256], [0, 0]]
    drawn.write_text(
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": '
        f'[{ring}]}}, "properties": {{"classification": {{"name": "TE"}}}}}}]}}'
    )
    tall, wide = np.mgrid[:HEIGHT, :WIDTH]
    texture = 80 * ((tall // 32 + wide // 32) % 2)  # what is as smooth as ink, is ink

    def predict(images):
        red = images[..., 0] / 255.0
        return np.stack([red, 1 - red, 0 * red, 0 * red], axis=1).astype(np.float32)

    model = SlideModel(predict, LUNG.classes, 1.0, "a" * 32)
    for number, name in enumerate(("s1", "judged", "stranger")):
        green = 60 + tall // 4 + texture
        image = np.stack([100 + wide // 5, green, 90 + 20 * number + 0 * wide], axis=-1).astype(np.uint8)
        image[2 * SIDE :, 3 * SIDE :] = 245  # glass
        path = folder / f"{name}.tiff"
        tifffile.imwrite(path, image, tile=(64, 64), photometric="rgb", compression="zlib", metadata=None)
        options = {"mpp_override": 0.5, "window": 64, "progress": False, **parameters}
        segment_slide(path, model, folder / "results" / name, **options)
        if name != "stranger":
            with open_slide(path, 0.5) as reader:
                found = {"bytes": slide_bytes(path), "quickhash": reader.quickhash}
            split, annotation = ("train", "") if name == "s1" else ("test", str(drawn))
            row = {"slide_id": name, "patient_id": name, "path": path.name, "split": split, "mpp": 0.5, "roi": ""}
            rows.append({**row, "annotation": annotation, **found})
    write_slide_table(pd.DataFrame(rows), folder / "slides.csv")
    (folder / "labels").mkdir()
    results = {result.name: result for result in read_results(folder / "results")}
    return Marking(folder, Cohort.read(folder / "slides.csv"), results)
