"""Masks of other tools: values or colours that stand for classes, by a table that says which."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from wsss_mm.errors import InputError
from wsss_mm.files import leads_outside
from wsss_mm.patches.images import Pixels, read_mask, read_values
from wsss_mm.tables import heading_key, number, read_table
from wsss_mm.vocabulary import IGNORE, Vocabulary

if TYPE_CHECKING:
    from wsss_mm.sources import Masks

_NAMES, _VALUES, _COLORS = ("label", "name", "class"), ("gtcode", "code", "value", "index"), ("color", "colour", "hex")
_CHANNELS = (("r", "red"), ("g", "green"), ("b", "blue"))
_HEX = re.compile(r"#?([0-9a-fA-F]{6})")
_NONE = ("ignore", "unlabelled", "unlabeled", "void", "outside_roi", "exclude")  # labels that are no class anywhere
_MOST_VALUE = 0xFFFF
Code = int | tuple[int, int, int]


@dataclass(frozen=True)
class MaskReader:
    """Reads masks as 0..C-1 and `IGNORE`.

    Attributes:
        vocabulary: the classes.
        labels: what each value or colour is called; empty: values are class indices.
        meaning: the class index of each, or `IGNORE`.
        ignored: values that mean "ignore" where the others are class indices.
        others: whether values that `meaning` lacks are ignored; objects of an image's class where `instances`.
        instances: whether they are.
        table: where `labels` stand, for messages.
    """

    vocabulary: Vocabulary
    labels: Mapping[Code, str]
    meaning: Mapping[Code, int]
    ignored: tuple[int, ...] = ()
    others: bool = False
    instances: bool = False
    table: str = "sources.yaml"

    def read(self, path: Path, instance: int | None = None) -> Pixels:
        """Read a mask.

        Args:
            path: the mask.
            instance: the class that other values are objects of, where masks number objects.

        Returns:
            (H, W) uint8.

        Raises:
            InputError: it cannot be read, or has a value or colour that nothing is said of.
        """
        if not self.meaning:
            return read_mask(path, len(self.vocabulary), self.ignored, self.vocabulary.colors)
        values = self._values(path)
        found, places = np.unique(values, return_inverse=True)
        classes = np.array([self._class_of(int(value), path, instance) for value in found], np.uint8)
        return classes[places].reshape(values.shape)

    def shares(self, path: Path) -> dict[str, float]:
        """What the values of a mask are called, and the share of the pixels that each has; `value 7` without a name."""
        if not self.meaning:
            image = read_values(path)
            values = np.asarray(image if image.mode in ("P", "L") else image.convert("L")).astype(np.int64)
        else:
            values = self._values(path)
        shares: dict[str, float] = {}
        for value, count in zip(*np.unique(values, return_counts=True), strict=True):
            name = self._called(int(value))  # which several values may have
            shares[name] = shares.get(name, 0.0) + count / values.size
        return shares

    @cached_property
    def _by_number(self) -> dict[int, Code]:
        return {_packed(code): code for code in self.labels}

    @cached_property
    def _of_colors(self) -> bool:
        return any(isinstance(code, tuple) for code in self.labels)

    def _called(self, value: int) -> str:
        if not self.meaning:
            known = dict(enumerate(self.vocabulary.codes)) | dict.fromkeys((*self.ignored, IGNORE), "ignore")
            return known.get(value, f"value {value}")
        code = self._by_number.get(value)
        return self.labels[code] if code is not None else self._shown(value)

    def _shown(self, value: int) -> str:
        if not self._of_colors:
            return f"value {value}"
        return f"colour {value >> 16} {value >> 8 & 255} {value & 255}"

    def _class_of(self, value: int, path: Path, instance: int | None) -> int:
        code = self._by_number.get(value)
        if code is not None and code in self.meaning:
            return self.meaning[code]
        if self.instances:
            if instance is None:
                raise InputError(f"{path}: {self._shown(value)} is an object, but nothing says of which class")
            return instance
        if self.others or (not self._of_colors and value == IGNORE):
            return IGNORE
        known = ", ".join(f"{self._shown(_packed(code))} {name}" for code, name in self.labels.items())
        if len(known) > 200:
            known = f"{known[:200]}..."
        raise InputError(f"{path}: {self._shown(value)} is nothing that {self.table} names ({known}); add it there")

    def _values(self, path: Path) -> npt.NDArray[np.int64]:
        """Of each pixel its value, or its colour as one number."""
        image = read_values(path)
        if self._of_colors:
            colors = np.asarray(image.convert("RGB")).astype(np.int64)
            return colors[..., 0] << 16 | colors[..., 1] << 8 | colors[..., 2]
        pixels = np.asarray(image)
        if image.mode in ("RGB", "RGBA"):  # a code that was written as a grey, or into the first channel alone
            pixels, first = pixels[..., :3], pixels[..., 0]
            if not ((pixels == first[..., None]).all() or not pixels[..., 1:].any()):
                raise InputError(
                    f"{path}: a mask in colours, but {self.table} has values alone; give it columns r, g and b, or "
                    "save the mask as greys"
                )
            pixels = first
        elif image.mode not in ("P", "L") and not image.mode.startswith("I"):
            raise InputError(f"{path}: a mask of mode {image.mode}; save it as RGB, palette or grey PNG")
        return pixels.astype(np.int64)


def mask_reader(masks: "Masks", vocabulary: Vocabulary, source: Path) -> MaskReader:
    """How the masks of a data set are read.

    Args:
        masks: what `sources.yaml` says of them.
        vocabulary: the classes.
        source: the data set's folder, which may hold the table of codes.

    Raises:
        InputError: the table is missing where it must be there, or is none; a name of a class is not in it.
    """
    labels: dict[Code, str] = {code: name for name, code in masks.values.items()}
    where = "sources.yaml"
    if masks.codes is not None:
        if (path := _find(source, masks.codes)) is not None:
            labels, where = read_codes(path), str(path)
        elif not labels:
            raise InputError(
                f"{source}: has no {masks.codes}; write one beside images/ with columns label, and value or r, g, b"
            )
    reader = MaskReader(vocabulary, labels, {}, masks.ignore, masks.others == "ignore", masks.others == "instances")
    if not labels and not masks.classes:
        return reader
    if masks.classes:
        meaning = dict(_by_classes(masks, vocabulary, labels, where))
        labels = {**{code: vocabulary.codes[index] for code, index in meaning.items()}, **labels}
    else:
        meaning = {code: _by_name(name, vocabulary, where) for code, name in labels.items()}
    return replace(reader, labels=labels, meaning=meaning, table=where)


def read_codes(path: Path) -> dict[Code, str]:
    """Read a table of codes: a column `label`, and `value` (or `GT_code`), or a colour: `r`, `g` and `b`, or `color`.

    Raises:
        InputError: it is no such table; names the line.
    """
    table = read_table(path, absent="no such table of codes", remedy="save it as CSV, in UTF-8")
    keys = {heading_key(name): name for name in table.columns}
    name = next((keys[key] for key in _NAMES if key in keys), None)
    value = next((keys[key] for key in _VALUES if key in keys and keys[key] != name), None)
    channels = [next((keys[key] for key in names if key in keys), None) for names in _CHANNELS]
    color = next((keys[key] for key in _COLORS if key in keys), None)
    if name is None or (value is None and color is None and None in channels):
        raise InputError(
            f"{path}: has the columns {', '.join(map(str, table.columns))}; give label, and value or r, g and b"
        )
    found: dict[Code, str] = {}
    for line, row in table.iterrows():
        if None not in channels:
            cells = [str(row[channel]) for channel in channels]
        elif color is not None:
            match = _HEX.fullmatch(str(row[color]))
            cells = [str(part) for part in bytes.fromhex(match[1])] if match else [str(row[color])]
        else:
            cells = [str(row[value])]
        numbers = [number(cell) for cell in cells]
        most = 255 if len(cells) > 1 else _MOST_VALUE
        whole = [int(part) for part in numbers if part is not None and 0 <= part <= most and part == int(part)]
        if len(whole) != (1 if color is None and None in channels else 3):
            raise InputError(f"{path}: line {line}: {' '.join(cells)!r} is no value of a mask; give whole numbers")
        code: Code = (whole[0], whole[1], whole[2]) if len(whole) == 3 else whole[0]
        if code in found:
            raise InputError(f"{path}: line {line}: {' '.join(cells)} is {found[code]!r} already; keep one of them")
        found[code] = str(row[name])
    if not found:
        raise InputError(f"{path}: names no class; give a line for each value")
    return found


def _find(source: Path, name: str) -> Path | None:
    """A table of codes, as .csv or .tsv: in the data set's folder, or in a folder of it."""
    places = (source, *(path for path in sorted(source.iterdir()) if path.is_dir())) if source.is_dir() else ()
    stem, _, suffix = name.rpartition(".")
    names = dict.fromkeys((name, f"{stem}.tsv" if suffix == "csv" else f"{stem}.csv"))
    there = [place / name for place in places for name in names]
    return next((path for path in there if path.is_file() and not leads_outside(path, source)), None)


def _by_classes(
    masks: "Masks", vocabulary: Vocabulary, labels: Mapping[Code, str], where: str
) -> list[tuple[Code, int]]:
    codes: dict[str, list[Code]] = {}  # a label may be that of several values
    for value, name in labels.items():
        codes.setdefault(name, []).append(value)
    found: list[tuple[Code, int]] = []
    for code, members in masks.classes.items():
        index = vocabulary.find(code)
        if index is None:
            raise InputError(
                f"sources.yaml: masks.classes: {code!r} is no class of vocabulary {vocabulary.name!r} "
                f"({', '.join(vocabulary.codes)}); correct it"
            )
        for member in members:
            if isinstance(member, str) and member not in codes:
                raise InputError(f"{where}: has no label {member!r}, which sources.yaml counts to {code}; add it")
            found += [(value, index) for value in (codes[member] if isinstance(member, str) else [member])]
    return found


def _by_name(name: str, vocabulary: Vocabulary, where: str) -> int:
    index = vocabulary.find(name)
    if index is not None:
        return index
    if name.casefold() in _NONE or name.endswith("*"):
        return IGNORE
    raise InputError(
        f"{where}: label {name!r} is no class of vocabulary {vocabulary.name!r} ({', '.join(vocabulary.codes)}); "
        "correct it, add it to the aliases of one, or call it ignore"
    )


def _packed(code: Code) -> int:
    return code if isinstance(code, int) else code[0] << 16 | code[1] << 8 | code[2]
