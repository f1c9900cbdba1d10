"""Masks as COCO: a JSON of images, annotations and categories, as most tools of computer vision read and write it.

An image is a slide, as far as it was scanned, or one of its patches. Areas without holes are polygons, those with holes
run lengths (polygons of COCO have none), with the outline they come from beside them, which other tools pass over. It
counts when it is read again, unless the run lengths say something else by then.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.affinity import affine_transform
from shapely.geometry.base import BaseGeometry

from wsss_mm.errors import InputError
from wsss_mm.files import write_text
from wsss_mm.labelling.drawings import IGNORED, Area, clean, from_rings, to_rings
from wsss_mm.labelling.exchange.said import read_exported
from wsss_mm.slides.rle import area_of, packed, run_lengths, unpacked
from wsss_mm.slides.roi import rasterise
from wsss_mm.vocabulary import Vocabulary

_OURS, _RINGS, _ID = "wsss_mm", "polygons", "id"
_HEX = re.compile(r"[0-9a-f]{32}")
_PATCH = re.compile(r"(.+)-([0-9]+)-([0-9]+)")
_AT_ONCE = 1 << 24  # px that are drawn at a time
_REMEDY = "export it again"


@dataclass(frozen=True)
class Ground:
    """A slide as its areas count on it: px of level 0 from where the scan begins.

    Attributes:
        origin: x and y of that, level-0 px.
        size: width and height of what was scanned, level-0 px.
        mpp: um/px at level 0.
        slide_id: of the slide, where it was asked for by another name.
    """

    origin: tuple[int, int]
    size: tuple[int, int]
    mpp: float
    slide_id: str = ""


@dataclass(frozen=True)
class Picture:
    """An image of COCO.

    Attributes:
        name: of its file.
        size: width and height, px.
        areas: what is on it, in its px: polygons, or masks (H, W) of bool, with the names of their classes and ids.
    """

    name: str
    size: tuple[int, int]
    areas: Sequence[tuple[str, shapely.MultiPolygon | npt.NDArray[np.bool_], str]]


def coco_picture(name: str, ground: Ground, areas: Iterable[Area]) -> Picture:
    """A slide, whose file is called by its slide_id, with what is drawn on it."""
    return Picture(name, ground.size, [(area.name, area.geometry, area.id) for area in areas])


def picture_of_mask(name: str, mask: npt.NDArray[np.uint8], vocabulary: Vocabulary) -> Picture:
    """A patch with its mask (H, W) of class indices."""
    height, width = mask.shape
    held = [(item.name, mask == index, "") for index, item in enumerate(vocabulary.classes) if (mask == index).any()]
    return Picture(name, (width, height), held)


def write_coco(path: Path, pictures: Iterable[Picture], vocabulary: Vocabulary) -> int:
    """Write a file of COCO, an annotation a line; equal content gives equal bytes.

    Categories are the vocabulary's classes, numbered from 1, by name, with the code as `code`; what is not to be judged
    is a further one.

    Returns:
        How many annotations it holds.
    """
    names = [item.name for item in vocabulary.classes] + [IGNORED]
    codes = [*vocabulary.codes, IGNORED]
    categories = [
        {"id": number, "name": name, "code": code, "supercategory": "tissue" if name != IGNORED else "none"}
        for number, (name, code) in enumerate(zip(names, codes, strict=True), 1)
    ]
    images, annotations = [], []
    for number, picture in enumerate(pictures, 1):
        width, height = picture.size
        images.append({"id": number, "file_name": picture.name, "width": width, "height": height})
        for name, area, identity in picture.areas:
            said = {"id": len(annotations) + 1, "image_id": number, "category_id": names.index(name) + 1}
            annotations.append({**said, **_annotation(area, picture.size, identity)})
    parts = {
        "info": {"description": f"masks of vocabulary {vocabulary.name}"},
        "licenses": [],
        "categories": categories,
        "images": images,
        "annotations": annotations,
    }
    text = [f"{json.dumps(key)}: {_lines(value)}" for key, value in parts.items()]
    write_text(path, "{" + ",\n".join(text) + "}\n")
    return len(annotations)


def read_coco(
    path: Path, vocabulary: Vocabulary, ground_of: Callable[[str], Ground | None], *, mpp: float, size: int
) -> dict[str, list[Area]]:
    """Read areas of slides from a file of COCO, in its order.

    An image is a slide if its file is called by the slide_id, or as the slide's file is, in level-0 px of what was
    scanned or smaller by a whole; or a patch, if it is called `<slide_id>-<x>-<y>`, as the line calls them.

    Args:
        path: The file.
        vocabulary: Categories may have any of its names.
        ground_of: What is known of a slide, by slide_id or the name of its file; None where there is none.
        mpp: um/px of patches.
        size: Their side, px.

    Returns:
        By slide_id, level-0 px from where the scan begins.

    Raises:
        InputError: names the annotation and the remedy.
    """
    content = read_exported(path, "JSON", "the tool that made it")
    keys = ("images", "annotations", "categories")
    parts: list[Any] = [content.get(key) if isinstance(content, dict) else None for key in keys]
    if not all(isinstance(part, list) and all(isinstance(item, dict) for item in part) for part in parts):
        raise InputError(f"{path}: is no COCO of masks: it needs images, annotations and categories; {_REMEDY}")
    images, annotations, categories = parts
    names = {item.get("id"): _class_name(item, vocabulary, f"{path}: category") for item in categories}
    places = {item.get("id"): item for item in images}
    found: dict[str, list[Area]] = {}
    for number, item in enumerate(annotations, 1):
        where = f"{path}: annotation {item.get('id', number)}"
        if item.get("category_id") not in names or item.get("image_id") not in places:
            raise InputError(f"{where}: its category or its image is not in the file; {_REMEDY}")
        if (name := names[item["category_id"]]) is None:
            category = next(one for one in categories if one.get("id") == item["category_id"])
            raise InputError(
                f"{where}: {str(category.get('name'))[:80]!r} is no class of vocabulary {vocabulary.name!r} "
                f"({', '.join(vocabulary.codes)}); rename the category, or remove its annotations"
            )
        image = places[item["image_id"]]
        slide_id, spot, ground = _spot(image, ground_of, where, mpp=mpp, size=size)
        marked = _geometry(item, image, where)
        if marked.is_empty:  # run lengths of nothing
            continue
        geometry = clean(_moved(marked, spot), ground.size)
        if geometry.is_empty:
            raise InputError(f"{where}: nothing of it lies on slide {slide_id}; remove it")
        found.setdefault(slide_id, []).append(Area(_identity(item, slide_id, name, geometry), name, geometry))
    return found


def merged(there: Sequence[Area], given: Sequence[Area]) -> tuple[list[Area], dict[str, int]]:
    """Areas of a slide with others from a file: those of the same id are replaced, others follow.

    Returns:
        All of them, and how many of the given are `new`, `changed`, or `as before`.
    """
    areas, counts = {area.id: area for area in there}, {"new": 0, "changed": 0, "as before": 0}
    for area in given:
        before = areas.get(area.id)
        same = before is not None and before.name == area.name and to_rings(before.geometry) == to_rings(area.geometry)
        counts["new" if before is None else "as before" if same else "changed"] += 1
        areas[area.id] = area
    return list(areas.values()), counts


def _annotation(
    area: shapely.MultiPolygon | npt.NDArray[np.bool_], size: tuple[int, int], identity: str
) -> dict[str, Any]:
    ours: dict[str, Any] = {_ID: identity} if identity else {}
    if isinstance(area, np.ndarray):
        rows, columns = (np.flatnonzero(area.any(axis=axis)) for axis in (1, 0))
        left, top = int(columns[0]), int(rows[0])
        box = [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]
        said = {"segmentation": _run_lengths(run_lengths([area]), size), "area": int(area.sum()), "bbox": box}
        return {**said, "iscrowd": 0}
    left, top, right, bottom = area.bounds
    box = [round(value, 2) for value in (left, top, right - left, bottom - top)]
    if any(len(part.interiors) for part in area.geoms):
        counts = run_lengths(_drawn(area, size))
        said = {"segmentation": _run_lengths(counts, size), "area": sum(counts[1::2])}
        ours[_RINGS] = to_rings(area)
    else:
        flat = [[value for place in rings[0][:-1] for value in place] for rings in to_rings(area)]
        said = {"segmentation": flat, "area": round(area.area, 2)}
    return {**said, "bbox": box, "iscrowd": 0, **({_OURS: ours} if ours else {})}


def _run_lengths(counts: Sequence[int], size: tuple[int, int]) -> dict[str, Any]:
    return {"size": [size[1], size[0]], "counts": packed(counts)}


def _drawn(area: BaseGeometry, size: tuple[int, int]) -> Iterator[npt.NDArray[np.bool_]]:
    """The mask of an area, in pieces from left to right: slides are too large for one."""
    width, height = size
    step = max(1, _AT_ONCE // height)
    for left in range(0, width, step):
        wide = min(step, width - left)
        if area.bounds[0] >= left + wide or area.bounds[2] <= left:
            yield np.broadcast_to(np.zeros(1, bool), (height, wide))
        else:
            yield rasterise([(area, 1)], (left, 0), (wide, height), 1.0, fill=0) == 1


def _lines(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return json.dumps(value, ensure_ascii=False)
    return "[\n" + ",\n".join(json.dumps(item, ensure_ascii=False) for item in value) + "\n]"


def _class_name(category: Mapping[str, Any], vocabulary: Vocabulary, where: str) -> str | None:
    """The class that a category is, by name or code; None where it is none."""
    for given in (category.get("name"), category.get("code")):
        if not isinstance(given, str):
            continue
        if given.casefold() == IGNORED.casefold():
            return IGNORED
        if (index := vocabulary.find(given)) is not None:
            return vocabulary.classes[index].name
    if not isinstance(category.get("name"), str):
        raise InputError(f"{where}: has no name; {_REMEDY}")
    return None


@dataclass(frozen=True)
class _Spot:
    """Where a picture lies: level-0 px from where the scan begins, and level-0 px per px."""

    corner: tuple[float, float]
    scale: float


def _spot(
    image: Mapping[str, Any], ground_of: Callable[[str], Ground | None], where: str, *, mpp: float, size: int
) -> tuple[str, _Spot, Ground]:
    name: Any = image.get("file_name")
    width: Any = image.get("width")
    height: Any = image.get("height")
    if not isinstance(name, str) or not all(type(side) is int and side > 0 for side in (width, height)):
        raise InputError(f"{where}: its image has no file_name, width or height; {_REMEDY}")
    stem = re.split(r"[/\\]", name)[-1].rpartition(".")[0] or name
    if (ground := ground_of(stem)) is not None:
        scale = ground.size[0] / width
        if abs(ground.size[1] / scale - height) > 1:
            raise InputError(
                f"{where}: its image of {width} x {height} px does not span slide {stem}, of which "
                f"{ground.size[0]} x {ground.size[1]} px were scanned; give all of it"
            )
        return ground.slide_id or stem, _Spot((0.0, 0.0), scale), ground
    patch = _PATCH.fullmatch(stem)
    ground = ground_of(patch[1]) if patch else None
    if patch is None or ground is None:
        raise InputError(f"{where}: its image {name[:80]!r} is called by no slide of the cohort, nor by a patch of one")
    if (width, height) != (size, size):
        raise InputError(f"{where}: its image is of {width} x {height} px, and patches are of {size}; give them whole")
    corner = int(patch[2]) - ground.origin[0], int(patch[3]) - ground.origin[1]
    return ground.slide_id or patch[1], _Spot(corner, mpp / ground.mpp), ground


def _geometry(item: Mapping[str, Any], image: Mapping[str, Any], where: str) -> BaseGeometry:
    """What an annotation covers, in px of its image."""
    said, width, height = item.get("segmentation"), image["width"], image["height"]
    try:
        if isinstance(said, list):
            rings = [np.asarray(flat, np.float64).reshape(-1, 2) for flat in said]
            polygons = from_rings([[np.concatenate([ring, ring[:1]]).tolist()] for ring in rings])
            if not len(polygons.geoms):
                raise ValueError("it has no polygon")
            return polygons
        if not isinstance(said, dict) or list(said.get("size", ())) != [height, width]:
            raise ValueError("its run lengths are not of the image's size")
        counts = said.get("counts")
        counts = unpacked(counts) if isinstance(counts, str) else counts
        if not isinstance(counts, list):
            raise ValueError("it has no run lengths")
        ours = item.get(_OURS)
        if isinstance(ours, dict) and _RINGS in ours:
            drawn = from_rings(ours[_RINGS])
            if drawn.is_valid and run_lengths(_drawn(drawn, (width, height))) == counts:
                return drawn
        return area_of(counts, width, height)
    except (ValueError, TypeError, OverflowError, shapely.errors.ShapelyError) as error:
        raise InputError(
            f"{where}: its segmentation is none ({' '.join(str(error).split())[:120]}); {_REMEDY}"
        ) from None


def _moved(geometry: BaseGeometry, spot: _Spot) -> BaseGeometry:
    if spot.scale == 1 and spot.corner == (0.0, 0.0):
        return geometry
    return affine_transform(geometry, [spot.scale, 0, 0, spot.scale, *spot.corner])


def _identity(item: Mapping[str, Any], slide_id: str, name: str, geometry: shapely.MultiPolygon) -> str:
    """An area's id: its own, or one that the same area always has."""
    ours = item.get(_OURS)
    given = ours.get(_ID) if isinstance(ours, dict) else None
    if isinstance(given, str) and _HEX.fullmatch(given):
        return given
    said = json.dumps([slide_id, name, to_rings(geometry)])
    return hashlib.sha256(said.encode()).hexdigest()[:32]
