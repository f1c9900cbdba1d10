"""The public patch data sets: classes, resolution, and what their file names say."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wsss_mm.errors import InputError
from wsss_mm.names import composed, safe_name
from wsss_mm.vocabulary import Vocabulary

_LABEL = re.compile(r"-?\s*\[([01,\s]*)\]$")
_TCGA = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}")

UNKNOWN = -1
"""x or y of a patch whose position on its slide the source does not tell."""


@dataclass(frozen=True)
class Origin:
    """Where a patch comes from: its slide, and the level-0 px of its corner there (or `UNKNOWN`).

    `rest` is what the name says of a patch whose corner it does not tell.
    """

    slide_id: str
    x: int = UNKNOWN
    y: int = UNKNOWN
    rest: str = ""

    @property
    def patch_id(self) -> str:
        """A plain name; different where slide, corner or `rest` are, since those have a shape of their own."""
        if self.x == UNKNOWN:
            return safe_name(f"{self.slide_id}_{self.rest}")
        return f"{self.slide_id}-{self.x}-{self.y}"

    @property
    def patient_id(self) -> str:
        """The patient: of a TCGA barcode its first three parts; otherwise the slide stands for the patient."""
        match = _TCGA.match(self.slide_id)
        return match.group() if match else self.slide_id


def of_barcode(name: str) -> tuple[str, str] | None:
    """Patient and tissue source site of a name that begins with a TCGA barcode, in any case; None of others."""
    match = _TCGA.match(name.upper())
    return (match.group(), match.group().split("-")[1]) if match else None


@dataclass(frozen=True)
class Source:
    """A data set.

    Attributes:
        vocabulary: name of its classes, in the order of its label vectors and mask values.
        mpp: um/px of its images.
        ignored: mask values that are no class.
        origin: what a file name without label tells, given the split.
        pattern: that name's shape, for messages.
        regions: evaluation images are regions of any size, to be tiled.
    """

    vocabulary: str
    mpp: float
    ignored: tuple[int, ...]
    origin: Callable[[str, str], Origin | None]
    pattern: str
    regions: bool = False


def without_label(stem: str) -> str:
    """A file name without suffix and without its `[1, 0, 0]`, the same however its letters are composed."""
    return _LABEL.sub("", composed(stem))


def label_of(path: Path, vocabulary: Vocabulary) -> tuple[bool, ...]:
    """The label set in a training file's name: `...[1011].png`, `...-[1 0 1 1].png` or `...-[1, 0, 1, 1].png`.

    Raises:
        InputError: there is none, or it has another number of classes than the vocabulary.
    """
    match = _LABEL.search(path.stem)
    if match is None:
        raise InputError(
            f"{path}: no label in the file name; training patches end in e.g. [{'1' + '0' * (len(vocabulary) - 1)}]"
        )
    digits = re.findall("[01]", match.group(1))
    if len(digits) != len(vocabulary):
        raise InputError(
            f"{path}: label for {len(digits)} classes, but vocabulary {vocabulary.name!r} has {len(vocabulary)} "
            f"({', '.join(vocabulary.codes)}); mend the name or cohort.vocabulary in params.yaml"
        )
    return tuple(digit == "1" for digit in digits)


def origin_of(path: Path, split: str, source: Source) -> Origin:
    """Slide and position of a patch from its file name.

    Raises:
        InputError: the name does not have the data set's shape.
    """
    origin = source.origin(without_label(path.stem), split)
    if origin is None:
        raise InputError(f"{path}: the name says no slide; this data set's names look like {source.pattern}")
    return origin


def _slide_x_y(name: str, split: str) -> Origin | None:
    match = re.fullmatch(r"(?P<slide>.*[^-\s])-+(?P<x>[0-9]{1,9})-(?P<y>[0-9]{1,9})", name)
    return Origin(safe_name(match["slide"]), int(match["x"]), int(match["y"])) if match else None


def _bcss(name: str, split: str) -> Origin | None:
    # xmin and ymin are the corner of the annotated region; where in it patch +k lies is not told.
    match = re.fullmatch(r"(?P<slide>.+?)_(?P<region>xmin\d+_ymin\d+_MPP-[\d.]+)\+(?P<number>\d+)", name, re.ASCII)
    return Origin(safe_name(match["slide"]), rest=f"{match['region']}_{match['number']}") if match else None


def _wsss4luad(name: str, split: str) -> Origin | None:
    # Training regions and evaluation regions are numbered independently: 00 here is not 00 there.
    if split != "train":
        return Origin(safe_name("region", name), 0, 0)
    origin = _slide_x_y(name, split)
    return Origin(safe_name("train", origin.slide_id), origin.x, origin.y) if origin else None


SOURCES = {
    "luad_histoseg": Source("lung", 1.0, (4,), _slide_x_y, "1031280-2300-27920-[1 0 0 1].png"),
    "bcss_wsss": Source("breast", 0.25, (4,), _bcss, "TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500+0[1101].png"),
    "wsss4luad": Source("luad_normal", 1.0, (3,), _wsss4luad, "00-0-112-[1, 1, 0].png", regions=True),
}
