"""A stored model in forms that run without this package: TorchScript as WSInfer and QuPath take it, and ONNX.

torch.jit is deprecated: where a program takes ONNX, that is the better form. WSInfer and QuPath take TorchScript alone.

All of them take RGB in 0..1, as torchvision's ToTensor gives it, and normalise it themselves, so that nobody can do it
in another way.
"""

import json
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsss_mm.errors import InputError
from wsss_mm.files import atomic_folder, atomic_path, write_text
from wsss_mm.models.description import STAIN
from wsss_mm.models.store import load_model

Form = Literal["torchscript", "onnx"]
FORMS: tuple[Form, ...] = get_args(Form)

TORCHSCRIPT, CONFIG = "torchscript_model.pt", "config.json"
"""Files of a model for WSInfer and QuPath, as both look for them."""
PIXELS = "pixels.pt"
"""A segmenter's map as TorchScript, beside what WSInfer asks of it, which is one answer for a tile."""
ONNX = "model.onnx"

_VERSION = "1.0"  # of WSInfer's config.json
_LEAST = 1e-12  # of a probability whose logarithm is taken
_OPSET = 18
_TOLERANCE = 1e-5  # of a probability


class _Pixels(nn.Module):
    """RGB in 0..1 to the probabilities of each pixel."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) of (N, 3, H, W)."""
        return self.network.logits(images * 255).softmax(1)


class _Patches(nn.Module):
    """RGB in 0..1 to the probabilities of each patch, each class by itself."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(N, C) of (N, 3, H, W)."""
        return self.network.logits(self.network.normalize(images * 255)).sigmoid()


class _Tiles(nn.Module):
    """RGB in 0..1 to what the softmax that WSInfer applies turns into shares of a tile.

    Of a segmenter they are the mean probabilities over its pixels. A classifier says of each class by itself whether it
    is there; its probabilities become shares of their sum, of which the largest stays the largest.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(N, C) of (N, 3, H, W)."""
        probabilities = self.network(images)
        if probabilities.dim() == 4:
            probabilities = functional.adaptive_avg_pool2d(probabilities, 1).flatten(1)
        return probabilities.clamp(min=_LEAST).log()


def write_form(folder: Path | str, target: Path, form: Form) -> dict[str, Any]:
    """Write a stored model in another form, with its config.json.

    Args:
        folder: Of the model.
        target: A folder, which appears whole or not at all; what was there before is gone.
        form: Which.

    Returns:
        Content of its model.json.

    Raises:
        InputError: the model cannot be loaded, recolours slides first, which no such file does, or what the form needs
            is not installed.
    """
    network, info = load_model(folder)
    if STAIN in info:
        raise InputError(
            f"{folder}: slides are made to look like its training's stain first ({STAIN} in model.json), which no file "
            f"of {form} does; train with stain.normalization: none, or use wsss-mm segment"
        )
    module = (_Pixels if info["kind"] == "segmenter" else _Patches)(network).eval()
    with atomic_folder(target) as new:
        _WRITERS[form](module, new, info)
        write_text(new / CONFIG, json.dumps(wsinfer_config(info), indent=2) + "\n")
    return info


def wsinfer_config(info: Mapping[str, Any]) -> dict[str, Any]:
    """WSInfer's config.json of version 1.0, which QuPath reads too: classes, um/px, and how tiles become numbers."""
    size = info["size"]
    return {
        "spec_version": _VERSION,
        "architecture": _architecture(info["model"]),
        "num_classes": len(info["classes"]),
        "class_names": [item["name"] for item in info["classes"]],
        "patch_size_pixels": size,
        "spacing_um_px": info["mpp"],
        "transform": [{"name": "Resize", "arguments": {"size": size}}, {"name": "ToTensor"}],
    }


def _architecture(model: Mapping[str, Any]) -> str:
    """Names of its parts, such as resnet38-psphead."""
    parts = (model.get(name) for name in ("backbone", "decode_head"))
    names = [str(part["type"]).rpartition(".")[2].lower() for part in parts if part]
    return "-".join(names)


def _torchscript(module: nn.Module, folder: Path, info: Mapping[str, Any]) -> None:
    _trace(_Tiles(module), folder / TORCHSCRIPT, info["size"])
    if info["kind"] == "segmenter":
        _trace(module, folder / PIXELS, info["size"])


def _trace(module: nn.Module, path: Path, size: int) -> None:
    module = module.eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that torch.jit is deprecated, and that sizes are taken for numbers
        traced = torch.jit.trace(module, _images(2, size), check_trace=False)
        with atomic_path(path) as temporary:
            torch.jit.save(traced, temporary.as_posix())
        other = _images(3, size).flip(0, 3)
        if (traced(other) - module(other)).abs().max() > _TOLERANCE:
            raise InputError(f"{path.name}: this network decides by what it sees, which TorchScript does not keep")


def _onnx(module: nn.Module, folder: Path, info: Mapping[str, Any]) -> None:
    """Any number of images; of a segmenter of the size in config.json alone, since ONNX fixes how heads pool."""
    if find_spec("onnx") is None or find_spec("onnxscript") is None:
        raise InputError("--form onnx: onnx and onnxscript are not installed; pip install 'wsss-mm[onnx]'")
    axes = (0,) if info["kind"] == "segmenter" else (0, 2, 3)
    with warnings.catch_warnings(), torch.no_grad(), atomic_path(folder / ONNX) as temporary:
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (_images(2, info["size"]),),
            temporary,
            input_names=["images"],
            output_names=["probabilities"],
            dynamic_shapes=(dict.fromkeys(axes, torch.export.Dim.DYNAMIC),),
            opset_version=_OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


_WRITERS: Mapping[Form, Callable[[nn.Module, Path, Mapping[str, Any]], None]] = {
    "torchscript": _torchscript,
    "onnx": _onnx,
}


def _images(count: int, size: int) -> Tensor:
    values = torch.arange(count * 3 * size * size, dtype=torch.float32) % 251 / 250
    return values.reshape(count, 3, size, size)
