"""Five tissues that nobody here has heard of: a file and labels, and the line runs with them, on a lab's own slides."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml

from tests.line import checkout
from wsss_mm.slides.labels import read_label_tiff
from wsss_mm.slides.phantom import generate_cohort

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("own-vocabulary")]

CLASSES = """\
classes:
  - {code: EPI, name: Squamous nests, color: [170, 40, 20], role: tumour, aliases: [Tumor]}
  - {code: KER, name: Keratin, color: [250, 230, 120], role: other}
  - {code: BUL, name: Bulge, color: [60, 90, 220], role: normal, aliases: [Hair follicle]}
  - {code: DER, name: Dermis, color: [0, 200, 180], role: stroma, aliases: [Stroma]}
  - {code: SEB, name: Sebaceous gland, color: [120, 60, 110], role: other}
"""
CODES = ["EPI", "KER", "BUL", "DER", "SEB"]
SIDE = 448  # level-0 px of a patch


def tissues(path):
    """Class indices of a slide: the phantom's four, of which one is two on the right."""
    labels = read_label_tiff(path)
    labels[:, labels.shape[1] // 2 :][labels[:, labels.shape[1] // 2 :] == 3] = 4
    return labels


def square(x, y, side, name):
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    properties = {"objectType": "annotation", "classification": {"name": name, "color": [1, 2, 3]}}
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}


def corners(labels, side):
    """Corner and most frequent class of each square of a slide that holds any."""
    for y in range(0, labels.shape[0] - side + 1, side):
        for x in range(0, labels.shape[1] - side + 1, side):
            counts = np.bincount(labels[y : y + side, x : x + side].ravel(), minlength=256)[:5]
            if counts.any():
                yield x, y, counts


@pytest.fixture(scope="module")
def own(project_root, tmp_path_factory):
    """The line, run on a folder of slides with a vocabulary, labels and outlines of its own."""
    slides = tmp_path_factory.mktemp("slides")
    table = generate_cohort(slides, {"train": 2, "valid": 1, "test": 1}, 1344, seed=3, progress=False)
    said = []
    for row in table.itertuples():
        labels = tissues(slides / f"truth/{row.slide_id}.tif")
        if row.split == "train":
            for x, y, counts in corners(labels, SIDE):
                present = [CODES[index] for index in np.flatnonzero(counts > 0.05 * counts.sum())]
                said.append({"slide_id": row.slide_id, "x": x, "y": y, "labels": ";".join(present)})
        else:
            names = ["Tumor", "keratin", "Hair follicle", "DER", "Sebaceous gland"]
            drawn = [square(x, y, SIDE // 4, names[counts.argmax()]) for x, y, counts in corners(labels, SIDE // 4)]
            (slides / f"{row.slide_id}.geojson").write_text(json.dumps({"features": drawn}))
    names = [f"{row.slide_id}.geojson" if row.split != "train" else "" for row in table.itertuples()]
    table.assign(annotation=names).to_csv(slides / "slides.csv", index=False)
    pd.DataFrame(said).to_csv(slides / "labels.csv", index=False)

    line = checkout(project_root, tmp_path_factory.mktemp("own"))
    line.run("wsss-mm", "profile", "tiny")
    line.change_params({"cohort": {"name": "slides", "source": str(slides), "vocabulary": "skin"}})
    (line.root / "vocabularies/skin.yaml").write_text(CLASSES)
    line.run("dvc", "repro", "gate@slides")
    return line


def test_the_model_carries_the_vocabulary(own):
    info = json.loads((own.root / "models/segmenter/model.json").read_text())
    assert info["vocabulary"] == "skin"
    wanted = yaml.safe_load(CLASSES)["classes"]
    assert info["classes"] == [{**item, "aliases": item.get("aliases", [])} for item in wanted]


def test_the_map_the_figures_and_the_outlines_are_of_its_classes(own):
    (folder,) = (path for path in (own.root / "results/slides").iterdir() if path.is_dir())
    summary = json.loads((folder / "summary.json").read_text())
    areas = {code: figures["area_mm2"] for code, figures in summary["classes"].items()}
    assert set(areas) == set(CODES)
    if areas["DER"] > 0.01 * (areas["EPI"] + areas["DER"]) > 0:  # what two steps of training find is no matter
        assert summary["tumour_stroma_ratio"] == pytest.approx(areas["EPI"] / areas["DER"], abs=1e-5)
    with tifffile.TiffFile(folder / "segmentation.tif") as file:
        colors = (file.pages[0].colormap // 257).T[:5].tolist()
    assert colors == [item["color"] for item in yaml.safe_load(CLASSES)["classes"]]
    assert set(np.unique(read_label_tiff(folder / "segmentation.tif"))) <= {*range(5), 255}


def test_every_stage_that_reads_the_file_runs_again_when_it_changes(own):
    path = own.root / "vocabularies/skin.yaml"
    path.write_text(CLASSES.replace("Keratin", "Keratin pearls"))
    changed = json.loads(own.run("dvc", "status", "--json").stdout)
    path.write_text(CLASSES)
    for stage in ("cohort", "patches", "train_classifier", "pseudo_labels", "train_segmenter", "evaluate"):
        assert "vocabularies/skin.yaml" in json.dumps(changed[stage])
    assert {"segment_slides", "gate@slides", "gate@patches"} <= set(changed)
