"""What model.json says of the weights a training began with, and which of them are refused."""

import pytest
import torch

from wsss_mm.dvc_files import tracked_md5
from wsss_mm.engine.beginning import beginning, encoder_said
from wsss_mm.engine.card import model_card
from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.models.store import save_model

WEIGHTS = "pretrained/small.pth"


@pytest.fixture(autouse=True)
def weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pretrained").mkdir()
    path = tmp_path / WEIGHTS
    path.write_bytes(b"weights")
    return path


def track(path, md5=None):
    note = path.with_name(f"{path.name}.dvc")
    note.write_text(f"outs:\n- md5: {md5 or digest(path, 'md5')}\n  size: 7\n  hash: md5\n  path: {path.name}\n")


def test_nothing_is_said_of_a_training_that_begins_without(tmp_path):
    assert beginning(None) == {}
    assert beginning(tmp_path / "absent.pth") == {}  # the backbone that is to read it says so


def test_file_and_sha256(weights):
    said = {"initial_weights": {"file": WEIGHTS, "sha256": digest(weights)}}
    assert beginning(weights.relative_to(weights.parents[1])) == said
    track(weights)
    assert beginning(weights.relative_to(weights.parents[1])) == said
    assert beginning(weights)["initial_weights"]["file"] == "small.pth"  # no folder of this machine


@pytest.mark.parametrize("change", [b"weight", b"weightt", b""])
def test_a_file_that_is_not_the_one_dvc_owns_is_refused(weights, change):
    track(weights)
    weights.write_bytes(change)
    with pytest.raises(InputError, match=r"^\S+small\.pth: has md5 \w{12}, but \w{12} in small\.pth\.dvc: [^\n]+$"):
        beginning(weights)


@pytest.mark.parametrize("text", ["", "a: [", "outs: []", "outs: [{path: other, md5: x}]", "outs: 3"])
def test_a_broken_note_of_dvc_is_named(weights, text):
    weights.with_name("small.pth.dvc").write_text(text)
    with pytest.raises(InputError, match=r"small\.pth\.dvc: names no md5 of small\.pth; make it again: dvc add"):
        tracked_md5(weights)


def test_a_segmenter_says_what_its_classifier_began_with(weights, tmp_path):
    folder = tmp_path / "models/classifier"
    first = beginning(weights.relative_to(tmp_path))
    save_model(folder, state={"a": torch.zeros(1)}, info={"kind": "classifier", **first}, config_text="", card="")
    second = beginning((folder / "weights.pth").relative_to(tmp_path))
    sha256 = digest(folder / "weights.pth")
    assert second == {"initial_weights": {"file": "models/classifier/weights.pth", "sha256": sha256, **first}}
    (folder / "weights.pth").write_bytes(b"others")
    with pytest.raises(InputError, match="not the weights that"):
        beginning(folder / "weights.pth")


def test_the_card_says_all_of_them():
    said = {"file": "models/classifier/weights.pth", "sha256": "b" * 64}
    info = {
        **{"kind": "classifier", "classes": [], "valid": {}, "width": 1.0, "cohort": "phantom", "train_patches": 1},
        **{"size": 224, "mpp": 1.0, "seed": 0, "patches": "c" * 64, "model": {"backbone": {"type": "ResNet38"}}},
    }
    assert "began with" not in model_card(info)
    card = model_card(info | {"initial_weights": said | {"initial_weights": {"file": WEIGHTS, "sha256": "a" * 64}}})
    assert f"It began with `models/classifier/weights.pth`, sha256 `{'b' * 64}`,\n" in card
    assert f"which began with `{WEIGHTS}`, sha256 `{'a' * 64}`.\n" in card


def test_a_resolution_that_an_encoder_does_not_know_is_recorded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "encoders.yaml").write_text(
        "tissue: {loader: timm, architecture: x, stages: {a: [8, 4], b: [8, 16]}, licence: MIT, mpp: [0.5]}"
    )
    said = {"file": "pretrained/own.pth", "sha256": "a" * 64}
    info = {"mpp": 1.0, "model": {"backbone": {"type": "wsss_mm.TimmBackbone"}}}
    note = "1 um/px is off by more than 1.5 times from the 0.5 um/px that tissue knows"
    assert encoder_said("tissue", info) == {"encoder": "tissue"}
    assert encoder_said("tissue", info | {"initial_weights": said}) == {"encoder": "tissue", "encoder_resolution": note}
    assert encoder_said("tissue", info | {"initial_weights": said, "mpp": 0.4}) == {"encoder": "tissue"}
    trained = {"file": "models/classifier/weights.pth", "sha256": "b" * 64}
    assert encoder_said("tissue", info | {"initial_weights": trained}) == {"encoder": "tissue"}
    assert note in encoder_said("tissue", info | {"initial_weights": trained | {"initial_weights": said}}).values()
