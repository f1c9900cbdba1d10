import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from studies.colour_baseline import colour_baseline, colour_features, main
from wsss_mm.files import read_json
from wsss_mm.formats import write_rows
from wsss_mm.patches import IGNORE, get_vocabulary, read_manifest, write_manifest
from wsss_mm.patches.images import store_patch, write_mask
from wsss_mm.patches.shards import pack_files
from wsss_mm.places import PSEUDO_LABEL_MANIFEST

LUNG = get_vocabulary("lung")
COLOURS = np.array([[180, 60, 120], [120, 60, 180], [60, 60, 160], [230, 150, 190]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Patches whose classes have colours of their own; pseudo-labels that are right for three pixels in four."""
    root, rng, rows = tmp_path_factory.mktemp("patches"), np.random.default_rng(0), []
    for number in range(9):
        split = "test" if number > 5 else "train"
        mask = rng.integers(0, 4, (32, 32)).astype(np.uint8)
        image = np.clip(COLOURS[mask] + rng.normal(0, 4, (32, 32, 3)), 0, 255).astype(np.uint8)
        noisy = np.where(rng.random(mask.shape) < 0.25, rng.integers(0, 4, mask.shape), mask).astype(np.uint8)
        noisy[:4] = IGNORE
        write_mask(root / "pseudo" / "labels" / f"p{number}.png", noisy, LUNG)
        row = store_patch(root, f"p{number}", split, image=image, mask=mask, vocabulary=LUNG)
        known = {"slide_id": split, "patient_id": split, "x": 0, "y": 0, "mpp": 1.0, "tissue": 1.0}
        rows.append(row | known | dict.fromkeys(LUNG.codes, True))
    write_manifest(pd.DataFrame(rows), root)
    return root


@pytest.fixture(scope="module")
def metrics(folder):
    """Of the pseudo-labels."""
    return colour_baseline(folder, LUNG, pseudo_labels=folder / "pseudo", pixels=800)


def test_pure_colour_is_learned_from_noisy_pseudo_labels(metrics):
    assert metrics["miou"] > 0.95
    assert (metrics["n_patches"], metrics["trained_on"]) == (3, "pseudo-labels")


def test_pseudo_labels_are_found_by_their_manifest(folder, metrics, tmp_path):
    """In shards, too."""
    manifest = read_manifest(folder, LUNG)
    train = manifest.loc[manifest["split"] == "train", ["patch_id", "slide_id"]].reset_index(drop=True)
    shutil.copytree(folder / "pseudo", tmp_path / "pseudo")
    rows = train.assign(path=[f"labels/{name}.png" for name in train["patch_id"]], share_TE=0.0)
    rows = pack_files(rows.assign(share_NEC=0.0, share_LYM=0.0, share_TAS=0.0), tmp_path / "pseudo", ("path",))
    write_rows(tmp_path / "pseudo/manifest.parquet", PSEUDO_LABEL_MANIFEST, pa.Table.from_pandas(rows))
    assert colour_baseline(folder, LUNG, pseudo_labels=tmp_path / "pseudo", pixels=800) == metrics


def test_same_seed_same_figures(folder):
    first, second = (colour_baseline(folder, LUNG, pseudo_labels=None, pixels=50, balanced=True) for _ in range(2))
    assert first == second
    assert first["trained_on"] == "masks"


def test_features_are_rgb_and_lab():
    white, black = colour_features(np.array([[255, 255, 255], [0, 0, 0]], np.uint8))
    np.testing.assert_allclose(white, [255, 255, 255, 100, 0, 0], atol=0.1)
    np.testing.assert_allclose(black, 0, atol=0.1)


def test_command_writes_json(folder, tmp_path):
    out = tmp_path / "colour.json"
    arguments = ["--patches", folder, "--pseudo-labels", folder / "pseudo", "--vocabulary", "lung", "--out", out]
    assert main([*map(str, arguments), "--pixels", "800"]) == 0
    assert read_json(out)["miou"] > 0.9


def test_nothing_to_train_on_is_one_line_and_exit_code_2(folder, tmp_path, capsys):
    arguments = ["--patches", str(folder), "--pseudo-labels", str(tmp_path), "--vocabulary", "lung"]
    assert main(arguments) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {tmp_path}/labels: holds no label")
