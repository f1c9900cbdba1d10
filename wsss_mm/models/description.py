"""model.json, read with suspicion: it may come from anywhere, and a registry builds whatever a config names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wsss_mm.errors import InputError
from wsss_mm.files import read_json

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
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run `dvc repro`, or `dvc pull`, to have the model") from None
    except ValueError:
        raise InputError(f"{path}: not valid JSON; export the model again") from None
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
