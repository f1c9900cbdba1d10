"""Importing data sets of labelled patches and regions: any ends in the same manifest as slides that were cut."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from wsss_mm.cohort import Cohort
from wsss_mm.cohort.splits import check_valid
from wsss_mm.errors import InputError
from wsss_mm.patches.coded import MaskReader, mask_reader
from wsss_mm.patches.finding import find, site_of
from wsss_mm.patches.images import Keep, Pixels, read_image, store_patch
from wsss_mm.patches.layout import SourceFile
from wsss_mm.patches.manifest import build_manifest, check_splits
from wsss_mm.patches.parallel import map_files
from wsss_mm.patches.regions import TILE, cut_region, fitted
from wsss_mm.patches.truth import classes_in
from wsss_mm.slides.patients import check_alike
from wsss_mm.slides.tissue import coloured
from wsss_mm.sources import SOURCES, UNKNOWN, Origin, Source, unknown_source
from wsss_mm.vocabulary import IGNORE, Vocabulary, get_vocabulary

if TYPE_CHECKING:
    from wsss_mm.settings import PatchSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Item:
    """A file of the source and what is known of it before its pixels are read."""

    file: SourceFile
    split: str  # the cohort's, where the source's own may be held out of
    origin: Origin

    @property
    def labels(self) -> tuple[bool, ...] | None:
        """The label set, where it does not come from the mask."""
        return self.file.labels


def list_slides(name: str, source: Path, vocabulary: Vocabulary | None = None) -> pd.DataFrame:
    """The slides behind a data set of patches.

    Args:
        name: a name in `SOURCES`.
        source: the data set's folder.
        vocabulary: the classes, of a data set that has none of its own.

    Returns:
        Columns of data/cohort/slides.csv; those of files are empty. The splits are the source's own, the sites those of
        its table or of TCGA barcodes. Where no split is valid, `labelled` says which slides have a training patch with
        a label: of these some are to be held out.

    Raises:
        InputError: the folder is not laid out as it should be, or a slide or patient is in two splits.
    """
    definition = _definition(name)
    files = find(Path(source), definition, _classes(definition, vocabulary))
    origins = [(file.split, _known(file.origin)) for file in files]
    rows = {(origin.slide_id, origin.patient_id, split) for split, origin in origins}
    slides = pd.DataFrame(sorted(rows), columns=["slide_id", "patient_id", "split"])
    check_splits(slides, str(source))
    check_alike(slides, str(source))
    if not (slides["split"] == "valid").any():
        useful = {
            of.slide_id for file, (split, of) in zip(files, origins, strict=True) if split == "train" and _useful(file)
        }
        slides["labelled"] = slides["slide_id"].isin(useful)
    sites = {_known(file.origin).slide_id: site_of(file) for file in files}
    if any(sites.values()) and definition.table is None:
        told = sum(map(bool, sites.values()))
        logger.info("%s: the site of %d slides is that of their TCGA barcode", source, told)
    if not (slides["split"] == "test").any():
        logger.warning("%s: has no test split: stage evaluate will have nothing to judge on", source)
    mpp = definition.mpp if definition.mpp is not None else ""
    return slides.assign(site=slides["slide_id"].map(sites), path="", mpp=mpp, roi="", annotation="")


def _useful(file: SourceFile) -> bool:
    return file.labels is None or any(file.labels)


def _known(origin: Origin | None) -> Origin:
    assert origin is not None  # `find` gives each file one
    return origin


def _classes(definition: Source, vocabulary: Vocabulary | None) -> Vocabulary:
    if definition.vocabulary is not None:
        return get_vocabulary(definition.vocabulary)
    if vocabulary is None:
        raise InputError(f"{definition.name} has no classes of its own; name a vocabulary")
    return vocabulary


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
    importer = _Importer(
        definition, vocabulary, settings, keep, mask_reader(definition.masks, vocabulary, Path(source))
    )
    sites = {slide.slide_id: slide.site or None for slide in cohort}
    found = (row for rows in map_files(importer.store, items, f"import {name}") for row in rows)
    return [row | {"site": sites[row["slide_id"]]} for row in found]


def _definition(name: str) -> Source:
    if name not in SOURCES:
        raise InputError(f"params.yaml: cohort.name: {unknown_source(name)}")
    return SOURCES[name]


def misfits(name: str, settings: "PatchSettings", vocabulary: Vocabulary) -> Iterator[tuple[str, str]]:
    """Parameters that are not those of a data set, and why."""
    definition, anew = _definition(name), f"set it so, or run: wsss-mm import FOLDER --as {name}"
    if definition.vocabulary is not None and vocabulary.codes != get_vocabulary(definition.vocabulary).codes:
        yield (
            "cohort.vocabulary",
            f"is {vocabulary.name!r}, but {name} has the classes of {definition.vocabulary!r}; {anew}",
        )
    if definition.mpp is not None and not np.isclose(settings.mpp, definition.mpp, rtol=0.1):
        yield "patches.mpp", f"is {settings.mpp}, but the patches of {name} are at {definition.mpp} um/px; {anew}"


def _items(source: Path, definition: Source, vocabulary: Vocabulary, cohort: Cohort) -> list[_Item]:
    files = find(source, definition, vocabulary)
    splits = _splits(source, files, cohort)
    items = [_Item(file, split, _known(file.origin)) for file, split in zip(files, splits, strict=True)]
    unlabelled = [item for item in items if item.labels is not None and not any(item.labels)]
    if unlabelled:
        logger.warning("%d training patches are labelled with no class and are left out", len(unlabelled))
        items = [item for item in items if item.labels is None or any(item.labels)]
    check_valid((item.split for item in items), str(source))
    if not any(item.file.mask or item.file.areas for item in items):
        logger.warning("%s: no image has a mask: label sets can be judged, pixels cannot", source)
    return items


def _splits(source: Path, files: list[SourceFile], cohort: Cohort) -> list[str]:
    """The split of each file's slide: the source's own, or `valid` where the cohort holds a training slide out."""
    known, found = cohort.splits, []
    for file in files:
        slide_id = _known(file.origin).slide_id
        split = known.get(slide_id)
        if split != file.split and (split, file.split) != ("valid", "train"):
            raise InputError(
                f"{file.image}: {cohort.table} has its slide {slide_id!r} in split {split or 'none'}, but it "
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
    reader: MaskReader

    @cached_property
    def mpp(self) -> float:
        """um/px of all patches."""
        return self.settings.mpp if self.definition.mpp is None else self.definition.mpp

    def store(self, item: _Item) -> list[dict[str, Any]]:
        """Read a file, keep its patches, and give their rows of the manifest."""
        file, size = item.file, self.settings.size
        image = read_image(file.image)
        mask = self._mask(file)
        if mask is not None and mask.shape != image.shape[:2]:
            where = f"{file.areas.path}: {file.image.name}" if file.areas else str(file.mask)
            raise InputError(f"{where}: {_size(mask)} px, but its image has {_size(image)} px; get both again")
        regions = self.definition.regions
        if item.labels is None and regions != "none":
            return self._store_region(item, image, _given(mask, file), size if regions == "all" else TILE)
        if image.shape[:2] == (size, size):
            labels = self._classes_in(_given(mask, file)) if item.labels is None else item.labels
            return [self._store(item, item.origin, image=image, mask=mask, labels=labels)]
        if item.labels is None or regions == "none":
            raise InputError(
                f"{file.image}: {_size(image)} px, but patches.size in params.yaml is {size}; "
                "set it to the size of the patches, or remove the file"
            )
        return self._store_fitted(item, image, mask, item.labels)

    def _mask(self, file: SourceFile) -> Pixels | None:
        if file.areas is not None:
            return file.areas.mask()
        return None if file.mask is None else self.reader.read(file.mask, file.instance)

    def _store_region(self, item: _Item, image: Pixels, mask: Pixels, size: int) -> list[dict[str, Any]]:
        """Tiles of a region, whose masks say which classes they hold."""
        return [
            self._store(
                item,
                _inside(item.origin, tile.x, tile.y),
                image=tile.image,
                mask=tile.mask,
                labels=self._classes_in(tile.seen),
            )
            for tile in cut_region(image, mask, size)
            if (tile.mask != IGNORE).any()
        ]

    def _store_fitted(
        self, item: _Item, image: Pixels, mask: Pixels | None, labels: tuple[bool, ...]
    ) -> list[dict[str, Any]]:
        """Patches of an image with a label set that is smaller or larger than a patch.

        Of one class, all of it is that class, and each tile. Of several, nobody says where each of them is: the patch
        in the middle stands for the image.
        """
        size = self.settings.size
        if sum(labels) > 1:
            middle = None if mask is None else fitted(mask, size)
            return [self._store(item, item.origin, image=fitted(image, size), mask=middle, labels=labels)]
        truth = np.zeros(image.shape[:2], np.uint8) if mask is None else mask
        tiles = list(cut_region(image, truth, size))
        return [
            self._store(
                item,
                _inside(item.origin, tile.x, tile.y) if len(tiles) > 1 else item.origin,
                image=tile.image,
                mask=None if mask is None else tile.mask,
                labels=labels,
            )
            for tile in tiles
        ]

    def _store(
        self, item: _Item, origin: Origin, *, image: Pixels, mask: Pixels | None, labels: tuple[bool, ...]
    ) -> dict[str, Any]:
        return {
            "slide_id": origin.slide_id,
            "patient_id": origin.patient_id,
            "x": origin.x,
            "y": origin.y,
            "mpp": self.mpp,
            "tissue": round(float(coloured(image, self.mpp).mean()), 6),
            **dict(zip(self.vocabulary.codes, labels, strict=True)),
            **self.keep(origin.patch_id, item.split, image=image, mask=mask),
        }

    def _classes_in(self, mask: Pixels) -> tuple[bool, ...]:
        return tuple(classes_in(mask, len(self.vocabulary), self.settings.min_class_share).tolist())


def _inside(origin: Origin, x: int, y: int) -> Origin:
    """A place in an image that is cut, px of it: on the slide, where it is known where the image lies."""
    if origin.x == UNKNOWN:
        return replace(origin, rest="_".join(filter(None, (origin.rest, str(x), str(y)))))
    return replace(origin, x=origin.x + x, y=origin.y + y)


def _given(mask: Pixels | None, file: SourceFile) -> Pixels:
    """The mask of an image whose label set it says; `find` leaves out those that have none."""
    if mask is None:
        raise InputError(f"{file.image}: an image of {file.split} without a mask; add the mask, or remove the image")
    return mask


def _size(array: Pixels) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"
