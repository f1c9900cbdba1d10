"""Every writer on a disk that fills up while it writes: one line with the file and the remedy, and no half file."""

import resource
import signal
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch

from wsss_mm.cam.store import write_pseudo_labels
from wsss_mm.errors import InputError
from wsss_mm.evaluation.tables import write_plot
from wsss_mm.files import write_json
from wsss_mm.models.store import save_weights
from wsss_mm.patches import VOCABULARIES
from wsss_mm.patches.images import write_image, write_mask
from wsss_mm.slides.pyramid import write_label_pyramid, write_probability_pyramid
from wsss_mm.slides.table import write_slide_table
from wsss_mm.wsi.engine import Rows
from wsss_mm.wsi.geojson import write_geojson
from wsss_mm.wsi.journal import MapJournal

LIMIT = 2048  # bytes: what is left
VOCABULARY = VOCABULARIES["luad_normal"]
NOISE = np.random.default_rng(0).integers(0, 3, (160, 160), dtype=np.uint8)
TABLE = pd.DataFrame({"value": np.arange(5000)})
SLIDES = pd.DataFrame({"slide_id": [f"S{i}" for i in range(999)], "patient_id": "P", "path": "a", "split": "train"})
ROWS = Rows(0, labels=np.zeros((8, 160), np.uint8), probabilities=None, carry=np.ones((3, 8, 160), np.float32))

WRITERS = {
    "a.json": lambda path: write_json(path, list(range(5000))),
    "a.csv": lambda path: write_plot(TABLE, path),
    "slides.csv": lambda path: write_slide_table(SLIDES, path),
    "weights.pth": lambda path: save_weights({"a": torch.ones(5000)}, path),
    "image.png": lambda path: write_image(path, np.repeat(NOISE[..., None], 3, 2)),
    "mask.png": lambda path: write_mask(path, NOISE, VOCABULARY),
    "map.tif": lambda path: write_label_pyramid(path, NOISE, 1.0, [0] * 768),
    "map.ome.tif": lambda path: write_probability_pyramid(path, [NOISE], 1.0, [("a", (1, 2, 3))]),
    "a.geojson": lambda path: write_geojson(path, NOISE, VOCABULARY.classes),
    "carry-8.raw": lambda path: MapJournal(path.parent, {}).write(ROWS, {}),
}


@contextmanager
def full_disk():
    """No file grows beyond LIMIT: the write that would fails in the middle, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("name", WRITERS)
def test_no_half_file_and_one_line(name, tmp_path):
    path = tmp_path / name
    path.write_text("old")
    with full_disk(), pytest.raises(InputError, match=rf"{name}: larger than") as caught:
        WRITERS[name](path)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_too(tmp_path):
    def patches():
        from wsss_mm.cam.store import LabelledPatch

        image = np.repeat(NOISE[..., None], 3, 2)
        yield LabelledPatch(pd.Series({"patch_id": "p"}), image, NOISE, 1.0)

    (tmp_path / "labels").mkdir()
    with full_disk(), pytest.raises(InputError, match="larger than"):
        write_pseudo_labels(patches(), tmp_path / "labels", VOCABULARY)
    assert list(tmp_path.rglob("*")) == [tmp_path / "labels"]
