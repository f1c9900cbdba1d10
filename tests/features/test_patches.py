"""Features of stored patches are made once a picture, and a probe on them is a baseline."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from studies import probe
from studies.rows import read_rows
from studies.tables import probe_table
from tests.settings import content_of, write_settings
from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.features import patches as module
from wsss_mm.features.patches import PatchEncoder, patch_features, published, statistics
from wsss_mm.features.statistics import simple_features
from wsss_mm.files import digest
from wsss_mm.models.mmseg_backbone import MmsegBackbone
from wsss_mm.patches import VOCABULARIES, read_manifest, write_manifest

LUNG = VOCABULARIES["lung"]
COLOURS = ((150, 60, 160), (230, 120, 150), (70, 50, 130), (240, 190, 210))
ROW = "tiny: {loader: mmseg, architecture: ResNet, arguments: {depth: 18, base_channels: 8}, licence: MIT, "
ROW += "stages: {stage1: [8, 4], stage2: [16, 8], stage3: [32, 16], stage4: [64, 32]}, file: tiny.pth, sha256: "


@pytest.fixture
def project(tmp_path, monkeypatch):
    """32 patches of one colour each with noise, whose class is their colour; the last is the first's twin."""
    monkeypatch.chdir(tmp_path)
    rng, rows, root = np.random.default_rng(0), [], places.PATCHES
    (root / "images").mkdir(parents=True)
    for index in range(32):
        split = ("train", "train", "valid", "test")[index // 4 % 4]
        name = f"images/{index:02d}.png"
        image = np.array(COLOURS[index % 4]) + rng.integers(-15, 15, (32, 32, 3))
        if index == 31:
            image = np.asarray(Image.open(root / "images/00.png"))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / name)
        row = {"patch_id": f"{index:02d}", "slide_id": split, "patient_id": split, "split": split, "x": 0, "y": 0}
        row |= {"mpp": 1.0, "size": 32, "path": name, "mask_path": None, "sha256": digest(root / name), "tissue": 1.0}
        rows.append(row | {code: position == index % 4 for position, code in enumerate(LUNG.codes)})
    write_manifest(pd.DataFrame(rows), root)
    write_settings(tmp_path, content_of("phantom"))
    return tmp_path


def counting(counts):
    def step(batch):
        counts.append(len(batch.rows))
        return list(simple_features(batch.pictures))

    return PatchEncoder.of_network("counted", "a" * 64, step)


def test_nothing_is_computed_twice_and_what_is_damaged_is_made_again(project):
    manifest, counts, memory = read_manifest(places.PATCHES, LUNG), [], project / "memory"
    some = patch_features(manifest.iloc[5:9], places.PATCHES, counting(counts), memory)
    assert sum(counts) == 4
    whole = patch_features(manifest, places.PATCHES, counting(counts), memory)
    assert sum(counts) == 31, "the twin is the same picture"
    assert np.array_equal(whole[5:9], some)
    assert np.array_equal(whole[31], whole[0])
    shuffled = manifest.sample(frac=1, random_state=0)
    assert np.array_equal(patch_features(shuffled, places.PATCHES, counting(counts), memory), whole[shuffled.index])
    assert sum(counts) == 31
    image = np.asarray(Image.open(places.PATCHES / "images/03.png"))
    assert np.array_equal(whole[3], simple_features(image[None])[0].astype(np.float16))
    (path,) = memory.iterdir()
    for damage in (b"", path.read_bytes()[:-200], b"PK" + bytes(100)):
        path.write_bytes(damage)
        assert np.array_equal(patch_features(manifest, places.PATCHES, counting(counts), memory), whole)
    assert sum(counts) == 4 * 31


def test_what_was_made_before_a_fault_is_kept(project, monkeypatch):
    manifest, counts, memory = read_manifest(places.PATCHES, LUNG), [], project / "memory"
    monkeypatch.setattr(module, "_PIECE", 8)
    path = places.PATCHES / "images/20.png"
    image = path.read_bytes()
    path.unlink()
    with pytest.raises(InputError, match=r"20\.png: not found"):
        patch_features(manifest, places.PATCHES, counting(counts), memory)
    path.write_bytes(image)
    counts.clear()
    patch_features(manifest, places.PATCHES, counting(counts), memory)
    assert sum(counts) == 31 - 16


def test_an_encoder_by_name_gives_its_last_map_averaged(project):
    torch.manual_seed(0)
    network = MmsegBackbone("ResNet", {"depth": 18, "base_channels": 8}).eval()
    (project / "pretrained").mkdir()
    torch.save(network.net.state_dict(), project / "pretrained/tiny.pth")
    (project / "encoders.yaml").write_text(f"{ROW}{digest(project / 'pretrained/tiny.pth')}}}\n")
    manifest = read_manifest(places.PATCHES, LUNG)
    encoder = published("tiny")
    found = patch_features(manifest, places.PATCHES, encoder, project / "memory")
    image = torch.from_numpy(np.array(Image.open(places.PATCHES / "images/03.png"))).permute(2, 0, 1)[None].float()
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
    with torch.no_grad():
        wanted = network.features((image - mean) / std)["stage4"].mean(dim=(2, 3))[0].numpy()
    np.testing.assert_allclose(found[3], wanted, rtol=5e-3, atol=1e-3)
    assert encoder.digest != statistics().digest
    (project / "pretrained/tiny.pth").write_bytes(b"others")
    with pytest.raises(InputError, match="is not that of encoder tiny"):
        published("tiny")


def test_a_probe_tells_colours_apart_and_is_run_once(project, monkeypatch, capsys):
    out = project / "probe.jsonl"
    for _ in range(2):
        monkeypatch.setattr("sys.argv", ["probe", "--out", str(out)])
        probe.main()
    (row,) = read_rows(out)
    assert (row["cohort"], row["encoder"], row["mean_ap.valid"]) == ("phantom", "statistics", 1.0)
    assert row["mean_ap.test"] < 1, "one picture of test is of another class than its label says"
    assert {f"ap.{code}.{split}" for code in LUNG.codes for split in ("valid", "test")} <= set(row)
    table = probe_table([row])
    assert table.splitlines()[2] == f"| phantom | statistics | 1.000 | {row['mean_ap.test']:.3f} |"
    monkeypatch.setattr("sys.argv", ["probe", "uni", "--out", str(out)])
    with pytest.raises(SystemExit, match="2"):
        probe.main()
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: pretrained/uni.bin: not found")


def test_the_probe_looks_at_training_patches_alone(project):
    manifest = read_manifest(places.PATCHES, LUNG)
    features = patch_features(manifest, places.PATCHES, statistics(), project / "memory")
    first = probe.probed(features, manifest, LUNG.codes)
    changed = features.copy()
    test = (manifest["split"] == "test").to_numpy()
    changed[test] = -changed[test]
    second = probe.probed(changed, manifest, LUNG.codes)
    assert {key: value for key, value in first.items() if key.endswith("valid")} == {
        key: value for key, value in second.items() if key.endswith("valid")
    }
