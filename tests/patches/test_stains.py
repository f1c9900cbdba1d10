"""What networks are shown of a folder of patches with stains: slide by slide, and everywhere the same."""

import json

import numpy as np
import pandas as pd
import pytest
from mmengine.config import Config
from PIL import Image

from studies.patches import stained_patches
from tests.slides.test_stain import H_AND_E, OTHER, image_of
from wsss_mm import places
from wsss_mm.choosing.windows import validation_windows
from wsss_mm.datasets.patches import PatchLabelDataset, PseudoLabelDataset
from wsss_mm.engine.card import model_card
from wsss_mm.engine.training import Paths, _model_info, _stains
from wsss_mm.errors import InputError
from wsss_mm.inference.patches import predict
from wsss_mm.patches import VOCABULARIES, read_manifest, write_manifest
from wsss_mm.patches.images import read_image
from wsss_mm.patches.stains import patch_reader, target_of, write_stains
from wsss_mm.settings import load_profile
from wsss_mm.slides.icc import note_icc
from wsss_mm.slides.stain import METHODS, Stain, fit_stain, typical

LUNG = VOCABULARIES["lung"]
SLIDES = {
    "one": ("train", H_AND_E, (1.2, 0.8)),
    "two": ("train", H_AND_E, (1.0, 0.9)),
    "three": ("train", OTHER, (0.9, 0.9)),
    "four": ("valid", OTHER, (0.6, 1.2)),
    "glass": ("test", H_AND_E, (0.001, 0.001)),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Four patches of each of five slides, of which the last is glass; those of valid have masks."""
    root, rows = tmp_path_factory.mktemp("stains"), []
    for slide_id, (split, vectors, amounts) in SLIDES.items():
        for index in range(4):
            patch_id, mask = f"{slide_id}-{index}", None
            for name in ("images", "masks"):
                (root / name).mkdir(exist_ok=True)
            Image.fromarray(image_of(vectors, amounts, side=64, seed=index)).save(root / f"images/{patch_id}.png")
            if split == "valid":
                mask = f"masks/{patch_id}.png"
                Image.fromarray(np.repeat(np.arange(64, dtype=np.uint8)[None] // 32, 64, axis=0)).save(root / mask)
            row = {"patch_id": patch_id, "slide_id": slide_id, "patient_id": slide_id, "split": split, "x": 0, "y": 0}
            row |= {"mpp": 1.0, "size": 64, "path": f"images/{patch_id}.png", "mask_path": mask, "sha256": "0"}
            rows.append(row | {"tissue": 1.0, **dict.fromkeys(LUNG.codes, True)})
    write_manifest(pd.DataFrame(rows), root)
    return root


@pytest.fixture(params=METHODS)
def stained(made, request):
    """The same with stains of a method, for one test."""
    write_stains(made, read_manifest(made, LUNG), request.param)
    yield made
    (made / places.STAIN).unlink()


def test_without_stains_images_are_what_files_hold(made):
    assert patch_reader(made, read_manifest(made, LUNG)) is read_image
    assert target_of(made) is None
    assert _stains(made) == []


def test_the_target_is_of_training_slides_alone(stained):
    said = json.loads((stained / places.STAIN).read_text())
    stains = {name: Stain.from_json(item, "") for name, item in said["slides"].items()}
    assert set(stains) == {"one", "two", "three", "four"}, "of glass nothing is told"
    assert target_of(stained) == typical(stains[name] for name in ("one", "two", "three"))
    images = [read_image(stained / f"images/four-{index}.png") for index in range(4)]
    assert stains["four"] == fit_stain(np.concatenate(images), target_of(stained).method)


def test_every_reader_shows_the_same_and_slides_look_alike(stained):
    manifest = read_manifest(stained, LUNG)
    read, target = patch_reader(stained, manifest), target_of(stained)
    images = {row.patch_id: read(stained / row.path) for row in manifest.itertuples()}
    for slide_id in ("one", "three", "four"):
        found = fit_stain(np.concatenate([images[f"{slide_id}-{index}"] for index in range(4)]), target.method)
        np.testing.assert_allclose(
            found.numbers, target.numbers, rtol=0.1, atol=0.6 if min(target.numbers) < 0 else 0.03
        )
    assert np.array_equal(images["glass-0"], read_image(stained / "images/glass-0.png"))
    assert not np.array_equal(images["four-0"], read_image(stained / "images/four-0.png"))

    seen = predict(manifest, stained, lambda batch: [None] * len(batch.rows), "cpu", name="test", quiet=True)
    assert all(np.array_equal(patch.image, images[patch.row["patch_id"]]) for patch in seen)
    for data in (
        PatchLabelDataset(str(stained), "lung", "train"),
        PseudoLabelDataset(str(stained), "lung", "valid", target="masks"),
    ):
        for index in range(len(data)):
            assert np.array_equal(data.decoded(index)["img"], images[data.records[index]["patch_id"]])
    windows = validation_windows(manifest, stained, LUNG.codes, least=0.03, placed=False)
    assert np.array_equal(windows.images, np.stack([images[name] for name in windows.patches]))


def test_a_study_has_other_stains_than_the_line(made, tmp_path):
    params = load_profile("phantom")
    assert stained_patches(params, made, tmp_path) == made
    asked = params.model_copy(update={"stain": params.stain.model_copy(update={"normalization": "reinhard"})})
    asked = asked.model_copy(update={"cohort": asked.cohort.model_copy(update={"name": "wsss4luad"})})
    folder = stained_patches(asked, made, tmp_path / "work")
    assert target_of(folder).method == "reinhard"
    assert target_of(made) is None
    assert read_manifest(folder, LUNG).equals(read_manifest(made, LUNG))
    assert stained_patches(asked, made, tmp_path / "work") == folder
    assert stained_patches(asked, folder, tmp_path / "work") == folder
    plain = asked.model_copy(update={"stain": params.stain})
    assert target_of(stained_patches(plain, folder, tmp_path / "work")) is None


def test_a_model_carries_the_target(stained):
    config = Config({"model": {"type": "wsss_mm.PatchClassifier", "backbone": {"type": "wsss_mm.ResNet38"}}})
    paths = Paths(patches=stained)
    info = _model_info("classifier", load_profile("phantom"), paths, config)
    assert Stain.from_json(info["stain"], "") == target_of(stained)
    assert f"typical training slide first ({target_of(stained).method})" in model_card(info)
    assert _stains(stained) == [stained / "stain.json"], "another target is another training"


def test_a_model_carries_that_slides_were_read_as_srgb(stained):
    config = Config({"model": {"type": "wsss_mm.PatchClassifier", "backbone": {"type": "wsss_mm.ResNet38"}}})
    params, paths, note = load_profile("phantom"), Paths(patches=stained), stained / places.ICC
    assert "icc" not in _model_info("classifier", params, paths, config)
    note_icc(stained)
    try:
        info = _model_info("classifier", params, paths, config)
        assert info["icc"] == "sRGB"
        assert "Slides are read as sRGB, by their embedded colour profiles." in model_card(info)
        assert _stains(stained) == [stained / places.STAIN, note], "another reading is another training"
    finally:
        note.unlink()


def test_damage_and_a_cohort_of_glass_are_one_line(stained):
    manifest, path = read_manifest(stained, LUNG), stained / places.STAIN
    said = json.loads(path.read_text())
    other = {"method": "reinhard", "numbers": [50, 20, -10, 10, 5, 5]}
    if said["target"]["method"] == "reinhard":
        other = {"method": "macenko", "numbers": [0.65, 0.7, 0.29, 0.07, 0.99, 0.11, 1, 1]}
    for changed in ({"target": None}, {"slides": []}, {"slides": {"one": {}}}, {"target": other}):
        path.write_text(json.dumps(said | changed))
        with pytest.raises(InputError, match=r"stain\.json: [^\n]*; make it again: dvc repro[^\n]*$"):
            patch_reader(stained, manifest)
    with pytest.raises(InputError, match=r"stain\.normalization: \w+ needs a training slide with enough tissue[^\n]*$"):
        write_stains(stained, manifest[manifest["slide_id"] == "glass"], "macenko")
