"""Where the weights of an encoder lie on this machine, and whether they are the published ones."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from wsss_mm.encoders.encoder import Encoder
from wsss_mm.errors import InputError
from wsss_mm.files import digest, is_file, is_folder
from wsss_mm.places import ENCODERS_FILE, PRETRAINED

IN_FOLDER = ("model.safetensors", "pytorch_model.bin")
"""What the file is called in a folder as the hub has it."""


def find_file(encoder: Encoder, root: Path | str = Path()) -> Path:
    """The file with an encoder's weights: in `pretrained/`, in a folder there, or in an installed package of it.

    Args:
        encoder: Its row.
        root: The project's.

    Raises:
        InputError: it is not here; the message says where it is had, and which licence it is under.
    """
    if encoder.file is None:
        raise InputError(f"{ENCODERS_FILE}: {encoder.name} names no file; add one to its row, or begin without weights")
    for path in _places(encoder, Path(root)):
        if is_file(path):
            return path
    raise InputError(
        f"{PRETRAINED / encoder.file}: not found, the weights of encoder {encoder.name}; they are had from "
        f"{encoder.had}: wsss-mm encoders fetch {encoder.name}, with --from FOLDER where you have them already"
    )


def _places(encoder: Encoder, root: Path) -> Iterator[Path]:
    name = str(encoder.file)
    for place in (root / PRETRAINED / name, root / PRETRAINED / encoder.name):
        if is_folder(place):
            yield from (place / item for item in (name, *IN_FOLDER))
        else:
            yield place if place.name == name else place / name
    found = importlib.util.find_spec(encoder.package) if encoder.package else None
    for folder in (found.submodule_search_locations or ()) if found else ():
        yield from sorted(Path(folder).rglob(name))


def checked_file(encoder: Encoder, root: Path | str = Path()) -> Path:
    """The same, after a look whether it is the file of its row.

    Raises:
        InputError: see `find_file`; it is another file, or the row does not say which it is.
    """
    path = find_file(encoder, root)
    check_bytes(path, encoder)
    if encoder.sha256 is None:
        raise InputError(
            f"{ENCODERS_FILE}: {encoder.name} has no sha256, so nothing shows that {path} is the published file; "
            f"record the one you trust: wsss-mm encoders fetch {encoder.name} --from {path}"
        )
    if (found := digest(path)) != encoder.sha256:
        raise InputError(
            f"{path}: sha256 {found[:12]} is not that of encoder {encoder.name}, {encoder.sha256[:12]}: it ends early, "
            f"is damaged or is another file; get it again from {encoder.had}"
        )
    return path


def check_bytes(path: Path, encoder: Encoder) -> None:
    """Refuse a file that is larger than the encoder's own, before anybody reads all of it.

    Raises:
        InputError: it is.
    """
    size = path.stat().st_size
    if encoder.bytes is not None and size > encoder.bytes:
        raise InputError(
            f"{path}: has {size} bytes, and the file of encoder {encoder.name} {encoder.bytes}: it is another one; get "
            "it again, or give a file of your own another name"
        )


def check_sha256(path: Path | str, wanted: str | None) -> None:
    """Refuse a file that is another than the published one.

    Raises:
        InputError: it is, or it is not there.
    """
    path = Path(path)
    if wanted is None:
        return
    if not path.is_file():
        raise InputError(f"{path}: not found; get the file, sha256 {wanted}")
    if (found := digest(path)) != wanted:
        raise InputError(
            f"{path}: sha256 {found[:12]} is not the published file's, {wanted[:12]}: it ends early, is damaged or is "
            "another one; get it again, or give a file of your own another name"
        )
