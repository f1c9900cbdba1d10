"""`wsss-mm import`: what a folder holds is said before anything is written, and then the line is set up for it."""

import numpy as np
import pytest
from PIL import Image

from pipelines import cohort as cohort_stage
from pipelines import patches as patches_stage
from tests.patches.layouts import SIDE, make, picture, save
from wsss_mm.cli.main import main
from wsss_mm.patches import read_manifest
from wsss_mm.settings import load_params
from wsss_mm.sources import SOURCES


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys, *arguments, rc=0):
    assert main(list(arguments)) == rc
    out = capsys.readouterr()
    return out.err if rc else out.out


def test_everything_is_said_before_anything_is_done(here, capsys):
    made = make(SOURCES["bcss_regions"], here / "BCSS")
    (made.folder / "masks/TCGA-A1-A0S0-DX1_xmin45749_ymin25055_MPP-0.2500.png").unlink()
    path = made.folder / "masks/TCGA-A1-A0S1-DX1_xmin45749_ymin25055_MPP-0.2500.png"
    save(path, np.asarray(Image.open(path))[1:])
    save(made.folder / "rgbs_colorNormalized/TCGA-A1-A0S9-DX1_xmin1_ymin2_MPP-0.2500.png", picture(1, 90))
    save(made.folder / "masks/TCGA-A1-A0S9-DX1_xmin1_ymin2_MPP-0.2500.png", np.ones((90, 90)))
    before = sorted(here.rglob("*"))
    text = said(capsys, "import", "--describe", "BCSS")
    assert sorted(here.rglob("*")) == before
    for part in (
        "BCSS: bcss_regions, BCSS, breast, regions of TCGA slides with masks of 22 codes",
        "0 TUM Tumour, 1 STR Stroma, 2 LYM Lymphocytic infiltrate, 3 NEC Necrosis",
        "0.25 um/px, patches of 224 px",
        "train: 4 images of 4 slides and 4 patients, 4 with a mask; sites A1 4",
        "test: 2 images of 2 slides and 2 patients, 2 with a mask; sites OL 2",
        "images: 90 x 90 to 224 x 224 px, 2 sizes, most often 224 x 224 (5)",
        "pixels of 6 masks: ",
        "tumor 16.7 %",
        "A0S1-DX1_xmin45749_ymin25055_MPP-0.2500.png: 224 x 223 px, but its image TCGA-A1-A0S1",
        "A0S0-DX1_xmin45749_ymin25055_MPP-0.2500.png has no mask and is left out",
        "no valid split: patients of train are held out",
        "next: wsss-mm import BCSS --as bcss_regions",
    ):
        assert part in text, f"{part}\n{text}"


def test_the_line_runs_on_what_was_imported(here, capsys):
    made = make(SOURCES["bcss_regions"], here / "BCSS")
    assert "params.yaml and gates.yaml: bcss_regions, source BCSS" in said(capsys, "import", "BCSS")
    params = load_params()
    assert (params.cohort.vocabulary, params.patches.mpp, params.patches.size) == ("breast", 0.25, 224)
    assert params.pseudo_labels.background is False
    cohort_stage.main(params)
    patches_stage.main(params)
    frame = read_manifest("data/patches", made.vocabulary)
    assert len(frame) == 6
    assert set(frame["split"]) == {"train", "valid", "test"}


def test_label_sets_without_masks(here, capsys):
    make(SOURCES["folders"], here / "tiles")
    text = said(capsys, "import", "--describe", "tiles", "--vocabulary", "lung")
    for part in (
        "tiles: folders, a folder for each class, called by its code, name or an alias",
        "nothing says its um/px: give --mpp",
        "train: 12 images of 12 slides and 12 patients, 0 with a mask",
        "label sets of train: LYM 3, NEC 3, TE 3, TAS 3",
        "no masks: label sets are learnt and judged, pixels are not judged",
        "nothing tells which images are of one slide",
        "next: wsss-mm import tiles --as folders --vocabulary lung --mpp MPP",
    ):
        assert part in text, f"{part}\n{text}"
    assert "nothing says its um/px; give --mpp" in said(capsys, "import", "tiles", "--vocabulary", "lung", rc=2)
    text = said(capsys, "import", "tiles", "--as", "folders", "--vocabulary", "lung", "--mpp", "0.5")
    assert "\n0.5 um/px\n" in text
    params = load_params()
    assert (params.cohort.name, params.patches.mpp, params.patches.size) == ("folders", 0.5, SIDE)
    assert "test_has_masks" in params.gates.patches.warnings


def test_objects_and_areas_are_counted_to_classes(here, capsys):
    make(SOURCES["glas"], here / "glas")
    text = said(capsys, "import", "--describe", "glas")
    assert "pixels of 6 masks: GAP 35.7 %, BEN 32.1 %, MAL 32.1 %" in text
    make(SOURCES["coco"], here / "coco")
    text = said(capsys, "import", "--describe", "coco", "--vocabulary", "lung")
    assert "not drawn on 7.1 %" in text
    assert "label sets: those of the masks" in text


def test_what_is_no_data_set_says_what_was_looked_for(here, capsys):
    save(here / "holiday/beach.png", picture(1))
    text = said(capsys, "import", "--describe", "holiday", rc=2)
    assert "holiday: is laid out as no data set of sources.yaml; say which with --as" in text
    for name, row in SOURCES.items():
        assert f"{name}: {row.about}" in text
    assert "no training images; they belong in training/" in text
    assert "no such folder" in said(capsys, "import", "--describe", "gone", rc=2)
    assert "no data set of patches 'bcs'" in said(capsys, "import", "--describe", "holiday", "--as", "bcs", rc=2)
    assert "has no JSON of COCO" in said(capsys, "import", "--describe", "holiday", "--as", "coco", rc=2)

    error = said(capsys, "import", "--describe", "holiday", rc=2)
    assert "\\n" not in error
    assert error.splitlines()[-1].startswith("wsss-mm: error: holiday: is laid out as no data set")
    assert "no vocabulary 'lnug'" in said(capsys, "import", "holiday", "--vocabulary", "lnug", rc=2).splitlines()[-1]


def test_what_was_asked_for_counts_or_is_refused(here, capsys):
    make(SOURCES["bcss_wsss"], here / "my set")
    asked = ("import", "my set", "--as", "bcss_wsss")
    text = said(capsys, *asked, "--describe", "--mpp", "0.26", "--size", "112")
    assert "next: wsss-mm import 'my set' --as bcss_wsss --mpp 0.26 --size 112\n" in text
    refused = said(capsys, *asked, "--vocabulary", "lung", rc=2)
    assert "bcss_wsss has the classes of 'breast', not of 'lung'; leave --vocabulary out" in refused
    assert not (here / "params.yaml").exists()
    said(capsys, *asked, "--size", "112")
    assert load_params().patches.size == 112
    for wrong in ("nan", "-1", "0", "much"):
        with pytest.raises(SystemExit):
            said(capsys, *asked, "--describe", "--mpp", wrong)
        assert f"argument --mpp: {wrong!r} is no um/px" in capsys.readouterr().err


def test_what_somebody_wrote_outlives_two_imports(here, capsys):
    make(SOURCES["bcss_regions"], here / "BCSS")
    (here / "params.yaml").write_text("mine: 1\n")
    for mpp in ("0.25", "0.25", "0.26"):
        said(capsys, "import", "BCSS", "--mpp", mpp)
    assert (here / "params.yaml.before").read_text() == "mine: 1\n"
    assert "mpp: 0.25 " in (here / "params.yaml.before-2").read_text()
    assert not (here / "params.yaml.before-3").exists()


@pytest.mark.parametrize(("side", "size"), [(300, 300), (600, 224)])
def test_large_regions_are_not_taken_for_patches(here, capsys, side, size):
    for name in "ab":
        save(here / f"set/images/{name}.png", picture(1, side))
        save(here / f"set/masks/{name}.png", np.arange(side * side).reshape(side, side) % 4)
    (here / "set/codes.csv").write_text("label,value\nTE,0\nNEC,1\nLYM,2\nTAS,3\n")
    said(capsys, "import", "set", "--as", "masks", "--vocabulary", "lung", "--mpp", "0.5")
    assert load_params().patches.size == size


def test_a_folder_that_may_be_two_is_asked_about(here, capsys):
    make(SOURCES["coco"], here / "set")
    (here / "set/labels.csv").write_text("path,labels\ntrain/c0.png,TE\n")
    assert "may be table, coco: say which with --as" in said(
        capsys, "import", "--describe", "set", "--vocabulary", "lung"
    )
    assert "may be table, coco; say which with --as" in said(capsys, "import", "set", "--vocabulary", "lung", rc=2)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (
            "bcss_wsss",
            (
                "train: 238 images of 2 slides and 2 patients, 0 with a mask; sites A1 238",
                "valid: 14 images of 1 slide and 1 patient, 14 with a mask; sites EW 14",
                "label sets of train: TUM;STR 91, NEC 36, STR;LYM 36, STR 29",
                "pixels of 28 masks: STR 49.6 %, LYM 26.4 %, TUM 18.8 %, ignore 5.2 %",
            ),
        ),
        (
            "wsss4luad",
            (
                "train: 828 images of 67 slides and 67 patients, 0 with a mask",
                "test: 15 images of 15 slides and 15 patients, 15 with a mask",
                "label sets of train: TUM;STR 502, NOR 128, STR 120, TUM 68",
            ),
        ),
    ],
)
def test_real_samples(real_data, capsys, name, parts):
    text = said(capsys, "import", "--describe", str(real_data / name))
    for part in (*parts, f"next: wsss-mm import {real_data / name} --as {name}"):
        assert part in text, f"{part}\n{text}"
