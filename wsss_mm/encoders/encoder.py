"""An encoder as plain data: what it is built of, where its file is had, and what its licence allows."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from wsss_mm.encoders.resnet38 import LAYERS
from wsss_mm.names import is_plain_name
from wsss_mm.places import PRETRAINED

Loader = Literal["wsss_mm", "mmseg", "transformers", "timm"]
"""Whose code the network is of, in the order of trust."""
LOADERS: tuple[Loader, ...] = get_args(Loader)

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
"""Of RGB in 0..255, as ImageNet's networks take images."""

_RESNET38 = "ResNet38"
_WHITE = 255
_STRICT: Any = {"extra": "forbid", "allow_inf_nan": False}  # for pydantic, which reads rows into these types
Faults = Iterator[tuple[str, str]]
"""The key that is wrong, and why."""


@dataclass(frozen=True)
class Stage:
    """A feature map that an encoder gives.

    Attributes:
        name: what the network calls it; CAMs can be taken there.
        channels: K of (N, K, h, w).
        stride: px of the image along one of its features.
    """

    name: str
    channels: int
    stride: int


@dataclass(frozen=True)
class Sizes:
    """Sides of images that an encoder takes, px.

    Attributes:
        multiple: what each side is a multiple of; images of other sides are padded.
        least: the smallest.
        fixed: the only one, where others are not possible.
    """

    __pydantic_config__: ClassVar[Any] = _STRICT

    multiple: int = 1
    least: int = 1
    fixed: int | None = None

    def fault(self, side: int) -> str | None:
        """What is wrong with images of this side, px."""
        if self.fixed is not None and side != self.fixed:
            return f"takes images of {self.fixed} px alone, not of {side} px"
        if side < self.least:
            return f"takes images of {self.least} px and more, not of {side} px"
        return None


@dataclass(frozen=True)
class Encoder:
    """A row of `encoders.yaml`. What nobody could confirm is left out there, and is None or empty here.

    Attributes:
        name: the key of the row; what params.yaml says.
        loader: whose code the network is of.
        architecture: what that code calls it: a registered type of this package's or of mmseg's, a model type of
            transformers, an architecture of timm.
        stages: name to (channels, stride), in the order in which an image passes them; the last has the features that
            are pooled.
        arguments: of the architecture.
        file: the weights' name in `pretrained/`: a file, or a folder with one; None where there are none.
        sha256: of that file.
        hub: its name on the Hugging Face hub.
        source: where the file is had otherwise, for people.
        prefix_tokens: tokens before those of the image's parts: class and register tokens.
        mean: of RGB in 0..255, what is subtracted.
        std: of RGB in 0..255, what it is divided by.
        mpp: um/px of the images it was trained on; empty for photographs, or where nobody says.
        sizes: which images it takes.
        licence: of the weights, as its SPDX name or in the owner's words.
        commercial: whether they may be used commercially.
        derivatives: whether a model that is made from them may be passed on.
        gated: whether the owner asks for consent before the file is had.
        citation: the paper.
    """

    __pydantic_config__: ClassVar[Any] = _STRICT

    name: str
    loader: Loader
    architecture: str
    stages: dict[str, tuple[int, int]]
    licence: str
    arguments: dict[str, Any] = field(default_factory=dict)
    file: str | None = None
    sha256: str | None = None
    hub: str | None = None
    source: str | None = None
    prefix_tokens: int = 0
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    mpp: tuple[float, ...] = ()
    sizes: Sizes = Sizes()
    commercial: bool | None = None
    derivatives: bool | None = None
    gated: bool = False
    citation: str | None = None

    @property
    def all_stages(self) -> tuple[Stage, ...]:
        """The stages in order."""
        return tuple(Stage(name, channels, stride) for name, (channels, stride) in self.stages.items())

    @property
    def dimension(self) -> int:
        """K of the last feature map."""
        return self.all_stages[-1].channels

    @property
    def stride(self) -> int:
        """Px of the image along one of the last features."""
        return self.all_stages[-1].stride

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers that CAMs can be taken at: the stages, of ResNet38 its units and `bn7`."""
        return LAYERS if self.architecture == _RESNET38 else tuple(self.stages)

    @property
    def last(self) -> str:
        """The layer under the pooling, where CAMs have a closed form."""
        return self.layers[-1]

    def disagreements(self) -> Faults:
        """Values that no encoder has, or that do not fit each other."""
        if not self.stages:
            yield "stages", "is empty; give each stage's name with its channels and stride, such as {stage4: [768, 32]}"
        for name, numbers in self.stages.items():
            if min(numbers) < 1:
                yield f"stages.{name}", f"{list(numbers)} are no channels and stride; give two whole numbers above 0"
        if self.prefix_tokens < 0:
            yield "prefix_tokens", f"{self.prefix_tokens} is no number of tokens; give 0 or more"
        for key, values in (("std", self.std), ("mpp", self.mpp)):
            if values and min(values) <= 0:
                yield key, f"{list(values)} must be above 0"
        if not all(0 <= value <= _WHITE for value in self.mean):
            yield "mean", f"{list(self.mean)} is of RGB in 0..255"
        if max(self.std) <= 1:
            yield "std", f"{list(self.std)} is of RGB in 0..1; multiply mean and std by 255"
        if min(self.sizes.multiple, self.sizes.least, self.sizes.fixed or 1) < 1:
            yield "sizes", "are px; give whole numbers above 0"
        if self.sha256 is not None and re.fullmatch(r"[0-9a-f]{64}", self.sha256) is None:
            yield "sha256", f"{self.sha256[:16]!r} is no SHA-256: give its 64 digits and letters a to f, in lower case"
        if self.file is not None and not is_plain_name(self.file):
            yield "file", f"{self.file[:40]!r} is no name; put the file into {PRETRAINED}/, and give its name alone"
