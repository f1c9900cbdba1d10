"""A frozen encoder is not copied into every model: model.json names its file by digest, and who loads it has that."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from wsss_mm.encoders import check_sha256, find_file, get_encoder
from wsss_mm.errors import InputError
from wsss_mm.models.description import HELD

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PART = "backbone."

Value = TypeVar("Value")


def held_encoder(encoder: str, backbone: Mapping[str, Any], sha256: str | None) -> dict[str, Any]:
    """What model.json says of an encoder that the model does not hold; empty where it holds all of its weights.

    Args:
        encoder: Its name in encoders.yaml.
        backbone: Its config.
        sha256: Of the file that the backbone began with; None where it began with none.
    """
    row = get_encoder(encoder)
    if backbone.get("freeze") != "all" or sha256 is None or sha256 != row.sha256:
        return {}
    return {HELD: {"name": row.name, "file": row.file, "sha256": sha256}}


def held_file(held: object, source: Path | str) -> Path:
    """The file of an encoder that a model.json names, as it was when the model was trained.

    Args:
        held: What it says.
        source: The model.json, for errors.

    Raises:
        InputError: it says nothing sensible, or the file is not here, or another one.
    """
    name, sha256 = (held.get("name"), held.get("sha256")) if isinstance(held, Mapping) else (None, None)
    if not (isinstance(name, str) and isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
        raise InputError(f"{source}: {HELD} names no encoder with its sha256; export the model again")
    try:
        path = find_file(get_encoder(name))
        check_sha256(path, sha256)
    except InputError as error:
        raise InputError(f"{source}: its encoder is not part of the model: {error}") from None
    return path


def own_part(state: Mapping[str, Value]) -> dict[str, Value]:
    """A state dict without the encoder's weights."""
    return {key: value for key, value in state.items() if not key.startswith(_PART)}
