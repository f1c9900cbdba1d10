"""Importing public data sets of labelled patches: any of them ends in the same manifest as slides that were cut."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm.cohort import Cohort
from wsss_mm.cohort.splits import check_valid
from wsss_mm.errors import InputError
from wsss_mm.patches.images import Keep, read_image, read_mask, store_patch
from wsss_mm.patches.layout import SourceFile, find_files
from wsss_mm.patches.manifest import build_manifest, check_splits
from wsss_mm.patches.parallel import map_files
from wsss_mm.patches.regions import TILE, cut_region
from wsss_mm.patches.truth import classes_in
from wsss_mm.slides.patients import check_alike
from wsss_mm.slides.tissue import coloured
from wsss_mm.sources import SOURCES, Origin, Source, label_of, of_barcode, origin_of, without_label
from wsss_mm.vocabulary import IGNORE, Vocabulary, get_vocabulary

if TYPE_CHECKING:
    from wsss_mm.settings import PatchSettings

logger = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Item:
    """A file of the source and what is known of it before its pixels are read."""

    file: SourceFile
    split: str  # the cohort's, where the source's own may be held out of
    origin: Origin
    labels: tuple[bool, ...] | None  # training files alone: those of evaluation files come from their masks


def list_slides(name: str, source: Path) -> pd.DataFrame:
    """The slides behind a data set of patches.

    Args:
        name: a name in `SOURCES`.
        source: the folder that holds the splits.

    Returns:
        Columns of data/cohort/slides.csv; those of files are empty. The splits are the source's own, the sites those of
        TCGA barcodes. Where no split is valid, `labelled` says which slides have a training patch with a label: of
        these some are to be held out.

    Raises:
        InputError: the folder is not laid out as it should be, or a slide or patient is in two splits.
    """
    definition = _definition(name)
    files = find_files(Path(source), without_label)
    origins = [(item.split, origin_of(item.image, item.split, definition)) for item in files]
    rows = {(origin.slide_id, origin.patient_id, split) for split, origin in origins}
    slides = pd.DataFrame(sorted(rows), columns=["slide_id", "patient_id", "split"])
    check_splits(slides, str(source))
    check_alike(slides, str(source))
    if not (slides["split"] == "valid").any():
        vocabulary = get_vocabulary(definition.vocabulary)
        training = [(file, of) for file, (split, of) in zip(files, origins, strict=True) if split == "train"]
        useful = {of.slide_id for file, of in training if any(label_of(file.image, vocabulary))}
        slides["labelled"] = slides["slide_id"].isin(useful)
    sites = [barcode[1] if (barcode := of_barcode(name)) else "" for name in slides["slide_id"]]
    if any(sites):
        logger.info("%s: the site of %d slides is that of their TCGA barcode", source, len(list(filter(None, sites))))
    return slides.assign(site=sites, path="", mpp=definition.mpp, roi="", annotation="")


def import_patches(
    name: str, source: Path, out: Path, cohort: Cohort, *, settings: "PatchSettings", vocabulary: Vocabulary
) -> pd.DataFrame:
    """Copy a data set's patches into `out`: images/<split>/*.png, masks/<split>/*.png.

    Label sets of training patches come from their file names, those of evaluation patches from their masks, never from
    their names. Training patches that are labelled with nothing are left out, as are evaluation tiles whose truth is
    all ignore.

    Args:
        name: a name in `SOURCES`.
        source: the folder that holds the splits.
        out: folder to write into; made if need be.
        cohort: the data set's slides, with the split of each.
        settings: `size` must be that of the patches, `mpp` that of the data set.
        vocabulary: must be the data set's.

    Returns:
        The manifest (see `manifest_columns`), checked but not written.

    Raises:
        InputError: a setting does not fit the data set, or a file or the layout is wrong; the message names it.
    """
    store = partial(store_patch, Path(out), vocabulary=vocabulary)
    rows = import_rows(name, source, store, cohort, settings=settings, vocabulary=vocabulary)
    return build_manifest(rows, vocabulary, str(source))


def import_rows(
    name: str, source: Path, keep: Keep, cohort: Cohort, *, settings: "PatchSettings", vocabulary: Vocabulary
) -> list[dict[str, Any]]:
    """Import patches as `import_patches` does, whatever becomes of them.

    Args:
        name: as for `import_patches`, and so are the others.
        source: likewise.
        keep: is given patch_id, split, `image` and `mask`, and gives back what the manifest says of their files.
        cohort: likewise.
        settings: likewise.
        vocabulary: likewise.
    """
    definition = _definition(name)
    for key, why in misfits(name, settings, vocabulary):
        raise InputError(f"params.yaml: {key}: {why}")
    items = _items(Path(source), definition, vocabulary, cohort)
    importer = _Importer(definition, vocabulary, settings, keep)
    sites = {slide.slide_id: slide.site or None for slide in cohort}
    found = (row for rows in map_files(importer.store, items, f"import {name}") for row in rows)
    return [row | {"site": sites[row["slide_id"]]} for row in found]


def _definition(name: str) -> Source:
    if name not in SOURCES:
        raise InputError(f"params.yaml: cohort.name: no data set of patches {name!r}; choose from {', '.join(SOURCES)}")
    return SOURCES[name]


def misfits(name: str, settings: "PatchSettings", vocabulary: Vocabulary) -> Iterator[tuple[str, str]]:
    """Parameters that are not those of a data set, and why."""
    definition, anew = _definition(name), f"set it so, or run: wsss-mm profile {name}"
    if vocabulary.codes != get_vocabulary(definition.vocabulary).codes:
        yield (
            "cohort.vocabulary",
            f"is {vocabulary.name!r}, but {name} has the classes of {definition.vocabulary!r}; {anew}",
        )
    if not np.isclose(settings.mpp, definition.mpp, rtol=0.1):
        yield "patches.mpp", f"is {settings.mpp}, but the patches of {name} are at {definition.mpp} um/px; {anew}"


def _items(source: Path, definition: Source, vocabulary: Vocabulary, cohort: Cohort) -> list[_Item]:
    files = find_files(source, without_label)
    origins = [origin_of(file.image, file.split, definition) for file in files]
    labels = [label_of(file.image, vocabulary) if file.split == "train" else None for file in files]
    splits = _splits(source, files, origins, cohort)
    items = [_Item(*parts) for parts in zip(files, splits, origins, labels, strict=True)]
    unlabelled = [item for item in items if item.labels is not None and not any(item.labels)]
    if unlabelled:
        logger.warning("%d training patches are labelled with no class and are left out", len(unlabelled))
        items = [item for item in items if item.labels is None or any(item.labels)]
    check_valid((item.split for item in items), str(source))
    return items


def _splits(source: Path, files: list[SourceFile], origins: list[Origin], cohort: Cohort) -> list[str]:
    """The split of each file's slide: the source's own, or `valid` where the cohort holds a training slide out."""
    known, found = cohort.splits, []
    for file, origin in zip(files, origins, strict=True):
        split = known.get(origin.slide_id)
        if split != file.split and (split, file.split) != ("valid", "train"):
            raise InputError(
                f"{file.image}: {cohort.table} has its slide {origin.slide_id!r} in split {split or 'none'}, but it "
                f"lies in {file.split} of {source}; make the table again: dvc repro cohort"
            )
        found.append(split)
    return found


@dataclass(frozen=True)
class _Importer:
    """Reads one file after another and passes on its patches."""

    definition: Source
    vocabulary: Vocabulary
    settings: "PatchSettings"
    keep: Keep

    def store(self, item: _Item) -> list[dict[str, Any]]:
        """Read a file, keep its patches, and give their rows of the manifest."""
        file = item.file
        image = read_image(file.image)
        mask = None
        if file.mask:
            colors = self.vocabulary.colors
            mask = read_mask(file.mask, len(colors), self.definition.ignored, colors)
        if mask is not None and mask.shape != image.shape[:2]:
            raise InputError(f"{file.mask}: {_size(mask)} px, but its image has {_size(image)} px; get both again")
        if item.labels is None and self.definition.regions:
            return self._store_region(item, image, _given(mask, file))
        if image.shape[:2] != (self.settings.size, self.settings.size):
            raise InputError(
                f"{file.image}: {_size(image)} px, but patches.size in params.yaml is {self.settings.size}; "
                "set it to the size of the patches, or remove the file"
            )
        labels = self._classes_in(_given(mask, file)) if item.labels is None else item.labels
        return [self._store(item, item.origin, image=image, mask=mask, labels=labels)]

    def _store_region(self, item: _Item, image: Pixels, mask: Pixels) -> list[dict[str, Any]]:
        return [
            self._store(
                item,
                Origin(item.origin.slide_id, tile.x, tile.y),
                image=tile.image,
                mask=tile.mask,
                labels=self._classes_in(tile.seen),
            )
            for tile in cut_region(image, mask, TILE)
            if (tile.mask != IGNORE).any()
        ]

    def _store(
        self, item: _Item, origin: Origin, *, image: Pixels, mask: Pixels | None, labels: tuple[bool, ...]
    ) -> dict[str, Any]:
        return {
            "slide_id": origin.slide_id,
            "patient_id": origin.patient_id,
            "x": origin.x,
            "y": origin.y,
            "mpp": self.definition.mpp,
            "tissue": round(float(coloured(image, self.definition.mpp).mean()), 6),
            **dict(zip(self.vocabulary.codes, labels, strict=True)),
            **self.keep(origin.patch_id, item.split, image=image, mask=mask),
        }

    def _classes_in(self, mask: Pixels) -> tuple[bool, ...]:
        return tuple(classes_in(mask, len(self.vocabulary), self.settings.min_class_share).tolist())


def _given(mask: Pixels | None, file: SourceFile) -> Pixels:
    """The mask of an evaluation image, which `find_files` leaves out where there is none."""
    if mask is None:
        raise InputError(f"{file.image}: an image of {file.split} without a mask; add the mask, or remove the image")
    return mask


def _size(array: Pixels) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"
