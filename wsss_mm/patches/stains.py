"""The stains of a folder of patches: what networks are shown is recoloured slide by slide, and files stay as they are.

`stain.json` beside the manifest holds how each slide is stained, and how the training slides typically are, which all
are made to look like. Who shows patches to a network reads them with `patch_reader`. Without that file nothing changes.
"""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from wsss_mm.errors import InputError
from wsss_mm.formats import read_object, write_object
from wsss_mm.patches.images import Pixels, read_image
from wsss_mm.patches.parallel import map_files
from wsss_mm.places import STAIN, STAINS
from wsss_mm.slides.stain import Method, Recolour, Stain, fit_stain, recolour, stain_of_slide, typical

if TYPE_CHECKING:
    from wsss_mm.cohort import Cohort

logger = logging.getLogger(__name__)

_PATCHES = 48  # of a slide that is known by its patches alone
_PIXELS = 1 << 14  # of each


def write_stains(folder: Path, manifest: pd.DataFrame, method: Method, cohort: "Cohort | None" = None) -> None:
    """Fit the stain of each slide that has patches, and the target on training slides alone.

    Args:
        folder: of the patches; gets `stain.json`.
        manifest: of the patches.
        method: see `wsss_mm.slides.stain`.
        cohort: opens the slides, whose own tissue is looked at; None where only patches of them are known.

    Raises:
        InputError: a slide is damaged, or no training slide has enough tissue.
    """
    groups = [(str(slide_id), rows) for slide_id, rows in manifest.groupby("slide_id", sort=True, observed=True)]
    slides = {} if cohort is None else {slide.slide_id: slide for slide in cohort}

    def of_slide(group: tuple[str, pd.DataFrame]) -> Stain | None:
        slide_id, rows = group
        if slide_id not in slides:
            return fit_stain(np.concatenate(list(_pixels(folder, rows))), method)
        with slides[slide_id].open() as reader:
            return stain_of_slide(reader, method, float(rows["mpp"].iloc[0]))

    stains = map_files(of_slide, groups, "fit stains")
    found = {slide_id: stain for (slide_id, _), stain in zip(groups, stains, strict=True) if stain is not None}
    train = set(manifest.loc[manifest["split"] == "train", "slide_id"])
    target = typical(stain for slide_id, stain in found.items() if slide_id in train)
    if target is None:
        raise InputError(
            f"params.yaml: stain.normalization: {method} needs a training slide with enough tissue to tell its stains, "
            "and there is none; set it to none"
        )
    if left := [slide_id for slide_id, _ in groups if slide_id not in found]:
        logger.warning("%d slides have too little tissue to tell their stains, and keep them: %s", len(left), left[:5])
    said = {slide_id: stain.to_json() for slide_id, stain in found.items()}
    write_object(folder / STAIN, STAINS, {"target": target.to_json(), "slides": said})


def _pixels(folder: Path, rows: pd.DataFrame) -> Iterator[Pixels]:
    """Some of the pixels of some of a slide's patches, evenly."""
    for index in np.unique(np.linspace(0, len(rows) - 1, _PATCHES).round().astype(int)):
        image = read_image(folder / rows["path"].iloc[index]).reshape(-1, 3)
        yield image[:: max(1, len(image) // _PIXELS)]


def target_of(folder: Path) -> Stain | None:
    """What the slides of a folder of patches are made to look like; None where they stay as they are.

    Raises:
        InputError: the file that says so is damaged.
    """
    return None if (found := _read(folder)) is None else found[0]


def patch_reader(folder: Path, rows: pd.DataFrame) -> Callable[[Path], Pixels]:
    """What reads the image of a patch as networks are shown it.

    Args:
        folder: of the patches.
        rows: of the manifest, with `path` and `slide_id` of each patch that will be read.

    Raises:
        InputError: the file that says how slides are stained is damaged.
    """
    if (found := _read(folder)) is None:
        return read_image
    target, stains = found
    slides = {folder / path: str(slide_id) for path, slide_id in zip(rows["path"], rows["slide_id"], strict=True)}
    changes: dict[str, Recolour] = {}

    def read(path: Path) -> Pixels:
        image, slide_id = read_image(path), slides[path]
        if slide_id not in stains:
            return image
        if slide_id not in changes:
            changes[slide_id] = recolour(stains[slide_id], target)
        return changes[slide_id](image)

    return read


def _read(folder: Path) -> tuple[Stain, dict[str, Stain]] | None:
    path = folder / STAIN
    if not path.is_file():
        return None
    content = read_object(path, STAINS)
    target = Stain.from_json(content.get("target"), path)
    slides: Any = content.get("slides")
    if not isinstance(slides, dict):
        raise InputError(f"{path}: names no slides; {STAINS.again}")
    stains = {slide_id: Stain.from_json(said, path) for slide_id, said in slides.items()}
    if any(stain.method != target.method for stain in stains.values()):
        raise InputError(f"{path}: holds stains that were found in different ways; {STAINS.again}")
    return target, stains
