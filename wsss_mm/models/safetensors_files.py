"""Weights as the owners of networks publish them, in files of safetensors or of `torch.save`."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from wsss_mm.encoders import check_sha256
from wsss_mm.errors import InputError
from wsss_mm.models.weight_files import (
    Shapes,
    backbone_part,
    check_size,
    counters,
    load_checked,
    read_state_dict,
    shapes_in,
)

SUFFIX = ".safetensors"
EXTRA = "pip install 'wsss-mm[encoders]'"
"""What brings the packages that read the files of encoders, and build their networks."""

_WITHIN = ("backbone.net.", "backbone.", "net.")
"""What the names of a network begin with in a model of this package, in one of mmseg's, and in a backbone alone."""


def published_weights(path: Path | str, wanted: Shapes, sha256: str | None, what: str) -> dict[str, Tensor]:
    """The arrays of a file as the network's owner publishes it, by the network's own names.

    Args:
        path: The file.
        wanted: What is asked of it: one that is far larger is not read.
        sha256: Which it must have; None for any.
        what: The network's name, for errors.

    Raises:
        InputError: it is too large, or another one, or see `read_arrays`.
    """
    check_size(path, wanted, f"the weights of {what} and a head")
    check_sha256(path, sha256)
    return backbone_part(read_arrays(path), _WITHIN)


def load_named_weights(
    network: nn.Module,
    path: Path | str,
    sha256: str | None = None,
    *,
    what: str,
    renamed: Mapping[str, str] | None = None,
) -> None:
    """Load a network's weights from a file under its own names, or under those of a published one.

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
    check_size(path, shapes_in(wanted), f"{what} and its head")
    check_sha256(path, sha256)
    state = backbone_part(read_arrays(path))
    if not any(key in state for key in wanted):
        state = {(renamed or {}).get(key, key): value for key, value in state.items()}
    load_checked(network, state, path, what, may_lack=counters(network))


def read_arrays(path: Path | str) -> dict[str, Tensor]:
    """The arrays of a file, of safetensors or of `torch.save`; nothing in it is executed.

    Raises:
        InputError: the file is missing, damaged, or holds more than arrays.
    """
    path = Path(path)
    return _read(path) if path.suffix == SUFFIX else read_state_dict(path)


def shapes_of(path: Path | str) -> Shapes:
    """Names and shapes of the arrays of a file; of safetensors without reading them.

    Raises:
        InputError: see `read_arrays`.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        return shapes_in(read_state_dict(path))
    try:
        with _opened(path) as stream:
            return {name: tuple(stream.get_slice(name).get_shape()) for name in stream.keys()}  # noqa: SIM118
    except _errors() as error:
        raise _damaged(path, error) from None


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with _opened(path) as stream:
            return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except _errors() as error:
        raise _damaged(path, error) from None


def _opened(path: Path):  # noqa: ANN202  a type of the library
    try:
        from safetensors import safe_open
    except ImportError:
        raise InputError(f"{path}: safetensors reads it, and is not installed: {EXTRA}") from None
    if not path.is_file():
        raise InputError(f"{path}: not found; give the path of a {SUFFIX} file")
    return safe_open(path, framework="pt", device="cpu")


def _errors() -> tuple[type[Exception], ...]:
    try:
        from safetensors import SafetensorError
    except ImportError:
        return (OSError, ValueError)
    return (SafetensorError, OSError, ValueError)


def _damaged(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    return InputError(f"{path}: ends early, is damaged or is no {SUFFIX} file ({reason}); get it again")
