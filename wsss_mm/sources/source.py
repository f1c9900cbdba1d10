"""A data set of patches or regions as plain data: classes, resolution, layout, and what its file names say."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from wsss_mm.errors import InputError
from wsss_mm.names import composed, safe_name
from wsss_mm.vocabulary import SPLITS, Split, Vocabulary

Layout = Literal["named", "pairs", "folders", "table", "coco"]
"""Where label sets and masks stand: in file names, in masks, in names of folders, in a table, in COCO."""
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

ANY_NAME = "(?P<slide>.+)"
"""The pattern of names that tell nothing."""

UNKNOWN = -1
"""x or y of a patch whose position on its slide the source does not tell."""

_LABEL = re.compile(r"-?\s*\[([01,\s]*)\]$")
_TCGA = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}")
_STRICT: Any = {"extra": "forbid", "allow_inf_nan": False}  # for pydantic, which reads rows into these types
_KNOWN_GROUPS = ("slide", "patient", "site", "x", "y")
Faults = Iterator[tuple[str, str]]
"""The key that is wrong, and why."""


@dataclass(frozen=True)
class Origin:
    """Where a patch comes from: its slide, and the px of its corner there (or `UNKNOWN`).

    `rest` is what the name says of a patch whose corner it does not tell; `patient` and `site` are empty where only
    the slide's name can tell them.
    """

    slide_id: str
    x: int = UNKNOWN
    y: int = UNKNOWN
    rest: str = ""
    patient: str = ""
    site: str = ""

    @property
    def patch_id(self) -> str:
        """A plain name; different where slide, corner or `rest` are, since those have a shape of their own."""
        if self.x == UNKNOWN:
            return safe_name(f"{self.slide_id}_{self.rest}" if self.rest else self.slide_id)
        return f"{self.slide_id}-{self.x}-{self.y}"

    @property
    def patient_id(self) -> str:
        """The patient: of a TCGA barcode its first three parts; otherwise the slide stands for the patient."""
        match = _TCGA.match(self.slide_id)
        return self.patient or (match.group() if match else self.slide_id)


@dataclass(frozen=True)
class Masks:
    """How masks are found and coded.

    Attributes:
        ignore: values that are no class, where the others are class indices, or any classes of `values`.
        classes: by the class's code, which values or names of `values` it has; none: values are class indices.
        values: what the values, or colours, of a mask are called, where the data set has no file that says so.
        codes: name of that file: a table with a label, and a value, or a colour as r, g, b.
        others: what becomes of values that are no class: refused, ignored, or (instances) taken for numbers of objects
            of the class that the data set's table says of the image.
        folders: names of folders with masks.
        suffix: what a mask's name has behind its image's.
    """

    __pydantic_config__: ClassVar[Any] = _STRICT

    ignore: tuple[int, ...] = ()
    classes: dict[str, tuple[int | str, ...]] = field(default_factory=dict)
    values: dict[str, int | tuple[int, int, int]] = field(default_factory=dict)
    codes: str | None = None
    others: Literal["refuse", "ignore", "instances"] = "refuse"
    folders: tuple[str, ...] = ("masks", "mask")
    suffix: str = ""


@dataclass(frozen=True)
class LabelsTable:
    """A table that says more of the images: the headings of its columns.

    Attributes:
        file: its name; None: the only CSV there is.
        image: path or name of the image.
        labels: class or classes, by any name that the vocabulary knows.
        split: train, valid or test; this and the others may be missing.
        slide: slide.
        patient: patient.
        site: site.
        mask: path of the mask.
    """

    __pydantic_config__: ClassVar[Any] = _STRICT

    file: str | None = None
    image: str = "path"
    labels: str = "labels"
    split: str = "split"
    slide: str = "slide_id"
    patient: str = "patient_id"
    site: str = "site"
    mask: str = "mask"


@dataclass(frozen=True)
class Source:
    """A row of `sources.yaml`.

    Attributes:
        name: the key of the row; `cohort.name` in params.yaml.
        about: what it is, for people.
        layout: where label sets stand.
        vocabulary: name of its classes, in the order of its label vectors and mask values; None: any.
        mpp: um/px of its images; None: what params.yaml says.
        size: px of its patches; None: what params.yaml says.
        names: regular expression of file names without label and suffix, of the whole name; groups `slide`, and
            `patient`, `site`, `x` and `y` where the name tells them; any others tell apart patches of a slide. By split
            where they differ.
        prefix: of slide ids, by split, where splits number their slides independently.
        example: a file name, for messages.
        images: names of folders with images, the first that is there counts; empty: all but masks.
        splits: which images are of a split: a regular expression found in the path, a list of sites, or a share of the
            patients; others are of train. Without, folders called train, valid and test say it.
        shares_patients: the published splits have patients in common.
        regions: images of any size, cut into patches: none, those of evaluation (by 224 px), or all.
        masks: how masks are found and coded.
        table: a table that says more.
        settings: of params.yaml, where this data set needs others.
    """

    __pydantic_config__: ClassVar[Any] = _STRICT

    name: str
    about: str
    layout: Layout
    vocabulary: str | None = None
    mpp: float | None = None
    size: int | None = None
    names: str | dict[Split, str] = ANY_NAME
    prefix: dict[Split, str] = field(default_factory=dict)
    example: str = ""
    images: tuple[str, ...] = ()
    splits: dict[Split, str | float | tuple[str, ...]] = field(default_factory=dict)
    shares_patients: bool = False
    regions: Literal["none", "evaluation", "all"] = "none"
    masks: Masks = Masks()
    table: LabelsTable | None = None
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def ignored(self) -> tuple[int, ...]:
        """Mask values that are no class, where masks hold class indices."""
        return self.masks.ignore

    @property
    def pattern(self) -> str:
        """The shape of its file names, for messages."""
        return self.example or "NAME.png"

    def origin(self, name: str, split: str) -> Origin | None:
        """What a file name without label tells, given the split; None where it does not have the data set's shape."""
        names = dict.fromkeys(SPLITS, self.names) if isinstance(self.names, str) else self.names
        pattern = {str(key): value for key, value in names.items()}[split]
        match = re.fullmatch(pattern, name, re.ASCII | re.DOTALL)
        if match is None or not name:
            return None
        said = match.groupdict(default="")
        prefix = {str(key): value for key, value in self.prefix.items()}.get(split, "")
        slide = safe_name(prefix, said["slide"]) if prefix else safe_name(said["slide"])
        rest = "_".join(text for key, text in said.items() if key not in _KNOWN_GROUPS and text)
        corner = {key: int(said[key]) for key in ("x", "y") if key in said}
        if not corner and not rest and self.regions != "none":
            corner = {"x": 0, "y": 0}  # the only region of its slide
        return Origin(slide, rest=rest, patient=said.get("patient", ""), site=said.get("site", ""), **corner)

    def disagreements(self) -> Faults:
        """What one key asks for and another does not give."""
        for key, pattern in ({"names": self.names} if isinstance(self.names, str) else self.names).items():
            place = "names" if isinstance(self.names, str) else f"names.{key}"
            if (says := _fault_of_pattern(pattern)) is not None:
                yield place, says
            elif not {"slide"} <= set(re.compile(pattern).groupindex):
                yield place, "has no group (?P<slide>...); name it, so that splits are made by slides"
        if isinstance(self.names, dict) and set(self.names) != set(SPLITS):
            yield "names", f"give one pattern, or one for each of {', '.join(SPLITS)}"
        for split, rule in self.splits.items():
            if isinstance(rule, str) and (says := _fault_of_pattern(rule)) is not None:
                yield f"splits.{split}", says
            if isinstance(rule, float) and not 0 < rule < 1:
                yield f"splits.{split}", f"{rule} is no share of the patients; give one between 0 and 1"
        if self.masks.others == "instances" and self.table is None:
            yield "masks", "others: instances needs a table that says of which class they are"
        if (self.layout == "table") != (self.table is not None) and self.layout != "pairs":
            yield "table", "layout table has one, pairs may have one, and the others have none"
        if self.mpp is not None and not 0 < self.mpp < 100:
            yield "mpp", f"{self.mpp} is no resolution; give um per pixel, such as 0.5"


def _fault_of_pattern(pattern: str) -> str | None:
    try:
        re.compile(pattern)
    except re.error as error:
        return f"is no regular expression ({error})"
    return None


def of_barcode(name: str) -> tuple[str, str] | None:
    """Patient and tissue source site of a name that begins with a TCGA barcode, in any case; None of others."""
    match = _TCGA.match(name.upper())
    return (match.group(), match.group().split("-")[1]) if match else None


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
