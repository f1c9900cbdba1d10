"""`wsss-mm encoders`: a row of one's own is fetched, checked and listed, and what is wrong is one line."""

import shutil

import pytest
import torch

from wsss_mm.cli import doctor
from wsss_mm.cli.main import main
from wsss_mm.errors import InputError
from wsss_mm.models.mmseg_backbone import MmsegBackbone

ROW = """tiny:
  loader: mmseg
  architecture: ResNet
  arguments: {depth: 18, base_channels: 8}
  stages: {stage1: [8, 4], stage2: [16, 8], stage3: [32, 16], stage4: [64, 32]}
  sizes: {multiple: 32}
  file: tiny.pth
  source: nowhere but here
  licence: MIT
  commercial: true
  derivatives: true
  mpp: [0.25]
  citation: nobody
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "encoders.yaml").write_text(ROW)
    torch.manual_seed(0)
    network = MmsegBackbone("ResNet", {"depth": 18, "base_channels": 8})
    torch.save(network.net.state_dict(), tmp_path / "given.pth")
    return tmp_path


def said(capsys, *words, rc=0):
    """What a command says, on the stream that its exit code calls for."""
    assert main(["--quiet", *words]) == rc
    out = capsys.readouterr()
    if rc:
        assert out.err.count("\n") == 1
    return out.err if rc else out.out


def test_a_row_of_ones_own_from_file_to_image(project, capsys, project_root):
    listed = said(capsys, "encoders", "list").splitlines()
    assert [line.split()[:8] for line in listed if line.startswith("tiny ")] == [
        ["tiny", "mmseg", "64", "32", "yes", "yes", "no", "MIT"]
    ]
    uni = next(line for line in listed if line.startswith("uni "))
    assert uni.split()[4:] == ["no", "no", "no", "CC-BY-NC-ND-4.0,", "to", "be", "accepted"]

    assert "pretrained/tiny.pth: not found" in said(capsys, "encoders", "check", "tiny", rc=2)
    assert "had from nowhere but here (MIT)" in said(capsys, "encoders", "fetch", "tiny", rc=2)
    assert "which encoders.yaml had not and has now" in said(capsys, "encoders", "fetch", "tiny", "--from", "given.pth")
    checked = said(capsys, "encoders", "check", "tiny")
    assert "stage4     64 features, 7 x 7, stride 32" in checked
    assert "warning" not in checked
    shutil.copy(project_root / "params.yaml", project)
    shutil.copy(project_root / "gates.yaml", project)
    shutil.copytree(project_root / "vocabularies", project / "vocabularies")
    checked = said(capsys, "encoders", "check", "tiny")
    assert "patches.mpp 1 um/px is off by more than 1.5 times from the 0.25 um/px that tiny knows" in checked
    assert "tiny           mmseg" not in checked

    (project / "pretrained/tiny.pth").write_bytes((project / "given.pth").read_bytes()[:-100])
    assert "is not that of encoder tiny" in said(capsys, "encoders", "check", "tiny", rc=2)


def test_a_row_that_says_something_else_than_its_network_is_refused(project, capsys):
    (project / "encoders.yaml").write_text(ROW.replace("stage4: [64, 32]", "stage4: [65, 32]"))
    said(capsys, "encoders", "fetch", "tiny", "--from", "given.pth")
    message = said(capsys, "encoders", "check", "tiny", rc=2)
    assert "encoders.yaml: tiny.stages.stage4: [65, 32] is not what the network has, [64, 32]" in message


def test_weights_of_another_network_are_not_copied(project, capsys):
    (project / "encoders.yaml").write_text(ROW.replace("depth: 18", "depth: 34"))
    message = said(capsys, "encoders", "fetch", "tiny", "--from", "given.pth", rc=2)
    assert "given.pth: no weights of ResNet, " in message
    assert not list((project / "pretrained").glob("*"))
    torch.save({"cls_token": torch.zeros(1, 1, 384)}, project / "pytorch_model.bin")
    message = said(capsys, "encoders", "fetch", "uni", "--from", ".", rc=2)
    assert "pytorch_model.bin: no weights of uni, 341 of 342 arrays are missing" in message


def test_unknown_names_are_refused(project, capsys):
    assert "no encoder 'tinny'; did you mean tiny?" in said(capsys, "encoders", "check", "tinny", rc=2)


def test_doctor_says_which_file_is_missing(project, project_root):
    for name in ("params.yaml", "gates.yaml"):
        shutil.copy(project_root / name, project)
    shutil.copytree(project_root / "vocabularies", project / "vocabularies")
    assert doctor._encoders() == "resnet38, which begins without a file"
    text = (project / "params.yaml").read_text()
    assert text.count("encoder: resnet38") == 2
    text = text.replace("encoder: resnet38", "encoder: tiny", 1).replace("weights: null", "weights: published", 1)
    text = text.replace("layer: bn7", "layer: last").replace("init: classifier", "init: none")
    (project / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=r"pretrained/tiny\.pth: not found.*had from nowhere but here \(MIT\)"):
        doctor._encoders()
    (project / "pretrained").mkdir()
    shutil.copy(project / "given.pth", project / "pretrained/tiny.pth")
    assert doctor._encoders().startswith("tiny with pretrained/tiny.pth (MIT); patches.mpp 1 um/px is off by more")
