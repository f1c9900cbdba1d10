"""Finding the files of a patch data set: copies of the same data set name their folders differently."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wsss_mm.errors import InputError
from wsss_mm.files import leads_outside
from wsss_mm.patches.areas import Areas
from wsss_mm.patches.images import SUFFIXES
from wsss_mm.sources import Origin
from wsss_mm.vocabulary import Split

logger = logging.getLogger(__name__)

SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training", "1.training"),
    "valid": ("val", "valid", "validation", "2.validation"),
    "test": ("test", "testing", "3.testing"),
}
_IMAGE_FOLDERS = ("img", "imgs", "image", "images")
_MASK_FOLDERS = ("mask", "masks")


@dataclass(frozen=True)
class SourceFile:
    """An image of a data set and, where there is one, its mask.

    Attributes:
        split: train, valid or test.
        image: its path.
        mask: of its mask.
        origin: its slide, where that was looked for already.
        labels: which classes it holds, where something else than its name or its mask says it.
        instance: index of the class that objects in its mask are of.
        areas: what COCO draws on it.
    """

    split: str
    image: Path
    mask: Path | None
    origin: Origin | None = None
    labels: tuple[bool, ...] | None = None
    instance: int | None = None
    areas: Areas | None = None


def find_files(source: Path, key: Callable[[str], str]) -> list[SourceFile]:
    """List the images of a data set, split by split, sorted by name.

    Images lie in the split's folder or in `img/` inside it, masks in `mask/`. Evaluation images without a mask and
    masks without an image are named in a warning and left out; training images need no mask. `source` itself may be a
    link; what it holds may not lead out of it.

    Args:
        source: the folder that holds the splits.
        key: what an image and its mask have in common, from a file name without its suffix.

    Raises:
        InputError: the folder, the training split or a mask folder is missing, a link leads outside, or two files have
            the same key.
    """
    if not source.is_dir():
        raise InputError(
            f"{source}: no such folder; set cohort.source in params.yaml to the folder that holds training/"
        )
    found = []
    for split, names in SPLIT_FOLDERS.items():
        folder = _child(source, names)
        if folder is None:
            continue
        images = _by_key(_child(folder, _IMAGE_FOLDERS) or folder, key, source)
        mask_folder = _child(folder, _MASK_FOLDERS)
        if split != "train" and mask_folder is None:
            raise InputError(f"{folder}: has no mask/ folder; evaluation needs masks: add it, or remove {folder.name}/")
        masks = _by_key(mask_folder, key, source) if mask_folder else {}
        if split != "train":
            _warn_of_orphans(images, masks)
            images = {name: path for name, path in images.items() if name in masks}
        found += [SourceFile(split, path, masks.get(name)) for name, path in images.items()]
    if not any(item.split == "train" for item in found):
        raise InputError(f"{source}: no training images; they belong in training/ or train/ (or img/ inside it)")
    return found


def _child(folder: Path, names: tuple[str, ...]) -> Path | None:
    matches = sorted(path for path in folder.iterdir() if path.name.lower() in names and path.is_dir())
    if len(matches) > 1:
        raise InputError(f"{folder}: has both {matches[0].name}/ and {matches[1].name}/; keep one of them")
    return matches[0] if matches else None


def _by_key(folder: Path, key: Callable[[str], str], source: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith(".") or not path.is_file():
            continue
        if leads_outside(path, source):
            raise InputError(f"{path}: a link that leads out of {source}; copy the file there, or remove the link")
        name = key(path.stem)
        if name in files:
            raise InputError(f"{path}: names the same patch as {files[name].name}; keep one of them")
        files[name] = path
    return files


def _warn_of_orphans(images: dict[str, Path], masks: dict[str, Path]) -> None:
    for name in sorted(images.keys() ^ masks.keys()):
        path, missing = (images[name], "mask") if name in images else (masks[name], "image")
        logger.warning("%s has no %s and is left out", path, missing)
