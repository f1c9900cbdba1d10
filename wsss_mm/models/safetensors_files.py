"""Weights in files of safetensors, and which of two networks a file is of; nothing larger than it says is read."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from wsss_mm.errors import InputError
from wsss_mm.models.weight_files import read_state_dict

SUFFIX = ".safetensors"
EXTRA = "pip install 'wsss-mm[encoders]'"
"""What brings the packages that read the files of encoders, and build their networks."""

Shapes = Mapping[str, tuple[int, ...]]

_ROOM = 1 << 26  # bytes that a file may hold beside twice the numbers that are asked of it, such as a head
_BYTES = 4  # of a number, float32
_SHOWN = 3  # names in a message


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """The arrays of a file, of safetensors or of `torch.save`; nothing in it is executed.

    Raises:
        InputError: the file is missing, damaged, or holds more than arrays.
    """
    path = Path(path)
    return _read(path) if path.suffix == SUFFIX else read_state_dict(path)


def shapes_of(path: Path | str) -> Shapes:
    """Names and shapes of the arrays of a file; of safetensors without reading them.

    Raises:
        InputError: see `read_weights`.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        return {name: tuple(value.shape) for name, value in read_state_dict(path).items()}
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


def check_size(path: Path | str, wanted: Shapes, what: str) -> None:
    """Refuse to read a file that is far larger than the weights that are asked of it.

    Raises:
        InputError: it is.
    """
    path, numbers = Path(path), 0
    for shape in wanted.values():
        count = 1
        for side in shape:
            count *= side
        numbers += count
    most = 2 * _BYTES * numbers + _ROOM
    if path.is_file() and (size := path.stat().st_size) > most:
        raise InputError(
            f"{path}: {size / 1e6:.0f} MB, but the weights of {what} and a head have {most / 1e6:.0f} MB at most; it "
            "is of another network, give its own file"
        )


def check_shapes(path: Path | str, found: Shapes, wanted: Shapes, what: str) -> None:
    """Refuse weights of another network. What they hold besides, such as a head, does not matter.

    Raises:
        InputError: arrays are missing, or have other shapes.
    """
    if missing := [name for name in wanted if name not in found]:
        raise InputError(
            f"{path}: no weights of {what}, {len(missing)} of {len(wanted)} arrays are missing, such as "
            f"{_some(missing)}; give its own file, or the encoder that this one is of"
        )
    if wrong := [name for name in wanted if tuple(found[name]) != tuple(wanted[name])]:
        name = wrong[0]
        raise InputError(
            f"{path}: weights of another {what}: {name} is {tuple(found[name])}, not {tuple(wanted[name])}, and "
            f"{len(wrong)} arrays differ; give its own file, or the encoder that this one is of"
        )


def _some(names: list[str]) -> str:
    return ", ".join(name[:80] for name in names[:_SHOWN])
