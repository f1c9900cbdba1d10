"""The weights a training begins with, as model.json names them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wsss_mm.dvc_files import check_tracked
from wsss_mm.encoders import get_encoder
from wsss_mm.files import digest
from wsss_mm.models.backbones import backbone_config
from wsss_mm.models.description import DESCRIPTION, ENCODER, HELD, INITIAL, RESOLUTION, WEIGHTS, check_digest, described
from wsss_mm.models.frozen import held_encoder


def beginning(path: Path | None) -> dict[str, Any]:
    """What model.json says of initial weights: the file and its sha256, and what that model itself began with, if any.

    Args:
        path: The file; None where there is none. One that is missing is left to the backbone that reads it.

    Returns:
        Empty, or `initial_weights`: `file`, `sha256`, and where the file is a trained model's, what that one says of
        its own beginning and of an encoder that it does not hold.

    Raises:
        InputError: the file is another than the one that DVC owns, or that the model.json beside it describes.
    """
    if path is None or not path.is_file():
        return {}
    check_tracked(path)
    said: dict[str, Any] = {}
    if path.name == WEIGHTS and (path.parent / DESCRIPTION).is_file():
        info = described(path.parent)
        check_digest(path.parent, info)
        said = {key: info[key] for key in (INITIAL, HELD) if key in info}
    name = path.name if path.is_absolute() else path.as_posix()  # a machine's own folders say nothing elsewhere
    return {INITIAL: {"file": name, "sha256": digest(path), **said}}


def encoder_said(encoder: str, info: Mapping[str, Any]) -> dict[str, Any]:
    """What model.json says of the encoder: its name, its file where that is not part of the model, a note on its mpp.

    Args:
        encoder: Its name in encoders.yaml, as params.yaml has it.
        info: What model.json says already. Where the config builds another backbone, it is none of this encoder.
    """
    backbone = info["model"].get("backbone", {})
    if backbone.get("type") != backbone_config(encoder)["type"]:
        return {}
    note = get_encoder(encoder).mpp_note(info["mpp"]) if _from_elsewhere(info.get(INITIAL)) else None
    return {
        ENCODER: encoder,
        **held_encoder(encoder, backbone, _own_sha256(info.get(INITIAL, {}))),
        **({} if note is None else {RESOLUTION: note}),
    }


def _from_elsewhere(begun: Mapping[str, Any] | None) -> bool:
    """Whether weights come, maybe by way of another training, from a file that no training here has made."""
    if begun is None:
        return False
    return Path(begun["file"]).name != WEIGHTS or _from_elsewhere(begun.get(INITIAL))


def _own_sha256(said: Mapping[str, Any]) -> str | None:
    """The sha256 of the encoder's file that a training begins with, maybe by a model that does not hold it."""
    return said.get(HELD, {}).get("sha256") or said.get("sha256")
