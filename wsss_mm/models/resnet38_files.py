"""Files of ResNet38's weights, held against the names and shapes of a network: MXNet's published one, and PyTorch's."""

import logging
import math
import mmap
import re
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wsss_mm.errors import InputError
from wsss_mm.models.weight_files import Shapes, backbone_part, check_size, read_state_dict, some

_log = logging.getLogger(__name__)

_LIST_MAGIC = 0x112
_V2_MAGIC = 0xF993FAC9
_V1_MAGIC = 0xF993FAC8
_DTYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4"}
_MAX_DIMS = 32
_MAX_NAME = 4096

_BRANCH = r"(?P<level>[2-7])(?:a|b(?P<unit>\d+))_branch(?P<branch>1|2a|2b1|2b2)"
_CONV = re.compile(rf"res{_BRANCH}_weight")
_NORM = re.compile(rf"bn{_BRANCH}_(?P<kind>gamma|beta|moving_mean|moving_var)")
_BN7 = re.compile(r"bn7_(?P<kind>gamma|beta|moving_mean|moving_var)")
_NORM_KINDS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_var": "running_var"}


class _Reader:
    """Bounds-checked little-endian reads: a length is compared with what is left before anything is made of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as stream:
            size = stream.seek(0, 2)  # a file of 400 MB is mapped, not read: a page is loaded when it is used
            self.data = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if size else b"")
        self.position = 0

    def error(self, reason: str) -> InputError:
        return InputError(f"{self.path}: {reason}; download the .params file again")

    def take(self, length: int) -> memoryview:
        if not 0 <= length <= len(self.data) - self.position:
            raise self.error(f"ends early or is damaged at byte {self.position}")
        piece = self.data[self.position : self.position + length]
        self.position += length
        return piece

    def numbers(self, layout: str) -> tuple[int, ...]:
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))

    def number(self, layout: str) -> int:
        return self.numbers(layout)[0]

    def count(self, smallest: int) -> int:
        """A u64 count of items of at least `smallest` bytes each."""
        count = self.number("Q")
        if count > (len(self.data) - self.position) // smallest:
            raise self.error(f"counts {count} items, more than its size allows")
        return count


def read_mxnet_params(path: Path | str) -> dict[str, np.ndarray]:
    """Arrays of an MXNet .params file by name, `arg:` and `aux:` dropped.

    Reads all three layouts MXNet has written (METHOD section 2). Nothing is executed, and no length found in the file
    is trusted before it is compared with the file's size. The arrays are read-only views of the file's bytes.

    Raises:
        InputError: the file is missing, truncated, damaged, or holds something else.
    """
    path = Path(path)
    try:
        reader = _Reader(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; give the path of a .params file") from None
    if len(reader.data) < 24 or reader.numbers("QQ") != (_LIST_MAGIC, 0):
        raise InputError(f"{path}: not an MXNet .params file")
    arrays = [_read_array(reader) for _ in range(reader.count(smallest=4))]
    count = reader.count(smallest=8)
    if count != len(arrays):
        raise reader.error(f"has {len(arrays)} arrays but {count} names")
    names = [_read_name(reader) for _ in range(count)]
    if len(set(names)) != len(names):
        raise reader.error("names an array twice")
    return dict(zip(names, arrays, strict=True))


def _read_array(reader: _Reader) -> np.ndarray:
    magic = reader.number("I")
    if magic == _V2_MAGIC:
        storage = reader.number("i")
        if storage != 0:
            raise reader.error(f"holds a sparse array (storage type {storage})")
    if magic in (_V2_MAGIC, _V1_MAGIC):
        dims, layout = reader.number("I"), "q"
    else:  # the oldest layout has no magic: the number is the count of dimensions
        dims, layout = magic, "I"
    if dims > _MAX_DIMS:
        raise reader.error(f"holds an array of {dims} dimensions at byte {reader.position}")
    shape = reader.numbers(f"{dims}{layout}")
    if not shape:  # an empty array has neither device nor data
        return np.empty(0, np.float32)
    _device_type, _device_id, dtype = reader.numbers("iii")
    if dtype not in _DTYPES or not 0 <= min(shape) <= max(shape) <= len(reader.data):  # beside a 0, any size fits
        raise reader.error(f"holds an array of unknown type {dtype} or impossible size at byte {reader.position}")
    kind = np.dtype(_DTYPES[dtype])
    raw = reader.take(math.prod(shape) * kind.itemsize)
    return np.frombuffer(raw, kind).reshape(shape)


def _read_name(reader: _Reader) -> str:
    length = reader.number("Q")
    if length > _MAX_NAME:
        raise reader.error(f"holds a name of {length} bytes")
    try:
        name = str(reader.take(length), "utf-8")
    except UnicodeDecodeError:
        raise reader.error("holds a name that is no text") from None
    return name.removeprefix("arg:").removeprefix("aux:")


def from_mxnet(params: Mapping[str, np.ndarray], shapes: Shapes, *, compared: bool) -> dict[str, Tensor]:
    """ResNet38's state dict from the arrays of the MXNet file; the ImageNet head (`linear1000_*`) is dropped.

    Args:
        params: See `read_mxnet_params`.
        shapes: Names of the network's state dict with their shapes; its counts of batches may be among them.
        compared: Whether the arrays must have these shapes, or only the names.

    Raises:
        InputError: an array belongs to no part of ResNet38, is missing or has another shape; all are named.
    """
    arrays: dict[str, np.ndarray] = {}
    unexpected = []
    shapes = _without_counts(shapes)
    for name, array in params.items():
        key = _torch_name(name)
        if key in shapes:
            arrays[key] = array
        elif not name.startswith("linear1000_"):
            unexpected.append(name if name.isprintable() else ascii(name))
    missing = [key for key in shapes if key not in arrays]
    wrong = [
        f"{key} {array.shape} for {shapes[key]}"
        for key, array in arrays.items()
        if compared and array.shape != shapes[key]
    ]
    if missing or unexpected or wrong:
        found = {"missing": missing, "unexpected": unexpected, "of another shape": wrong}
        listed = "; ".join(f"{len(names)} {what}: {some(names)}" for what, names in found.items() if names)
        raise InputError(f"not the weights of ResNet38 A1, use ilsvrc-cls_rna-a1_cls1000_ep-0001.params ({listed})")
    return {key: torch.from_numpy(np.array(arrays[key], dtype=np.float32)) for key in shapes}


def _without_counts(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    return {key: shape for key, shape in shapes.items() if not key.endswith("_tracked")}


def _torch_name(name: str) -> str | None:
    if name == "conv1a_weight":
        return "conv1a.weight"
    if match := _BN7.fullmatch(name):
        return f"bn7.{_NORM_KINDS[match['kind']]}"
    if match := _CONV.fullmatch(name):
        return f"{_unit(match)}.conv_branch{match['branch']}.weight"
    if match := _NORM.fullmatch(name):
        return f"{_unit(match)}.bn_branch{match['branch']}.{_NORM_KINDS[match['kind']]}"
    return None


def _unit(match: re.Match[str]) -> str:
    return f"b{match['level']}" + (f"_{match['unit']}" if match["unit"] else "")


def read_weights(path: Path | str, shapes: Shapes, width: float) -> dict[str, Tensor]:
    """ResNet38 weights for a network, from a .params or a .pth file.

    A .pth file is a state dict, bare or under `state_dict`, its names bare or under `module.` or `backbone.`; whatever
    is no part of the backbone (heads) is left out. A .params file holds the published network, of width 1.

    Args:
        path: The file.
        shapes: Names of the network's state dict with their shapes.
        width: The network's, for errors.

    Raises:
        InputError: the file is missing, damaged, unsafe, incomplete or of another width.
    """
    path = Path(path)
    if path.suffix == ".params":
        arrays = read_mxnet_params(path)
        try:
            state = from_mxnet(arrays, shapes, compared=False)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    else:
        check_size(path, shapes, "ResNet38 and its head")
        state = backbone_part(read_state_dict(path))
    shapes = _without_counts(shapes)
    missing = [key for key in shapes if key not in state]
    if missing:
        raise InputError(f"{path}: no ResNet38 weights, {some(missing)} missing; give a .params or converted .pth file")
    wrong = [key for key, shape in shapes.items() if tuple(state[key].shape) != tuple(shape)]
    if wrong:
        key = wrong[0]
        raise InputError(
            f"{path}: weights of another width ({key} is {tuple(state[key].shape)}, width {width} needs "
            f"{tuple(shapes[key])}; {len(wrong)} arrays differ); a narrow network has no ImageNet weights: "
            "set the width they were made for (ImageNet weights: 1), or weights: null"
        )
    _log.info("%s: %d arrays of ResNet38 weights", path, len(shapes))
    return {key: state[key].float() for key in shapes}
