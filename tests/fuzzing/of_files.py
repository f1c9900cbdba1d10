"""Inputs and contracts of params.yaml and gates.yaml, of models and of pictures."""

import math
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import yaml

from tests.fuzzing.contract import Target, one_line, written
from tests.fuzzing.mutation import HOSTILE_TEXT, damaged, damaged_tree, json_like, one_of
from wsss_mm.patches import IGNORE, VOCABULARIES
from wsss_mm.settings import GATES_FILE, PARAMS_FILE, Params, load_params, render_gates, render_profile

LUNG = VOCABULARIES["lung"]

# -- settings


def _settings(name: str) -> Callable[[Random], bytes]:
    """Damaged texts of params.yaml or gates.yaml."""
    text = _texts()[name]
    return one_of(*(lambda random, how=how: how(random, text) for how in (_yaml_tree, _yaml_lines, _yaml_lines)))


def _yaml_tree(random: Random, text: str) -> bytes:
    content = damaged_tree(random, yaml.safe_load(text))
    try:
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")
    except (yaml.YAMLError, RecursionError, ValueError):
        return b"{}"


def _yaml_lines(random: Random, text: str) -> bytes:
    """The text with lines changed as people and merges change them."""
    lines = text.splitlines()
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(lines))
        how = random.randrange(7)
        key = lines[at].partition(":")[0]
        if how == 0:
            del lines[at]
        elif how == 1:
            lines.insert(at, lines[at])
        elif how == 2:
            lines[at] = f"{key}: {random.choice(HOSTILE_TEXT)}"
        elif how == 3:
            lines[at] = " " * random.randint(0, 3) + lines[at].strip()
        elif how == 4:
            lines[at] = f"{key}: {random.choice(_YAML_VALUES)}"
        elif how == 5:
            lines[at] = f"{key[:-1]}: 1"
        else:
            lines.insert(
                at, random.choice(("<<<<<<< HEAD", "=======", ">>>>>>> branch", "? x", "&a", "<<: *a", "--- 1"))
            )
    return "\n".join(lines).encode("utf-8", "surrogatepass")


_YAML_VALUES = (
    *(
        "!!python/object/apply:os.system [id]",
        "!!binary aGk=",
        "&a [*a]",
        "*b",
        "2026-13-45",
        "2026-01-01",
        "1e400",
        ".inf",
    ),
    *(
        ".nan",
        "0o17",
        "0b1",
        "1:30",
        "~",
        "yes",
        "off",
        "on",
        "[1, 2",
        "{a: 1}",
        "'x",
        "|",
        ">",
        "!!set {a}",
        "!!int x",
        "-",
    ),
    *(
        "=",
        "<<",
        "0x",
        "1_0",
        "[[]]",
        "!!float x",
        "!!timestamp x",
        "!!omap [a: 1]",
        "!!pairs [a: 1]",
        "? a",
        "!x y",
        "9" * 5000,
    ),
)


@cache
def _texts() -> dict[str, str]:
    return {PARAMS_FILE: render_profile("phantom"), GATES_FILE: render_gates("phantom")}


def _check_settings(name: str) -> Callable[[bytes, Path], None]:
    def check(data: bytes, folder: Path) -> None:
        for other, text in _texts().items():
            written(folder, other, data if other == name else text.encode())
        with one_line(PARAMS_FILE, GATES_FILE):
            params = load_params(folder / PARAMS_FILE)
            assert isinstance(params, Params)
            for value in _numbers(params.model_dump()):
                assert math.isfinite(value) if isinstance(value, float) else value < 2**63, value

    return check


def _numbers(content: Any) -> Iterator[int | float]:
    if isinstance(content, dict):
        content = content.values()
    if isinstance(content, int | float):
        yield content
    elif not isinstance(content, str | Path | None):
        for value in content:
            yield from _numbers(value)


# -- models


@cache
def _params_file(layout: str) -> bytes:
    rng = np.random.default_rng(0)
    arrays = {"arg:conv1a_weight": rng.random((2, 3, 3, 3), "f4"), "aux:bn7_moving_mean": rng.random(4, "f4")}
    data = struct.pack("<QQQ", 0x112, 0, len(arrays))
    for array in arrays.values():
        dims = array.shape
        if layout == "v2":
            data += struct.pack(f"<IiI{len(dims)}q", 0xF993FAC9, 0, len(dims), *dims)
        elif layout == "v1":
            data += struct.pack(f"<II{len(dims)}q", 0xF993FAC8, len(dims), *dims)
        else:
            data += struct.pack(f"<I{len(dims)}I", len(dims), *dims)
        data += struct.pack("<iii", 1, 0, 0) + array.tobytes()
    data += struct.pack("<Q", len(arrays))
    return data + b"".join(struct.pack("<Q", len(name)) + name.encode() for name in arrays)


def _mxnet(random: Random) -> bytes:
    data = bytearray(_params_file(random.choice(("v0", "v1", "v2"))))
    if random.randrange(2):  # a field of the header, where lengths and types are
        at = 4 * random.randrange(20)
        kind, values = random.choice((("<i", (-1, 0, 1, 32, 33, 2**31 - 1)), ("<q", (-1, 0, 2**33, 2**62, -(2**62)))))
        field = struct.pack(kind, random.choice(values))
        data[at : at + len(field)] = field
        return bytes(data)
    return damaged(random, bytes(data))


def check_mxnet(data: bytes, folder: Path) -> None:
    from wsss_mm.models.pretrained import load_backbone_weights, read_mxnet_params

    path = written(folder, "w.params", data)
    with one_line("w.params"):
        arrays = read_mxnet_params(path)
        assert sum(array.nbytes for array in arrays.values()) <= len(data)
        assert all(isinstance(name, str) for name in arrays)
    if zlib.crc32(data) % 50 == 0:  # takes ten times as long, and sees what it sees above
        with one_line("w.params"):
            load_backbone_weights(path, 1 / 32)


@cache
def _weights() -> bytes:
    import torch

    stream = BytesIO()
    torch.save({"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}, stream)
    return stream.getvalue()


def check_weights(data: bytes, folder: Path) -> None:
    import torch

    from wsss_mm.models.weight_files import read_state_dict

    with one_line("weights.pth"):
        state = read_state_dict(written(folder, "weights.pth", data))
        assert all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items())


_NORMALISATION = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
_LOSS = {"type": "wsss_mm.NoiseSuppressedCrossEntropyLoss", "variant": "onss", "loss_weight": 0.4}
_HEAD = {"channels": 8, "num_classes": 4, "norm_cfg": {"type": "BN", "requires_grad": True}, "loss_decode": _LOSS}
_HEAD |= {"dropout_ratio": 0.1, "align_corners": False}
SEGMENTER = {
    "type": "EncoderDecoder",
    "data_preprocessor": {
        **{"type": "mmseg.SegDataPreProcessor", "size_divisor": 1, "pad_val": 255, "seg_pad_val": 255},
        **_NORMALISATION,
    },
    "backbone": {"type": "wsss_mm.ResNet38", "width": 1 / 32, "out_indices": [3, 5]},
    "decode_head": _HEAD | {"type": "PSPHead", "in_channels": 128, "in_index": 1, "pool_scales": [1, 2, 3, 6]},
    "auxiliary_head": _HEAD
    | {"type": "FCNHead", "in_channels": 32, "in_index": 0, "num_convs": 1, "concat_input": False},
    "train_cfg": {},
    "test_cfg": {"mode": "whole"},
}
CLASSIFIER = {
    "type": "wsss_mm.PatchClassifier",
    "classes": 4,
    "dropout": 0.5,
    "backbone": {"type": "wsss_mm.ResNet38", "width": 1 / 32, "out_indices": [5]},
    "attention": {"type": "wsss_mm.ProgressiveDropoutAttention", "variant": "published"},
    "data_preprocessor": {"type": "mmengine.ImgDataPreprocessor", **_NORMALISATION},
}


def model_info(kind: str, model: dict[str, Any]) -> dict[str, Any]:
    """What training writes into model.json."""
    classes = [{"code": item.code, "name": item.name, "color": list(item.color)} for item in LUNG.classes]
    return {"kind": kind, "classes": classes, "mpp": 1.0, "size": 64, "width": 1 / 32, "model": model, "seed": 0}


@cache
def _model_weights(kind: str) -> bytes:
    import torch

    from wsss_mm.models import build_network

    stream = BytesIO()
    torch.save(build_network(SEGMENTER if kind == "segmenter" else CLASSIFIER).state_dict(), stream)
    return stream.getvalue()


def check_model(data: bytes, folder: Path) -> None:
    from wsss_mm.models import load_model

    written(folder, "model.json", data)
    written(folder, "weights.pth", _model_weights("segmenter" if b'"segmenter"' in data else "classifier"))
    with one_line("model.json", "weights.pth", folder.name):
        model, info = load_model(folder)
        assert not model.training
        assert info["kind"] in ("classifier", "segmenter")
        assert math.isfinite(info["mpp"]) and info["mpp"] > 0
        assert all(isinstance(item["code"], str) and len(item["color"]) == 3 for item in info["classes"])


# -- pictures


@cache
def _pictures() -> tuple[bytes, ...]:
    from PIL import Image

    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (24, 20, 3), dtype=np.uint8))
    grey = Image.fromarray(rng.integers(0, 4, (24, 20), dtype=np.uint8))
    palette = grey.copy()
    palette.putpalette(LUNG.palette)
    files = []
    for picture, formats in ((image, ("PNG", "JPEG", "TIFF", "BMP")), (grey, ("PNG", "TIFF")), (palette, ("PNG",))):
        for kind in formats:
            stream = BytesIO()
            picture.save(stream, kind)
            files.append(stream.getvalue())
    stream = BytesIO()
    image.save(stream, "TIFF", compression="tiff_lzw")
    return (*files, stream.getvalue())


def check_picture(data: bytes, folder: Path) -> None:
    from wsss_mm.patches.images import MAX_PIXELS, read_image, read_mask

    path = written(folder, "a.png", data)
    with one_line("a.png"):
        image = read_image(path)
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
        assert 0 < image.shape[0] * image.shape[1] <= MAX_PIXELS
    with one_line("a.png"):
        assert set(np.unique(read_mask(path, 4, (4,)))) <= {0, 1, 2, 3, IGNORE}


@cache
def _label_map() -> bytes:
    import tifffile

    stream = BytesIO()
    labels = np.random.default_rng(0).integers(0, 4, (64, 64), dtype=np.uint8)
    tifffile.imwrite(stream, labels, tile=(32, 32), compression="zlib", metadata=None)
    return stream.getvalue()


def check_label_map(data: bytes, folder: Path) -> None:
    from wsss_mm.slides.labels import read_label_tiff

    with one_line("s1.tif"):
        labels = read_label_tiff(written(folder, "s1.tif", data))
        assert labels.dtype == np.uint8 and labels.ndim == 2 and labels.size


@cache
def _slide() -> bytes:
    import tifffile

    stream = BytesIO()
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    options = {"photometric": "rgb", "tile": (32, 32), "compression": "zlib", "metadata": None}
    tifffile.imwrite(stream, image, resolution=(2e4, 2e4), resolutionunit=3, **options)
    return stream.getvalue()


def _front(data: Callable[[], bytes]) -> Callable[[Random], bytes]:
    """Most damage at the front, where a TIFF that was written in one go has its directory."""

    def make(random: Random) -> bytes:
        content = data()
        if random.randrange(2):
            return damaged(random, content)
        length = min(len(content), 400)
        return damaged(random, content[:length]) + content[length:]

    return make


def check_slide(data: bytes, folder: Path) -> None:
    from wsss_mm.slides import open_slide

    with one_line("s1.tiff"), open_slide(written(folder, "s1.tiff", data), 0.5) as reader:
        assert min(reader.size) > 0
        assert reader.read(0, 0, 32, 1.0).shape == (32, 32, 3)
        if max(reader.size) < 1000:
            assert max(reader.thumbnail(64).shape) == 64


TARGETS = [
    *(Target(name, _settings(name), _check_settings(name), 5) for name in (PARAMS_FILE, GATES_FILE)),
    Target("MXNet .params", _mxnet, check_mxnet, 40),
    Target("weights.pth", lambda random: damaged(random, _weights()), check_weights, 10),
    Target(
        "model.json",
        one_of(json_like(model_info("segmenter", SEGMENTER)), json_like(model_info("classifier", CLASSIFIER))),
        check_model,
        10,
    ),
    Target("images and masks", lambda random: damaged(random, random.choice(_pictures())), check_picture, 20),
    Target("label maps", _front(_label_map), check_label_map, 10),
    Target("slides", _front(_slide), check_slide, 10),
]
