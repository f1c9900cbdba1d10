"""model.json, read with suspicion: it may come from anywhere, and a registry builds whatever a config names."""

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.formats import read_object
from wsss_mm.models.trust import CONFIGS, Trust, module_of
from wsss_mm.places import DESCRIPTION, MODEL, WEIGHTS
from wsss_mm.vocabulary import CODE, LONGEST_NAME, MOST_ALIASES, MOST_CLASSES, Role

logger = logging.getLogger(__name__)

DIGEST, OF_WEIGHTS = "digest", "weights_sha256"
"""Keys of model.json: see `model_digest`, and the sha256 of the weights it describes."""
OF_BYTES = "weights_md5"
"""Key of what `load_model` returns: the md5 of the weights that it loaded."""
NEEDS = "custom_imports"
"""Key of model.json: modules of the project's own parts in it. A reader is told of them and imports none."""
INITIAL = "initial_weights"
"""Key of model.json: the file the training began with, see `wsss_mm.engine.beginning`."""
ENCODER, HELD = "encoder", "frozen_encoder"
"""Keys of model.json: the encoder's name, and one that is not part of the weights, see `wsss_mm.models.frozen`."""
APPEARANCE, TEMPERATURE, AREA_ERRORS = "appearance", "temperature", "area_errors"
"""Keys of a segmenter's model.json: what its training patches looked like, see `wsss_mm.patches.likeness`; what its
logits are divided by for the probabilities that are reported, 1 where it is not said; and what it mistook for what on
validation pixels, see `wsss_mm.evaluation.areas`."""
RESOLUTION = "encoder_resolution"
"""Key of model.json: what to say where the patches' mpp is far from what the encoder was trained on."""
ICC = "icc"
"""Key of model.json, there where slides were read as sRGB, by their embedded colour profiles."""
STAIN = "stain"
"""Key of model.json: what images are made to look like before the network sees them, see `wsss_mm.slides.stain`."""
VALIDATED = "validated"
"""Key of a registered model's model.json: how the slides were segmented that it was validated on."""

# A registry can import anything by its dotted name, and some parts load files that they are given the name of: only
# these types are built, beside those of code that the project itself imports (`Trust`), and no other text is in a
# config than these words. All of them were read: they make layers of the numbers they are given, and do nothing else.
_TYPES = frozenset(
    (
        *("PatchClassifier", "ImgDataPreprocessor", "ProgressiveDropoutAttention", "ResNet38", "EfficientNetLite"),
        *("TokenBackbone", "TimmBackbone", "MmsegBackbone"),  # which know their architectures themselves
        *("EncoderDecoder", "SegDataPreProcessor", "OHEMPixelSampler"),
        *("PSPHead", "FCNHead", "ASPPHead", "DepthwiseSeparableASPPHead", "DepthwiseSeparableFCNHead", "UPerHead"),
        *("NLHead", "GCHead", "ISAHead", "SegformerHead", "ImageGuidedHead"),
        *("NoiseSuppressedCrossEntropyLoss", "CrossEntropyLoss", "DiceLoss", "FocalLoss", "LovaszLoss", "TverskyLoss"),
        *("BN", "SyncBN", "GN", "ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "GELU", "SiLU"),
    )
)
_SCOPES = ("wsss_mm.", "mmseg.", "mmengine.")
_WORDS = frozenset(
    (
        *("whole", "slide", "off", "published", "onss", "onss_margin", "ce"),
        *("multiple_select", "resize_concat", "bilinear", "nearest", "mean", "sum", "none", "stem"),
        *("SwiGLUPacked", "pytorch", "caffe"),
        *("multi_class", "binary", "present", "all", "att", "avg", "channel_add", "channel_mul"),
        *("embedded_gaussian", "gaussian", "dot_product", "concatenation"),
    )
)
_LOSS_NAME = re.compile(r"loss_[a-z0-9_]{1,40}")
_STAGE = re.compile(r"[a-z][a-z0-9_]{0,40}")  # a backbone's name for one of its feature maps
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")  # of the project's own parts: no path, no file with an ending
_FORBIDDEN = frozenset(("init_cfg", "pretrained", "_scope_"))
_ONLY_TRAINED_WITH = ("init_cfg", "pretrained")
_NUMBERS = frozenset(("class_weight",))  # mmseg reads a file where this is text
_LARGEST = 1 << 16  # of any number: channels, strides, means of pixels
_MOST = {"num_convs": 16}  # parts that are made one after the other
_LONGEST = 256  # of any list
_DEEPEST = 8
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_LONGEST_MODULE, _SHOWN = 200, 3

_Channel = Annotated[int, Field(ge=0, le=255, strict=True)]


class _Class(BaseModel):
    """A tissue class."""

    code: Annotated[str, Field(pattern=rf"^{CODE}$")]
    name: Annotated[str, Field(max_length=LONGEST_NAME)]
    color: tuple[_Channel, _Channel, _Channel]
    role: Role | None = None  # older models say none
    aliases: Annotated[list[Annotated[str, Field(max_length=LONGEST_NAME)]], Field(max_length=MOST_ALIASES)] = []


class _Description(BaseModel):
    """What others read of model.json; the rest is for people."""

    model_config = ConfigDict(allow_inf_nan=False)

    kind: Literal["classifier", "segmenter"]
    classes: Annotated[list[_Class], Field(min_length=1, max_length=MOST_CLASSES)]
    mpp: Annotated[float, Field(gt=0, strict=True)]
    size: Annotated[int, Field(gt=0, lt=_LARGEST, strict=True)]
    model: dict[str, Any]
    temperature: Annotated[float, Field(gt=0, le=100)] = 1.0


def read_description(path: Path, configs: Path = CONFIGS) -> dict[str, Any]:
    """Read model.json.

    Args:
        path: The file.
        configs: Folder of the project's config files, which say whose code beside this package's is trusted.

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
    check_kind(content["kind"], content["model"], path)
    check_config(content["model"], path, trust_of(content["kind"], configs), needs=content.get(NEEDS))
    return content


def trust_of(kind: str, configs: Path = CONFIGS) -> Trust:
    """What is trusted where a model of a kind is built."""
    return Trust(configs / f"{kind}.py")


def model_digest(info: Mapping[str, Any], weights_sha256: str) -> str:
    """One digest of what a model is: its weights, and all that model.json says (classes, colours, mpp, network)."""
    content = {key: value for key, value in info.items() if key != DIGEST} | {OF_WEIGHTS: weights_sha256}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sealed(info: Mapping[str, Any], weights: Path) -> dict[str, Any]:
    """A description with the digest of the weights it belongs to, and with its own."""
    sha256 = digest(weights)
    return {**info, OF_WEIGHTS: sha256, DIGEST: model_digest(info, sha256)}


def check_digest(
    folder: Path, info: Mapping[str, Any], *, warn: bool = True, remedy: str | None = None, found: str | None = None
) -> str:
    """The digest of a model folder, after a look whether its files still are those that were saved together.

    This finds what was changed or exchanged, not who did it well: whoever edits model.json can also write its digest
    anew. The registry keeps it apart from the files.

    Args:
        folder: Holds the weights.
        info: Content of its model.json.
        warn: Say so if it is an older model, which has no digest to check.
        remedy: What to do where the folder is none of this project's.
        found: The sha256 of the weights, where they were read already.

    Raises:
        InputError: the weights are others, or the description was changed.
    """
    description, weights = folder / DESCRIPTION, folder / WEIGHTS
    if not weights.is_file():
        raise InputError(f"{weights}: not found; bring the model again: dvc checkout {folder}, or export it again")
    remedy = remedy or f"bring both files from one place: dvc checkout {folder}, or the registry, or train again"
    found = found or digest(weights)
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


def check_kind(kind: str, config: Mapping[str, Any], source: Path | str) -> None:
    """Refuse a network that is none of a kind.

    Raises:
        InputError: what a classifier or a segmenter must be.
    """
    wanted = "PatchClassifier" if kind == "classifier" else "EncoderDecoder"
    if _bare(config.get("type")) != wanted:
        raise InputError(
            f"{source}: the network of a {kind} is not a part of a wsss_mm model unless its type is {wanted}; "
            f"{_remedy(source)}"
        )


def without_initialisation(config: Any) -> Any:
    """A network's config without what decides how a training begins, which no stored model needs again."""
    if isinstance(config, Mapping):
        return {key: without_initialisation(value) for key, value in config.items() if key not in _ONLY_TRAINED_WITH}
    return [without_initialisation(item) for item in config] if isinstance(config, list | tuple) else config


def foreign_modules(config: Any) -> tuple[str, ...]:
    """Modules of the types in a network's config that are the project's own."""
    if isinstance(config, Mapping):
        own = module_of(config.get("type")) if "type" in config and _bare(config["type"]) not in _TYPES else None
        found = {name for value in config.values() for name in foreign_modules(value)} | ({own} if own else set())
    else:
        found = {name for item in config for name in foreign_modules(item)} if isinstance(config, list | tuple) else ()
    return tuple(sorted(found))


def check_config(
    config: Mapping[str, Any], source: Path | str = DESCRIPTION, trust: Trust | None = None, *, needs: object = None
) -> None:
    """Refuse a network's config that could do more than give sizes to parts that are known, or are the project's own.

    Args:
        config: Of the network.
        source: The file it comes from, for errors: a model.json, or a config file of the project.
        trust: Whose parts are built beside this package's.
        needs: What a model.json says of modules it needs, for errors.

    Raises:
        InputError: names what is no part of them, and what to do.
    """
    if not isinstance(config, Mapping) or "type" not in config:
        raise InputError(f"{source}: the network has no type; {_remedy(source)}")
    _Check(source, trust, needs).value("model", config)


def _remedy(source: Path | str) -> str:
    if Path(source).suffix == ".py":
        return "a model of it could not be loaded again; change it there"
    return "export the model again"


@dataclass(frozen=True)
class _Check:
    source: Path | str
    trust: Trust | None
    needs: object

    def value(self, key: str, value: Any, depth: int = 0, *, own: bool = False) -> None:
        """Refuse a value, or one in it; `own` in a part of the project's own."""
        wrong = None
        if depth > _DEEPEST or (isinstance(value, list | tuple | Mapping) and len(value) > _LONGEST):
            wrong = "something too deep or long"
        elif isinstance(value, Mapping):
            if "type" in value:
                own = self.part(value["type"])
            for name, item in value.items():
                if name in _FORBIDDEN and item:
                    wrong = f"{name} {item}"
                elif name != "type":
                    self.value(str(name), item, depth + 1, own=own)
        elif isinstance(value, list | tuple):
            for item in value:
                self.value(key, item, depth + 1, own=own)
        elif isinstance(value, str):
            wrong = None if self.is_word(key, value, own=own) else f"{key} {value!r}"
        elif isinstance(value, int | float):
            wrong = None if abs(value) <= _MOST.get(key, _LARGEST) else f"{key} {value}"  # nor is NaN
        elif value is not None:
            wrong = f"{key} {value!r}"
        if wrong:
            raise InputError(f"{self.source}: {wrong[:80]} is not a part of a wsss_mm model; {_remedy(self.source)}")

    @staticmethod
    def is_word(key: str, value: str, *, own: bool) -> bool:
        """Whether a text is one that no part takes for a file."""
        if key in _NUMBERS:
            return False
        names = {"loss_name": _LOSS_NAME, "out_stages": _STAGE, "architecture": _WORD}
        known = value in _WORDS or (key in names and names[key].fullmatch(value))
        return bool(known or (own and _WORD.fullmatch(value)))

    def part(self, name: object) -> bool:
        """Whether a type is the project's own; refused if it is that no more than this package's."""
        if _bare(name) in _TYPES:
            return False
        if isinstance(name, str) and self.trust is not None and self.trust.holds(name):
            return True
        raise InputError(
            f"{self.source}: type {str(name)[:80]!r} is not a part of a wsss_mm model, and nothing is imported for it; "
            f"{self.allowing(name)}"
        )

    def allowing(self, name: object) -> str:
        """How a project comes to trust a type."""
        written = Path(self.source).suffix == ".py"
        if self.trust is None:
            return _remedy(self.source)
        module = module_of(name) if written else None
        said = [item for item in self.needs if _is_module(item)] if isinstance(self.needs, list) else []
        modules = [module] if module else said[:_SHOWN] or ["PACKAGE.MODULE"]
        where = "this file" if written else self.trust.config
        return (
            f"to trust the code that has it, here, say so in {where}: "
            f"custom_imports = dict(imports={json.dumps(modules)})"
        )


def _is_module(name: object) -> bool:
    return isinstance(name, str) and len(name) <= _LONGEST_MODULE and _MODULE.fullmatch(name) is not None


def _bare(name: object) -> str | None:
    """A type's name without the scope of a registry."""
    if not isinstance(name, str):
        return None
    return next((name.removeprefix(scope) for scope in _SCOPES if name.startswith(scope)), name)
