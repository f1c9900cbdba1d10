"""What COCO draws on an image: polygons and run lengths, as a mask of classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from wsss_mm.errors import InputError
from wsss_mm.files import read_json
from wsss_mm.patches.images import MAX_PIXELS, Pixels
from wsss_mm.slides.rle import mask_of, unpacked
from wsss_mm.slides.roi import rasterise
from wsss_mm.vocabulary import IGNORE, Vocabulary

_IGNORED = ("ignore", "ignore*")
_AGAIN = "export it again"
_FARTHEST = 1e9  # px, of what is a place on an image


@dataclass(frozen=True)
class Areas:
    """The annotations of an image.

    Attributes:
        path: the JSON.
        size: width and height of the image as the JSON has them, px.
        items: class index, or `IGNORE`, and segmentation of each, in the file's order; later ones cover earlier ones.
    """

    path: Path
    size: tuple[int, int]
    items: tuple[tuple[int, Any, str], ...]

    def mask(self) -> Pixels:
        """(H, W) uint8: classes, and `IGNORE` where nothing is drawn.

        Raises:
            InputError: names the annotation.
        """
        width, height = self.size
        mask = np.full((height, width), IGNORE, np.uint8)
        for index, said, name in self.items:
            try:
                mask[_drawn(said, width, height)] = index
            except (ValueError, TypeError, IndexError, OverflowError, shapely.errors.ShapelyError) as error:
                raise InputError(
                    f"{self.path}: annotation {name}: is no area ({' '.join(str(error).split())}); {_AGAIN}"
                ) from None
        return mask


@dataclass(frozen=True)
class CocoFile:
    """A file of COCO.

    Attributes:
        path: the JSON.
        images: by the name it gives them, what is drawn on them.
        categories: names of all categories.
        unknown: of those, the ones that are no class, with how many areas they have.
    """

    path: Path
    images: Mapping[str, Areas]
    categories: tuple[str, ...]
    unknown: Mapping[str, int]


def is_coco(path: Path) -> bool:
    """Whether a JSON says of itself that it is COCO."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in _KEYS)


_KEYS = ("images", "annotations", "categories")


def read_areas(path: Path, vocabulary: Vocabulary | None) -> CocoFile:
    """Read a file of COCO, as tools of computer vision write it.

    Args:
        path: the JSON.
        vocabulary: its classes are those that categories are called by; None: only names are looked at.

    Raises:
        InputError: it is none.
    """
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is no JSON ({' '.join(str(error).split())}); {_AGAIN}") from None
    parts: list[Any] = [content.get(key) if isinstance(content, dict) else None for key in _KEYS]
    if not all(isinstance(part, list) and all(isinstance(item, dict) for item in part) for part in parts):
        raise InputError(f"{path}: is no COCO of masks: it needs images, annotations and categories; {_AGAIN}")
    images, annotations, categories = parts
    _check_ids(path, images, annotations, categories)
    classes = {item.get("id"): _index(str(item.get("name")), vocabulary) for item in categories}
    names = {item.get("id"): str(item.get("name")) for item in categories}
    drawn: dict[Any, list[tuple[int, Any, str]]] = {}
    unknown: dict[str, int] = {}
    for number, item in enumerate(annotations, 1):
        name = str(item.get("id", number))
        index = classes[item["category_id"]]
        if index is None:
            called = names[item["category_id"]]
            unknown[called] = unknown.get(called, 0) + 1
        else:
            drawn.setdefault(item.get("image_id"), []).append((index, item.get("segmentation"), name))
    found: dict[str, Areas] = {}
    for item in images:
        name, width, height = item.get("file_name"), item.get("width"), item.get("height")
        if not isinstance(name, str) or not all(type(side) is int and side > 0 for side in (width, height)):
            raise InputError(f"{path}: image {item.get('id')!r}: has no file_name, width or height; {_AGAIN}")
        if width * height > MAX_PIXELS:
            raise InputError(f"{path}: image {name[:80]!r}: claims {width} x {height} px, which is no region; {_AGAIN}")
        if name in found:
            raise InputError(f"{path}: image {name[:80]!r} is there twice; {_AGAIN}")
        found[name] = Areas(path, (width, height), tuple(drawn.get(item.get("id"), ())))
    return CocoFile(path, found, tuple(names.values()), unknown)


def _check_ids(path: Path, images: list[Any], annotations: list[Any], categories: list[Any]) -> None:
    """Refuse ids by which an annotation would be of another image or class, or of none."""
    keys = ((images, "id"), (annotations, "image_id"), (annotations, "category_id"), (categories, "id"))
    if not all(isinstance(item.get(key), int | str) for items, key in keys for item in items):
        raise InputError(f"{path}: an id is neither a number nor a text; {_AGAIN}")
    of_images, of_categories = ({item["id"] for item in items} for items in (images, categories))
    if len(of_images) < len(images) or len(of_categories) < len(categories):
        raise InputError(f"{path}: two of its images, or of its categories, have the same id; {_AGAIN}")
    for number, item in enumerate(annotations, 1):
        what = "category" if item["category_id"] not in of_categories else "image"
        if what == "category" or item["image_id"] not in of_images:
            name = str(item.get("id", number))
            raise InputError(f"{path}: annotation {name}: its {what} is not in the file; {_AGAIN}")


def _index(name: str, vocabulary: Vocabulary | None) -> int | None:
    if name.casefold() in _IGNORED:
        return IGNORE
    return None if vocabulary is None else vocabulary.find(name)


def _drawn(said: Any, width: int, height: int) -> np.ndarray:
    """The pixels (H, W) that a segmentation covers."""
    if isinstance(said, list):
        rings = [np.asarray(flat, np.float64).reshape(-1, 2) for flat in said]
        if not rings or not all((np.abs(ring) < _FARTHEST).all() for ring in rings):
            raise ValueError("it has no polygon, or places that are no numbers")
        polygons = [shapely.Polygon(ring) for ring in rings]
        whole: Sequence[tuple[Any, int]] = [(shapely.make_valid(polygon), 1) for polygon in polygons]
        return rasterise(whole, (0, 0), (width, height), 1.0, fill=0) == 1
    if not isinstance(said, dict) or list(said.get("size", ())) != [height, width]:
        raise ValueError("its run lengths are not of the image's size")
    counts = said.get("counts")
    counts = unpacked(counts) if isinstance(counts, str) else counts
    if not isinstance(counts, list):
        raise ValueError("it has no run lengths")
    return mask_of(counts, width, height)
