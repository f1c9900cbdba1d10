import logging

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipelines import cohort as cohort_stage
from pipelines import patches
from pipelines.running import run_stage
from tests.settings import content_of, write_settings
from wsss_mm.patches import read_manifest, shards
from wsss_mm.patches.images import read_image, read_label_map
from wsss_mm.patches.shards import any_packed
from wsss_mm.settings import load_params, load_profile
from wsss_mm.vocabulary import get_vocabulary

IN_SHARDS = {("shards", 1000), ("auto", 35)}


@pytest.fixture
def stage(tmp_path, monkeypatch, cohort, quarters):
    """Runs the stage on a small cohort in a folder of its own, as `python -m pipelines.patches` would."""
    for name, split in (("a", "train"), ("b", "valid"), ("c", "test")):
        cohort.add(name, split, truth=quarters)
    content = content_of("phantom")
    content["patches"]["size"] = 128
    content["segmenter"]["crop"] = 96
    write_settings(tmp_path, content)
    (tmp_path / "data").mkdir()
    cohort.folder.rename(tmp_path / "data" / "cohort")
    monkeypatch.chdir(tmp_path)
    assert load_params().patches.size == 128
    return lambda: run_stage(patches.main)


def test_stage_makes_a_manifest_that_reads(stage):
    stage()
    assert len(read_manifest("data/patches", get_vocabulary("lung"))) == 36


def test_failed_stage_says_why_and_damages_nothing(stage, tmp_path, capsys):
    stage()
    before = (tmp_path / "data/patches/manifest.parquet").read_bytes()
    (tmp_path / "data/cohort/slides/c.tiff").unlink()
    with pytest.raises(SystemExit) as ended:
        stage()
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert "c.tiff" in last
    assert (tmp_path / "data/patches/manifest.parquet").read_bytes() == before
    assert [path.name for path in (tmp_path / "data").iterdir() if path.name.startswith(".")] == []


def test_patches_lie_in_files_or_in_shards_and_are_the_same(stage, tmp_path, monkeypatch):
    found, lung = {}, get_vocabulary("lung")
    for storage, limit in (("files", 10), ("shards", 1000), ("auto", 36), ("auto", 35)):
        content = content_of("phantom")
        content["patches"] |= {"size": 128, "storage": storage}
        content["segmenter"]["crop"] = 96
        write_settings(tmp_path, content)
        monkeypatch.setattr(shards, "MOST_FILES", limit)
        stage()
        frame = read_manifest("data/patches", lung)
        assert any_packed(frame["path"]) == any_packed(frame["mask_path"]) == ((storage, limit) in IN_SHARDS)
        pixels = [read_image(tmp_path / "data/patches" / path).tobytes() for path in frame["path"]]
        masks = [read_label_map(tmp_path / "data/patches" / path).tobytes() for path in frame["mask_path"]]
        found[storage, limit] = (frame.drop(columns=["path", "mask_path"]).to_csv(), pixels, masks)
        bytes_of = {path.name: path.read_bytes() for path in (tmp_path / "data/patches").rglob("*.*")}
        found.setdefault(("bytes", (storage, limit) in IN_SHARDS), bytes_of)
        assert found["bytes", (storage, limit) in IN_SHARDS] == bytes_of
    assert found["files", 10] == found["shards", 1000] == found["auto", 36] == found["auto", 35]


def test_a_run_that_fails_while_it_packs_leaves_what_was_there(stage, tmp_path, monkeypatch):
    stage()
    before = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    monkeypatch.setattr(shards, "MOST_FILES", 1)
    monkeypatch.setattr(shards.tarfile.TarFile, "addfile", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        patches.main(load_params())
    assert before == {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}


@pytest.mark.parametrize("row", ["a,0,0,Fat", "a,99999,0,TE"], ids=["no-class", "off-the-slide"])
def test_what_is_wrong_in_a_copy_is_to_be_mended_in_the_original(stage, tmp_path, capsys, row):
    """The next run of stage `cohort` would put the fault back."""
    (tmp_path / "data/cohort/labels.csv").write_text(f"slide_id,x,y,labels\n{row}\n")
    with pytest.raises(SystemExit):
        stage()
    last = capsys.readouterr().err.splitlines()[-1]
    assert "data/cohort/labels.csv: line 2: " in last
    assert last.endswith("in your own file, which wsss_mm/slides/phantom names or lies beside")


def test_so_is_a_drawing(stage, tmp_path, capsys):
    table = tmp_path / "data/cohort/slides.csv"
    rows = pd.read_csv(table, keep_default_na=False).assign(roi="")
    rows.loc[rows["slide_id"] == "c", "annotation"] = "drawings/c-annotation.geojson"
    rows.to_csv(table, index=False)
    (tmp_path / "data/cohort/truth/c.tif").unlink()
    (tmp_path / "data/cohort/drawings").mkdir()
    (tmp_path / "data/cohort/drawings/c-annotation.geojson").write_text("{}")
    with pytest.raises(SystemExit):
        stage()
    last = capsys.readouterr().err.splitlines()[-1]
    assert "c-annotation.geojson: " in last and "in your own file, which wsss_mm/slides/phantom names" in last


@pytest.mark.parametrize("bare", [False, True], ids=["img-folders", "bare-images"])
@pytest.mark.parametrize("profile", ["luad", "bcss"])
def test_published_layouts_go_through(profile, bare, tmp_path, monkeypatch, caplog):
    """Small copies of LUAD-HistoSeg and BCSS-WSSS in the ways copies differ, under the published profiles."""
    names = {
        "luad": lambda n: f"10{n}-0-{n}",
        "bcss": lambda n: f"TCGA-A{n}-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500+{n}",
    }[profile]
    labels = {"luad": ["-[1 0 0 1]", "[0 1 0 0]"], "bcss": ["[1001]", "-[0100]"]}[profile]
    train, valid = ("train", "val") if bare else ("training", "valid")
    source = tmp_path / "source"

    def save(path, array):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array.astype(np.uint8)).save(path)

    image, mask = np.full((224, 224, 3), 120), np.full((224, 224), 2)
    mask[:100], mask[100:110] = 1, 4
    for n, label in enumerate(labels):
        folder = source / train if bare else source / train / "img"
        save(folder / f"{names(n)}{label}.png", image)
    for n, split in ((3, valid), (4, "test")):
        folder = source / split if bare else source / split / "img"
        save(folder / f"{names(n)}{'[1 1 1 1]' if n == 4 else ''}.png", image)  # a name that lies about its mask
        save(source / split / "mask" / f"{names(n)}.png", mask)
    save((source / "test" if bare else source / "test" / "img") / f"{names(5)}.png", image)
    save(source / "test" / "mask" / f"{names(6)}.png", mask)

    monkeypatch.chdir(tmp_path)
    params = load_profile(profile, source)
    (tmp_path / "data").mkdir()
    with caplog.at_level(logging.WARNING):
        cohort_stage.main(params)
        patches.main(params)
    vocabulary = get_vocabulary(params.cohort.vocabulary)
    frame = read_manifest("data/patches", vocabulary).set_index("split")
    assert frame.index.value_counts().to_dict() == {"train": 2, "valid": 1, "test": 1}
    codes = list(vocabulary.codes)
    assert sorted(map(tuple, frame.loc[["train"], codes].to_numpy().astype(int))) == [(0, 1, 0, 0), (1, 0, 0, 1)]
    assert frame.loc[["valid", "test"], codes].to_numpy().astype(int).tolist() == [[0, 1, 1, 0]] * 2  # from the masks
    assert f"{names(5)}.png has no mask and is left out" in caplog.text
    assert f"{names(6)}.png has no image and is left out" in caplog.text
