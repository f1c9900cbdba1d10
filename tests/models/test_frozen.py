"""A frozen encoder is named by digest: the model's folder does not hold it, and loading asks for that very file."""

import json

import pytest
import torch

from wsss_mm.engine.beginning import beginning, encoder_said
from wsss_mm.engine.card import model_card
from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.models import EfficientNetLite, PatchClassifier, load_model, save_model
from wsss_mm.models.backbones import backbone_config, initial_file, load_initial_weights

ROW = """
small:
  loader: wsss_mm
  architecture: EfficientNetLite
  arguments: {output_stride: 32, head: false}
  stages: {stage6: [192, 32], stage7: [320, 32]}
  file: small.pth
  sha256: SHA256
  source: nowhere
  licence: CC-BY-NC-ND-4.0
  derivatives: false
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with an encoder of its own, its file in pretrained/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pretrained").mkdir()
    torch.manual_seed(1)
    torch.save(EfficientNetLite(32, head=False).state_dict(), "pretrained/small.pth")
    (tmp_path / "encoders.yaml").write_text(ROW.replace("SHA256", digest(tmp_path / "pretrained/small.pth")))
    return tmp_path


def trained(out, **more):
    """A classifier whose encoder began with the file, stored in a folder; and what it says of an image."""
    config = {
        "type": "wsss_mm.PatchClassifier",
        "backbone": backbone_config("small", **more),
        "classes": 3,
        "data_preprocessor": {"type": "mmengine.ImgDataPreprocessor", "mean": [120.0] * 3, "std": [60.0] * 3},
    }
    torch.manual_seed(0)
    model = PatchClassifier(**{key: value for key, value in config.items() if key != "type"}).eval()
    path, sha256 = initial_file("pretrained/published", "small")
    load_initial_weights(model.backbone, path, sha256)
    classes = [{"code": code, "name": code, "color": [40 * i, 0, 0]} for i, code in enumerate("abc")]
    info = {"kind": "classifier", "classes": classes, "mpp": 1.0, "size": 64, "model": config, **beginning(path)}
    info |= encoder_said("small", info)
    save_model(out, state=model.state_dict(), info=info, config_text="", card="")
    return model.predict(IMAGE), info


IMAGE = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


def test_it_is_asked_for_and_not_copied(project):
    said, info = trained(project / "model", freeze="all")
    assert info["frozen_encoder"] == {
        "name": "small",
        "file": "small.pth",
        "sha256": digest(project / "pretrained/small.pth"),
    }
    assert set(torch.load(project / "model/weights.pth", weights_only=True)) == {"head.weight"}
    assert torch.equal(load_model("model")[0].predict(IMAGE), said)
    backbone = EfficientNetLite(32, head=False)  # a segmenter that begins with this classifier
    load_initial_weights(backbone, project / "model/weights.pth")
    wanted = torch.load("pretrained/small.pth", weights_only=True)
    assert all(torch.equal(value, wanted[key]) for key, value in backbone.state_dict().items())
    assert beginning(project / "model/weights.pth")["initial_weights"]["frozen_encoder"] == info["frozen_encoder"]


def test_one_that_learns_is_part_of_the_model(project):
    said, info = trained(project / "model", freeze="stem")
    assert info["encoder"] == "small"
    assert "frozen_encoder" not in info
    (project / "pretrained/small.pth").unlink()
    assert torch.equal(load_model("model")[0].predict(IMAGE), said)


def test_without_the_file_or_with_another_one(project):
    trained(project / "model", freeze="all")
    file = project / "pretrained/small.pth"
    torch.save(EfficientNetLite(32, head=False).state_dict(), file)
    with pytest.raises(InputError, match=r"its encoder is not part of the model: pretrained/small\.pth: sha256 \w+ is"):
        load_model("model")
    file.unlink()
    with pytest.raises(InputError, match=r"model\.json: its encoder .*not found.*they are had from nowhere"):
        load_model("model")


@pytest.mark.parametrize("held", [7, {}, {"name": "small"}, {"name": ["a"], "sha256": "a" * 64}, {"name": "../x"}])
def test_a_description_that_names_nothing_sensible(project, held):
    _, info = trained(project / "model", freeze="all")
    save_model(
        project / "other", state={"head.weight": torch.zeros(3, 320, 1, 1)},
        info={**info, "frozen_encoder": held}, config_text="", card="",
    )  # fmt: skip
    with pytest.raises(InputError, match=r"model\.json: .*frozen_encoder names no encoder with its sha256"):
        load_model("other")
    assert json.loads((project / "other/model.json").read_text())["frozen_encoder"] == held


def test_the_card_says_what_the_licence_does(project):
    _, info = trained(project / "model", freeze="all")
    text = model_card(
        {**info, "width": 1.0, "cohort": "x", "train_patches": 1, "seed": 0, "patches": "a" * 64, "valid": {}}
    )
    assert "Encoder `small`, licence of its published weights: CC-BY-NC-ND-4.0; they are not among these" in text
    assert "It allows no derivatives: do not pass this model on." in text
    assert "Width" not in text
    assert "\n\n\n" not in text.partition("## Validation")[0]
