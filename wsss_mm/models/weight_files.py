"""Weights in files of PyTorch's, read with suspicion: nothing is executed, and nothing is larger than it says."""

import io
import logging
import math
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from wsss_mm.errors import InputError

_log = logging.getLogger(__name__)

_SHOWN = 5  # names in a message
_ROOM = 1 << 26  # bytes that a file may hold beside twice the numbers that are asked of it, such as a head
_BYTES = 4  # of a number, float32


Shapes = Mapping[str, tuple[int, ...]]
"""Names of arrays, and their shapes."""


def shapes_in(arrays: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Those of arrays that are there."""
    return {name: tuple(value.shape) for name, value in arrays.items()}


def check_size(path: Path | str, wanted: Shapes, what: str) -> None:
    """Refuse to read a file that is far larger than the weights that are asked of it.

    Args:
        path: The file.
        wanted: What is asked of it.
        what: The most it may hold, for the error, such as `the weights of dinov2 and a head`.

    Raises:
        InputError: it is.
    """
    path, most = Path(path), 2 * _BYTES * sum(map(math.prod, wanted.values())) + _ROOM
    if path.is_file() and (size := path.stat().st_size) > most:
        raise InputError(
            f"{path}: {size / 1e6:.0f} MB, but {what} have {most / 1e6:.0f} MB at most; it is of another network, give "
            "its own file"
        )


def check_shapes(path: Path | str, found: Shapes, wanted: Shapes, what: str) -> None:
    """Refuse weights of another network. What they hold besides, such as a head, does not matter.

    Raises:
        InputError: arrays are missing, or have other shapes.
    """
    if missing := [name for name in wanted if name not in found]:
        raise InputError(
            f"{path}: no weights of {what}, {len(missing)} of {len(wanted)} arrays are missing, such as "
            f"{some(missing)}; give its own file, or set the encoder that this one is of"
        )
    if wrong := [name for name in wanted if tuple(found[name]) != tuple(wanted[name])]:
        name = wrong[0]
        raise InputError(
            f"{path}: weights of another {what}: {name} is {tuple(found[name])}, not {tuple(wanted[name])}, and "
            f"{len(wrong)} arrays differ; give its own file, or set the encoder that this one is of"
        )


def check_finite(path: Path | str, arrays: Mapping[str, Tensor]) -> None:
    """Refuse weights that are no numbers.

    Raises:
        InputError: some are NaN or infinite.
    """
    if odd := [name for name, value in arrays.items() if not torch.isfinite(value.float()).all()]:
        raise InputError(f"{path}: {len(odd)} arrays hold what is no number, such as {some(odd)}; get it again")


def counters(network: nn.Module) -> set[str]:
    """Names of batch normalisation's counts of batches, which some converters leave out."""
    return {name for name in network.state_dict() if name.endswith("num_batches_tracked")}


def load_checked(
    network: nn.Module, state: Mapping[str, Tensor], path: Path | str, what: str, *, may_lack: Collection[str] = ()
) -> None:
    """Load a network's weights from arrays by its own names; what else is among them, such as a head, is left out.

    Args:
        network: It keeps what may be lacking, where that is.
        state: The arrays.
        path: Their file, for errors.
        what: The network's name, for errors.
        may_lack: Names that need not be there.

    Raises:
        InputError: they are of another network, or no numbers.
    """
    wanted = network.state_dict()
    shapes = shapes_in(wanted)
    check_shapes(path, {name: shapes[name] for name in may_lack} | shapes_in(state), shapes, what)
    check_finite(path, {name: state[name] for name in wanted if name in state})
    network.load_state_dict({name: state.get(name, value).to(value.dtype) for name, value in wanted.items()})
    _log.info("%s: %d arrays of %s", path, len(wanted), what)


def read_state_dict(path: Path | str, content: bytes | None = None) -> dict[str, Tensor]:
    """A state dict saved by torch, read without executing anything (`weights_only=True`).

    Args:
        path: The file.
        content: Its bytes, where they were read already.

    Raises:
        InputError: the file is missing, damaged, or holds more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: not found; give the path of a .pth file")
    size = path.stat().st_size if content is None else len(content)
    try:
        with path.open("rb") if content is None else io.BytesIO(content) as stream:
            _refuse_compressed(path, stream, size)
            stream.seek(0)
            found: Any = torch.load(stream, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # what unpickling raises is up to the file, though it builds nothing but tensors
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise InputError(
            f"{path}: not a plain state dict ({reason}); torch.save(model.state_dict()) makes one"
        ) from None
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in found.items()
    ):
        raise InputError(f"{path}: not a plain state dict; torch.save(model.state_dict()) makes one")
    if max((_bytes(value) for value in found.values()), default=0) > size:
        raise InputError(f"{path}: a tensor claims more numbers than the file holds; fetch it again")
    return dict(found)


def _bytes(values: Tensor) -> int:
    """Of a tensor, and of one that is not dense, as if it were."""
    return values.numel() * values.element_size()


def _refuse_compressed(path: Path, stream: IO[bytes], size: int) -> None:
    """torch.save compresses nothing; an archive that is compressed, or says so of its sizes, may unpack to any size."""
    if zipfile.is_zipfile(stream):
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size > entry.compress_size for entry in entries):
            raise InputError(f"{path}: a compressed archive, which torch.save does not make; fetch it again")
        if sum(entry.file_size for entry in entries) > size:
            raise InputError(f"{path}: an archive that claims more than the file holds; fetch it again")


def backbone_part(state: Mapping[str, Tensor], within: Sequence[str] = ("backbone.",)) -> dict[str, Tensor]:
    """A state dict by the backbone's own names: alone, or as a model of this package or of mmseg's holds it.

    Args:
        state: The arrays, which may all stand below `module.`.
        within: What the backbone's names begin with in such a model. The first that there is counts, and what does not
            begin so is left out; where there is none, all names are its own.
    """
    plain = {name.removeprefix("module."): value for name, value in state.items()}
    prefix = next((item for item in within if any(name.startswith(item) for name in plain)), "")
    return {name.removeprefix(prefix): value for name, value in plain.items() if name.startswith(prefix)}


def some(names: list[str]) -> str:
    """The first few names, for a message."""
    shown = ", ".join(name[:80] for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
