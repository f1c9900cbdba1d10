"""The files of a data set, whatever its layout: each with its split, slide and label set, before a pixel is read."""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from wsss_mm.cohort.splits import held_out
from wsss_mm.errors import InputError
from wsss_mm.files import leads_outside
from wsss_mm.patches.areas import is_coco, read_areas
from wsss_mm.patches.images import SUFFIXES
from wsss_mm.patches.layout import SPLIT_FOLDERS, SourceFile, find_files
from wsss_mm.patches.told import told_rows
from wsss_mm.sources import ANY_NAME, Origin, Source, label_of, of_barcode, origin_of, without_label
from wsss_mm.vocabulary import SPLITS, Vocabulary

logger = logging.getLogger(__name__)

_DEEPEST = 8  # folders in folders
_SEED = 0  # which patients are held out for testing is the data set's, and changes with no parameter


def find(source: Path, definition: Source, vocabulary: Vocabulary) -> list[SourceFile]:
    """The images of a data set, with split, origin and, where something says them, label sets.

    Training images of layout `named` have the label sets of their names; those of evaluation, and of `pairs` and
    `coco`, have none here: their masks say them.

    Raises:
        InputError: the folder is not laid out as it should be; names what is wrong.
    """
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; set cohort.source in params.yaml to that of the data set")
    found = _FINDERS[definition.layout](source, definition, vocabulary)
    if not found:
        raise InputError(f"{source}: has no images of {definition.name}; its names look like {definition.pattern}")
    return _shared(_split_by_patients(found, source, definition), source, definition)


def patients_in_common(files: list[SourceFile]) -> list[str]:
    """Patients of a published split that are in more than one part of it."""
    parts: dict[str, set[str]] = {}
    for file in files:
        if file.origin is not None:
            parts.setdefault(file.origin.patient_id, set()).add(file.split)
    return sorted(patient for patient, splits in parts.items() if len(splits) > 1)


def images_below(folder: Path) -> list[Path]:
    """All images in a folder and its folders, sorted; hidden ones are passed over.

    Raises:
        InputError: a link leads out of it.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if path.suffix.lower() not in SUFFIXES or len(inside) > _DEEPEST or any(part[0] == "." for part in inside):
            continue
        if leads_outside(path, folder):
            raise InputError(f"{path}: a link that leads out of {folder}; copy the file there, or remove the link")
        if path.is_file():
            found.append(path)
    return found


def coco_files(source: Path) -> list[Path]:
    """The files of COCO in a folder, or in folders of it."""
    near = [path for path in sorted(source.rglob("*.json")) if len(path.relative_to(source).parts) < 4]
    return [path for path in near if not leads_outside(path, source) and is_coco(path)]


def pair_key(path: Path, source: Path, definition: Source) -> tuple[str, bool]:
    """What an image and its mask have in common, and whether this is the mask."""
    masks = definition.masks
    parts = path.relative_to(source).parts[:-1]
    of_masks = {name.lower() for name in masks.folders}
    among = of_masks | {name.lower() for name in definition.images}
    is_mask = any(part.lower() in of_masks for part in parts) and not masks.suffix
    stem = without_label(path.stem)
    if masks.suffix and stem.endswith(masks.suffix):
        stem, is_mask = stem.removesuffix(masks.suffix), True
    return "/".join([*(part for part in parts if part.lower() not in among), stem]), is_mask


def pairs(source: Path, definition: Source) -> tuple[dict[str, Path], dict[str, Path]]:
    """Images and masks by what the two have in common.

    Raises:
        InputError: two files are of the same patch.
    """
    images: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    files = images_below(source)
    folders = {part.lower() for path in files for part in path.relative_to(source).parts[:-1]}
    wanted = next((name for name in definition.images if name.lower() in folders), None)
    for path in files:
        key, is_mask = pair_key(path, source, definition)
        parts = [part.lower() for part in path.relative_to(source).parts[:-1]]
        if not is_mask and definition.images and (wanted is None or wanted.lower() not in parts):
            continue
        among = masks if is_mask else images
        if key in among:
            raise InputError(f"{path}: names the same patch as {among[key].name}; keep one of them")
        among[key] = path
    return images, masks


def _named(source: Path, definition: Source, vocabulary: Vocabulary) -> list[SourceFile]:
    return [
        replace(
            file,
            origin=origin_of(file.image, file.split, definition),
            labels=label_of(file.image, vocabulary) if file.split == "train" else None,
        )
        for file in find_files(source, without_label)
    ]


def _pairs(source: Path, definition: Source, vocabulary: Vocabulary) -> list[SourceFile]:
    images, masks = pairs(source, definition)
    split_of = _Splits(source, definition)
    said = told_rows(source, definition) if definition.table is not None else {}
    found = []
    for key, path in images.items():
        split = split_of(path)
        origin, instance = _origin(path, key, split, definition), None
        if said:
            names = without_label(path.stem), path.name, path.relative_to(source).as_posix()
            if (row := next((said[name] for name in names if name in said), None)) is None:
                raise InputError(f"{path}: the table of the data set has no row of it; add one, or remove the image")
            origin, instance = row.origin(origin), row.only_class(vocabulary)
        found.append(SourceFile(split, path, masks.get(key), origin, instance=instance))
    for name in sorted(images.keys() ^ masks.keys()):
        path, missing = (images[name], "mask") if name in images else (masks[name], "image")
        logger.warning("%s has no %s and is left out", path, missing)
    return [file for file in found if file.mask is not None]


def _folders(source: Path, definition: Source, vocabulary: Vocabulary) -> list[SourceFile]:
    split_of, found = _Splits(source, definition), []
    for path in images_below(source):
        name = path.parent.name
        if path.parent == source or (index := vocabulary.find(name)) is None:
            raise InputError(
                f"{path}: its folder {name!r} is no class of vocabulary {vocabulary.name!r} "
                f"({', '.join(vocabulary.codes)}); add it to the aliases of one, or remove the folder"
            )
        split = split_of(path)
        origin = _origin(path, _inside(path, source), split, definition)
        labels = tuple(place == index for place in range(len(vocabulary)))
        found.append(SourceFile(split, path, None, origin, labels))
    return found


def _table(source: Path, definition: Source, vocabulary: Vocabulary) -> list[SourceFile]:
    split_of, found = _Splits(source, definition), []
    for name, row in told_rows(source, definition).items():
        image, mask = row.file(name), row.file(row.cells["mask"]) if row.cells["mask"] else None
        split = row.split() or split_of(image)
        origin = row.origin(_origin(image, _inside(image, source), split, definition))
        found.append(SourceFile(split, image, mask, origin, row.label_set(vocabulary)))
    return found


def _coco(source: Path, definition: Source, vocabulary: Vocabulary) -> list[SourceFile]:
    files = coco_files(source)
    if not files:
        raise InputError(f"{source}: has no JSON of COCO; put it there, with keys images, annotations and categories")
    by_name: dict[str, list[Path]] = {}
    for path in images_below(source):
        by_name.setdefault(path.name, []).append(path)
    split_of, found = _Splits(source, definition), []
    for file in files:
        content = read_areas(file, vocabulary)
        for name, count in content.unknown.items():
            raise InputError(
                f"{file}: {count} areas of category {name[:80]!r}, which is no class of vocabulary "
                f"{vocabulary.name!r} ({', '.join(vocabulary.codes)}); add it to the aliases of one, or rename it"
            )
        for name, areas in content.images.items():
            path = _of_coco(name, file, by_name)
            split = split_of.of_coco(file, path)
            origin = _origin(path, _inside(path, source), split, definition)
            found.append(SourceFile(split, path, None, origin, areas=areas))
    twice = [image for image, count in Counter(item.image for item in found).items() if count > 1]
    if twice:
        raise InputError(f"{twice[0]}: is an image of two files of COCO; keep one of them")
    return found


def _origin(path: Path, inside: str, split: str, definition: Source) -> Origin:
    """What the name of an image tells, or, where names of the data set tell nothing, where it lies: its own slide."""
    if definition.names == ANY_NAME and (origin := definition.origin(inside, split)) is not None:
        return origin
    return origin_of(path, split, definition)


def _inside(path: Path, source: Path) -> str:
    return path.relative_to(source).with_suffix("").as_posix()


def _of_coco(name: str, file: Path, by_name: Mapping[str, list[Path]]) -> Path:
    """The file of an image: the one that ends as its name does, the nearest to the JSON of them."""
    wanted = [part for part in re.split(r"[/\\]", name) if part not in (".", "")]
    there = [
        path for path in by_name.get(wanted[-1] if wanted else "", ()) if list(path.parts[-len(wanted) :]) == wanted
    ]
    beside = [path for path in there if path.is_relative_to(file.parent)]
    there = beside if len(beside) == 1 else there
    if len(there) != 1:
        how = "is not there" if not there else f"is there {len(there)} times"
        raise InputError(f"{file}: its image {name[:80]!r} {how}; put it beside the JSON, once")
    return there[0]


class _Splits:
    """Says of which split an image is, by its path."""

    def __init__(self, source: Path, definition: Source) -> None:
        rules = definition.splits
        self._source = source
        self._patterns = [(split, re.compile(rule)) for split in SPLITS if isinstance(rule := rules.get(split), str)]
        self._by_folders = not rules

    def __call__(self, path: Path) -> str:
        inside = path.relative_to(self._source)
        for split, pattern in self._patterns:
            if pattern.search(inside.as_posix()):
                return split
        return self._named(inside.parts[:-1]) or "train" if self._by_folders else "train"

    def of_coco(self, file: Path, image: Path) -> str:
        """Of an image that a JSON has: by the JSON's name, `instances_val2017.json`, or by a folder of either."""
        words = tuple(re.findall("[a-z]+", file.stem.lower()))
        return (
            self._named(words)
            or self._named(file.relative_to(self._source).parts[:-1])
            or self._named(image.relative_to(self._source).parts[:-1])
            or "train"
        )

    def _named(self, parts: tuple[str, ...]) -> str:
        for part in parts:
            for split, names in SPLIT_FOLDERS.items():
                if part.lower() in names:
                    return split
        return ""


def _split_by_patients(files: list[SourceFile], source: Path, definition: Source) -> list[SourceFile]:
    """Give images of a site, or of a share of the patients, the split that the data set has for them."""
    for split, rule in definition.splits.items():
        if isinstance(rule, tuple):
            files = [replace(file, split=split) if site_of(file) in rule else file for file in files]
        if isinstance(rule, float):
            among = [file.origin.patient_id for file in files if file.origin is not None and file.split == "train"]
            try:
                held = held_out(among, rule, _SEED)
            except InputError:
                logger.warning("%s: all images are of one patient, and none is held out for %s", source, split)
                continue
            files = [
                replace(file, split=split) if file.origin is not None and file.origin.patient_id in held else file
                for file in files
            ]
    return files


def site_of(file: SourceFile) -> str:
    """The site of an image: what a table or its name says, else that of a TCGA barcode; empty where none is known."""
    if file.origin is None:
        return ""
    barcode = of_barcode(file.origin.slide_id)
    return file.origin.site or (barcode[1] if barcode else "")


def _shared(files: list[SourceFile], source: Path, definition: Source) -> list[SourceFile]:
    """Where the published splits are known to share patients, let each part of a patient be one of its own."""
    common = patients_in_common(files) if definition.shares_patients else []
    if not common:
        return files
    logger.warning(
        "%s: %d patients, such as %s, are in more than one split, as published: figures of test are too good. Splits "
        "by patients: %s: {splits: {test: 0.3}, shares_patients: false} in sources.yaml",
        source,
        len(common),
        common[0],
        definition.name,
    )
    return list(_apart(files, set(common)))


def _apart(files: list[SourceFile], common: set[str]) -> Iterator[SourceFile]:
    for file in files:
        origin = file.origin
        if origin is not None and origin.patient_id in common:
            origin = replace(origin, patient=f"{origin.patient_id}-{file.split}")
        yield replace(file, origin=origin)


_FINDERS: Mapping[str, Callable[[Path, Source, Vocabulary], list[SourceFile]]] = {
    "named": _named,
    "pairs": _pairs,
    "folders": _folders,
    "table": _table,
    "coco": _coco,
}
