"""model.json, read with suspicion: it may come from anywhere, and a registry builds whatever a config names."""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.formats import read_object
from wsss_mm.places import DESCRIPTION, MODEL, WEIGHTS

logger = logging.getLogger(__name__)

DIGEST, OF_WEIGHTS = "digest", "weights_sha256"
"""Keys of model.json: see `model_digest`, and the sha256 of the weights it describes."""

# A registry can import anything by its dotted name, and some parts load files that they are given the name of: only
# these types are built, and no other text is in a config than these words.
_TYPES = frozenset(
    (
        *("PatchClassifier", "ImgDataPreprocessor", "ResNet38", "ProgressiveDropoutAttention"),
        *("EncoderDecoder", "SegDataPreProcessor", "PSPHead", "FCNHead"),
        *("NoiseSuppressedCrossEntropyLoss", "CrossEntropyLoss", "BN", "ReLU"),
    )
)
_SCOPES = ("wsss_mm.", "mmseg.", "mmengine.")
_WORDS = frozenset(("whole", "slide", "off", "published", "onss", "onss_margin", "ce"))
_FORBIDDEN = frozenset(("init_cfg", "pretrained", "_scope_"))
_LARGEST = 1 << 16  # of any number: channels, strides, means of pixels
_MOST = {"num_convs": 16}  # parts that are made one after the other
_LONGEST = 64  # of any list
_DEEPEST = 8

_Channel = Annotated[int, Field(ge=0, le=255, strict=True)]


class _Class(BaseModel):
    """A tissue class."""

    code: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
    name: Annotated[str, Field(max_length=200)]
    color: tuple[_Channel, _Channel, _Channel]


class _Description(BaseModel):
    """What others read of model.json; the rest is for people."""

    model_config = ConfigDict(allow_inf_nan=False)

    kind: Literal["classifier", "segmenter"]
    classes: Annotated[list[_Class], Field(min_length=1, max_length=254)]
    mpp: Annotated[float, Field(gt=0, strict=True)]
    size: Annotated[int, Field(gt=0, lt=_LARGEST, strict=True)]
    model: dict[str, Any]


def read_description(path: Path) -> dict[str, Any]:
    """Read model.json.

    Raises:
        InputError: it is missing, no JSON, lacks what a model needs, or see `check_config`.
    """
    content = read_object(path, MODEL)
    try:
        _Description.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))[:80]
        raise InputError(f"{path}: {where or 'content'}: {first['msg']}; export the model again") from None
    kind = "PatchClassifier" if content["kind"] == "classifier" else "EncoderDecoder"
    if _bare(content["model"].get("type")) != kind:
        raise InputError(
            f"{path}: the network of a {content['kind']} is not a part of a wsss_mm model; export it again"
        )
    check_config(content["model"])
    return content


def model_digest(info: Mapping[str, Any], weights_sha256: str) -> str:
    """One digest of what a model is: its weights, and all that model.json says (classes, colours, mpp, network)."""
    content = {key: value for key, value in info.items() if key != DIGEST} | {OF_WEIGHTS: weights_sha256}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sealed(info: Mapping[str, Any], weights: Path) -> dict[str, Any]:
    """A description with the digest of the weights it belongs to, and with its own."""
    sha256 = digest(weights)
    return {**info, OF_WEIGHTS: sha256, DIGEST: model_digest(info, sha256)}


def check_digest(folder: Path, info: Mapping[str, Any], *, warn: bool = True, remedy: str | None = None) -> str:
    """The digest of a model folder, after a look whether its files still are those that were saved together.

    This finds what was changed or exchanged, not who did it well: whoever edits model.json can also write its digest
    anew. The registry keeps it apart from the files.

    Args:
        folder: Holds the weights.
        info: Content of its model.json.
        warn: Say so if it is an older model, which has no digest to check.
        remedy: What to do where the folder is none of this project's.

    Raises:
        InputError: the weights are others, or the description was changed.
    """
    description, weights = folder / DESCRIPTION, folder / WEIGHTS
    if not weights.is_file():
        raise InputError(f"{weights}: not found; bring the model again: dvc checkout {folder}, or export it again")
    remedy = remedy or f"bring both files from one place: dvc checkout {folder}, or the registry, or train again"
    found = digest(weights)
    try:
        own = model_digest(info, found)
    except RecursionError:
        raise InputError(f"{description}: nested too deep; export the model again") from None
    if not has_digest(info):
        if warn:
            logger.warning(
                "%s: an older model without a digest, so nothing shows that its weights and its description belong "
                "together; train it again, to be sure",
                description,
            )
    elif info.get(OF_WEIGHTS) != found:
        raise InputError(
            f"{weights}: not the weights that {description} describes, sha256 {found[:12]} instead of "
            f"{str(info.get(OF_WEIGHTS))[:12]}; {remedy}"
        )
    elif info.get(DIGEST) != own:
        raise InputError(
            f"{description}: not as it was saved, digest {own[:12]} instead of {str(info.get(DIGEST))[:12]}; {remedy}"
        )
    return own


def has_digest(info: Mapping[str, Any]) -> bool:
    """Whether a description names what it belongs to; those of older versions do not."""
    return DIGEST in info or OF_WEIGHTS in info


def folder_digest(folder: Path) -> str:
    """See `check_digest`, of a folder whose network nobody builds here."""
    return check_digest(folder, described(folder), warn=False)


def described(folder: Path) -> dict[str, Any]:
    """Content of a folder's model.json, unchecked but for being a JSON object.

    Raises:
        InputError: it is none, or there is none.
    """
    return read_object(folder / DESCRIPTION, MODEL)


def check_config(config: Mapping[str, Any]) -> None:
    """Refuse a network's config that could do more than give sizes to this project's own parts.

    Raises:
        InputError: names what is no part of them.
    """
    if not isinstance(config, Mapping) or "type" not in config:
        raise InputError("model.json: the network has no type; export the model again")
    _check_value("model", config, 0)


def _check_value(key: str, value: Any, depth: int) -> None:
    wrong = None
    if depth > _DEEPEST or (isinstance(value, list | tuple | Mapping) and len(value) > _LONGEST):
        wrong = "something too deep or long"
    elif isinstance(value, Mapping):
        for name, part in value.items():
            if name in _FORBIDDEN and part:
                wrong = f"{name} {part}"
            elif name == "type":
                wrong = wrong or (None if _bare(part) in _TYPES else f"type {part!r}")
            else:
                _check_value(str(name), part, depth + 1)
    elif isinstance(value, list | tuple):
        for part in value:
            _check_value(key, part, depth + 1)
    elif isinstance(value, str):
        wrong = None if value in _WORDS else f"{key} {value!r}"
    elif isinstance(value, int | float):
        wrong = None if abs(value) <= _MOST.get(key, _LARGEST) else f"{key} {value}"  # nor is NaN
    elif value is not None:
        wrong = f"{key} {value!r}"
    if wrong:
        raise InputError(f"model.json: {wrong[:80]} is not a part of a wsss_mm model; export the model again")


def _bare(name: object) -> str | None:
    """A type's name without the scope of a registry."""
    if not isinstance(name, str):
        return None
    return next((name.removeprefix(scope) for scope in _SCOPES if name.startswith(scope)), name)
