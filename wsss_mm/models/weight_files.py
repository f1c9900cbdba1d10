"""Weights in files of PyTorch's, read with suspicion: nothing is executed, and nothing is larger than it says."""

import io
import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from wsss_mm.encoders import check_sha256
from wsss_mm.errors import InputError

_log = logging.getLogger(__name__)

_SHOWN = 5  # names in a message
_ROOM = 1 << 26  # bytes that a file may hold beside twice the weights that are asked of it, such as a head


def check_size(path: Path, wanted: Mapping[str, Tensor], what: str) -> None:
    """Refuse to read a file that is far larger than the weights that are asked of it.

    Raises:
        InputError: it is.
    """
    most = 2 * sum(map(_bytes, wanted.values())) + _ROOM
    if path.is_file() and (size := path.stat().st_size) > most:
        raise InputError(
            f"{path}: {size / 1e6:.0f} MB, but {what} and its head have {most / 1e6:.0f} MB at most; it is of another "
            "network, give its own file"
        )


def load_named_weights(
    network: nn.Module,
    path: Path | str,
    sha256: str | None = None,
    *,
    what: str,
    renamed: Mapping[str, str] | None = None,
) -> None:
    """Load a network's weights from a state dict under its own names, or under those of a published file.

    Args:
        network: All of its weights must be there; what else the file holds, such as a head, is left out.
        path: The file.
        sha256: Which it must have; None for any.
        what: The network's name, for errors.
        renamed: Names of the published file to the network's own.

    Raises:
        InputError: the file is missing, another one, damaged, unsafe, of another network, or of other shapes.
    """
    path, wanted = Path(path), network.state_dict()
    check_sha256(path, sha256)
    check_size(path, wanted, what)
    state = backbone_part(read_state_dict(path))
    if not any(key in state for key in wanted):
        state = {(renamed or {}).get(key, key): value for key, value in state.items()}
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}  # which some converters leave out
    if missing := [key for key in wanted if key not in state and key not in counters]:
        raise InputError(
            f"{path}: no weights of {what}, {len(missing)} of {len(wanted)} arrays are missing, such as "
            f"{some(missing)}; give its own file, or set the encoder that this one is of"
        )
    if wrong := [key for key, value in wanted.items() if key in state and state[key].shape != value.shape]:
        key = wrong[0]
        raise InputError(
            f"{path}: weights of another {what}: {key} is {tuple(state[key].shape)}, not {tuple(wanted[key].shape)}, "
            f"and {len(wrong)} arrays differ; give its own file"
        )
    if odd := [key for key in wanted if key in state and not torch.isfinite(state[key].float()).all()]:
        raise InputError(f"{path}: {len(odd)} arrays hold what is no number, such as {some(odd)}; get it again")
    network.load_state_dict({key: state.get(key, value).to(value.dtype) for key, value in wanted.items()})
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


def backbone_part(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict by the backbone's own names; those of other parts keep theirs."""
    return {key.removeprefix("module.").removeprefix("backbone."): value for key, value in state.items()}


def some(names: list[str]) -> str:
    """The first few names, for a message."""
    shown = ", ".join(name[:80] for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
