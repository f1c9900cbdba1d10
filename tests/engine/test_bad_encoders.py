"""What is wrong with an encoder or its file is one line, before anything trains."""

import os

import pytest
import torch

from tests.settings import content_of, write_settings
from wsss_mm.engine.training import Paths, train_classifier
from wsss_mm.errors import InputError
from wsss_mm.preflight import check
from wsss_mm.settings import load_params

LITE = "efficientnet-lite0-57934424.pth"
ROWS = """
fixed: {loader: timm, architecture: x, stages: {a: [8, 4], b: [8, 8]}, licence: MIT, sizes: {fixed: 256}}
"""


def other(path):
    torch.save({"cls_token": torch.zeros(1, 1, 384)}, path)


def truncated(path):
    torch.save({"stem.0.weight": torch.zeros(1 << 16)}, path)
    path.write_bytes(path.read_bytes()[:-1000])


def sparse(path):
    path.touch()
    os.truncate(path, 10 << 30)


@pytest.mark.parametrize(
    ("encoder", "weights", "make", "says"),
    [
        ("efficientnet_lite0", "own.pth", other, r"own\.pth: no weights of \S+, \d+ of \d+ arrays are missing, "),
        ("efficientnet_lite0", "own.pth", truncated, r"own\.pth: not a plain state dict \("),
        ("efficientnet_lite0", LITE, other, r"classifier\.weights: \S+: sha256 \w{12} is not the published"),
        ("efficientnet_lite0", "own.pth", sparse, r"own\.pth: 10737 MB, but \S+ and its head have \d+ MB at most"),
        ("efficientnet_lite0", "own.pth", None, r"classifier\.weights: pretrained/own\.pth: not found; "),
        ("fixed", None, None, r"patches\.size: classifier\.encoder fixed takes images of 256 px alone, not of 224 px"),
        ("uni", "published", None, r"pretrained/uni\.bin: not found, .*after its licence is accepted there \(CC-BY"),
        ("unni", "published", None, r"classifier\.encoder: no encoder 'unni'; did you mean uni\?"),
    ],
    ids=["another architecture", "truncated", "sha256", "10 GB", "absent", "sizes", "gated", "unknown"],
)  # fmt: skip
def test_bad_input_is_one_line(cohort, tmp_path, project_root, monkeypatch, encoder, weights, make, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "encoders.yaml").write_text(ROWS)
    (tmp_path / "pretrained").mkdir()
    (tmp_path / "pretrained/published").touch()
    if make is not None:
        make(tmp_path / "pretrained" / weights)
    content = content_of("phantom")
    content["classifier"] |= {"encoder": encoder, "weights": weights}
    content["segmenter"] |= {"init": "none"}
    content["pseudo_labels"] |= {"layer": "last"}
    with pytest.raises(InputError, match=says) as error:
        params = load_params(write_settings(tmp_path, content))
        check(params, tmp_path)
        paths = Paths(
            patches=cohort / "patches",
            out=tmp_path / "out",
            curves=tmp_path / "curves.csv",
            configs=project_root / "mmconfigs",
            work=tmp_path / "work",
        )
        train_classifier(params, paths)
    assert "\n" not in str(error.value)
    assert not {"out", "curves.csv", "work"}.intersection(item.name for item in tmp_path.iterdir())
