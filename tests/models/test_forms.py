"""Models without this package: what others run gives the same numbers."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from tests.fuzzing.of_files import CLASSIFIER, SEGMENTER, model_info
from wsss_mm.cli.main import main
from wsss_mm.errors import InputError
from wsss_mm.models import build_network, forms, load_model, save_model
from wsss_mm.models.forms import write_form

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema comes with DVC and MLflow")

SIZE = 96
SCHEMA = {  # what version 1.0 of WSInfer's config.json must hold
    "type": "object",
    "required": [
        *("spec_version", "architecture", "num_classes", "patch_size_pixels", "spacing_um_px"),
        *("class_names", "transform"),
    ],
    "properties": {
        "spec_version": {"enum": ["1.0"]},
        "architecture": {"type": "string"},
        "num_classes": {"type": "integer", "minimum": 1},
        "patch_size_pixels": {"type": "integer", "minimum": 1},
        "spacing_um_px": {"type": "number", "minimum": 0},
        "class_names": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        "transform": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "additionalProperties": False,
                "properties": {
                    "name": {"enum": ["Resize", "ToTensor", "Normalize"]},
                    "arguments": {"type": "object"},
                },
            },
        },
    },
}
WITHOUT = """
foreign = [name for name in sys.modules if name.partition(".")[0] in ("wsss_mm", "mmseg", "mmengine", "mmcv")]
assert not foreign, foreign
np.savez("found.npz", **found)
"""
TORCH_RUNNER = f"""
import sys
import numpy as np
import torch

images = torch.from_numpy(np.load("images.npy")).permute(0, 3, 1, 2) / 255  # ToTensor
found = {{}}
for name in sys.argv[1:]:
    model = torch.jit.load(name).eval()
    with torch.no_grad():
        found[name] = model(images).numpy()
{WITHOUT}
"""
ONNX_RUNNER = f"""
import sys
import numpy as np
import onnxruntime

images = np.load("images.npy").transpose(0, 3, 1, 2).astype(np.float32) / 255
found = {{}}
for name in sys.argv[1:]:
    session = onnxruntime.InferenceSession(name, providers=["CPUExecutionProvider"])
    (found[name],) = session.run(["probabilities"], {{"images": images}})
    (found[f"first of {{name}}"],) = session.run(None, {{"images": images[:1]}})
{WITHOUT}
"""


def images():
    noise = np.random.default_rng(3).integers(0, 256, (5, SIZE // 8, SIZE // 8, 3), dtype=np.uint8)
    return np.repeat(np.repeat(noise, 8, axis=1), 8, axis=2)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Networks with weights of every size, as trained ones have: their maps are not all one class."""
    root = tmp_path_factory.mktemp("models")
    for kind, config in (("segmenter", SEGMENTER), ("classifier", CLASSIFIER)):
        torch.manual_seed(1)
        network = build_network(config)
        network.train()
        shown = torch.from_numpy(images()).permute(0, 3, 1, 2).float()
        for _ in range(20):  # batch normalisation has seen images
            if kind == "segmenter":
                network((shown - 128) / 64, mode="tensor")
            else:
                network.logits(network.normalize(shown))
        info = model_info(kind, config) | {"size": SIZE, "cohort": "small"}
        save_model(root / kind, state=network.state_dict(), info=info, config_text="", card="")
    return root


def ours(folder):
    network, _ = load_model(folder)
    shown = torch.from_numpy(images()).permute(0, 3, 1, 2)
    found = network.predict_probabilities(shown) if folder.name == "segmenter" else network.predict(shown)
    return found.numpy()


def run(program, folder, *files):
    """Answers of a program that knows nothing of this package, by file."""
    (folder / "runner.py").write_text(program)
    command = [sys.executable, "-I", "runner.py", *files]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"TMPDIR": str(folder)}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "found.npz") as found:
        return [(found[name], found[f"first of {name}"]) if "onnx" in name else found[name] for name in files]


def softmax(values):
    exponents = np.exp(values - values.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def test_torchscript_in_a_process_without_this_package(models, tmp_path):
    np.save(tmp_path / "images.npy", images())
    for kind in ("segmenter", "classifier"):
        info = write_form(models / kind, tmp_path / kind, "torchscript")
        config = json.loads((tmp_path / kind / "config.json").read_text())
        jsonschema.validate(config, SCHEMA)
        assert config["class_names"] == [item["name"] for item in info["classes"]]
        assert (config["num_classes"], config["patch_size_pixels"]) == (4, SIZE)
    files = ("segmenter/pixels.pt", "segmenter/torchscript_model.pt", "classifier/torchscript_model.pt")
    pixels, tiles, patches = run(TORCH_RUNNER, tmp_path, *files)

    expected = ours(models / "segmenter")
    assert len(np.unique(expected.argmax(1))) > 1, "a map of one class would say little"
    assert np.abs(pixels - expected).max() < 1e-5
    assert (pixels.argmax(1) == expected.argmax(1)).all()
    # WSInfer and QuPath take the softmax of what a tile gives: shares of the tissues in it
    assert np.abs(softmax(tiles) - expected.mean(axis=(2, 3))).max() < 1e-5

    expected = ours(models / "classifier")
    assert np.abs(np.exp(patches) - expected).max() < 1e-5
    assert (softmax(patches).argmax(1) == expected.argmax(1)).all()
    assert np.abs(softmax(patches) - expected / expected.sum(axis=1, keepdims=True)).max() < 1e-5


@pytest.mark.skipif(not all(map(find_spec, ("onnxruntime", "onnxscript"))), reason="extra onnx is not installed")
def test_onnx_in_its_own_runtime(models, tmp_path):
    np.save(tmp_path / "images.npy", images())
    for kind in ("segmenter", "classifier"):
        write_form(models / kind, tmp_path / kind, "onnx")
    found = run(ONNX_RUNNER, tmp_path, "segmenter/model.onnx", "classifier/model.onnx")
    for kind, (answers, first) in zip(("segmenter", "classifier"), found, strict=True):
        expected = ours(models / kind)
        assert np.abs(answers - expected).max() < 1e-5
        assert (answers.argmax(1) == expected.argmax(1)).all()
        assert np.abs(first - expected[:1]).max() < 1e-5, "any number of images"


def test_without_the_extra_a_line_names_it(models, tmp_path, monkeypatch):
    monkeypatch.setattr(forms, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'wsss-mm\[onnx\]'"):
        write_form(models / "classifier", tmp_path / "out", "onnx")
    assert not (tmp_path / "out").exists()


def test_a_model_that_recolours_slides_first_is_refused(models, tmp_path):
    info = model_info("classifier", CLASSIFIER) | {"stain": {}}
    save_model(tmp_path / "model", state=build_network(CLASSIFIER).state_dict(), info=info, config_text="", card="")
    with pytest.raises(InputError, match="made to look like its training's stain first"):
        write_form(tmp_path / "model", tmp_path / "out", "torchscript")


def test_by_command(models, tmp_path, capsys):
    command = ["model", "export", str(models / "classifier"), "--form", "torchscript", "--to", str(tmp_path)]
    assert main(command) == 0
    (folder,) = tmp_path.iterdir()
    assert capsys.readouterr().out == f"{folder}\n"
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "torchscript_model.pt"]
    assert main([*command[:-1], str(folder / "config.json")]) == 2
    assert "is no folder" in capsys.readouterr().err
