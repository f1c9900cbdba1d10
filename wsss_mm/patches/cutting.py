"""Cutting slides into labelled patches (METHOD.md section 1)."""

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm.clusters import map_on_cluster, named_cluster
from wsss_mm.cohort import Cohort, Slide
from wsss_mm.cohort.splits import check_valid
from wsss_mm.errors import InputError
from wsss_mm.patches.grid import boxes_of, grid_of
from wsss_mm.patches.images import Keep, store_patch
from wsss_mm.patches.manifest import build_manifest, unsure_classes
from wsss_mm.patches.parallel import map_files
from wsss_mm.patches.truth import Truth, class_shares, classes_in, read_drawn_truth, read_map_truth, read_patch_labels
from wsss_mm.slides import SlideReader
from wsss_mm.slides.tissue import find_tissue
from wsss_mm.vocabulary import IGNORE, Vocabulary

if TYPE_CHECKING:
    from wsss_mm.settings import PatchSettings

logger = logging.getLogger(__name__)

_NOTHING = 255  # all pixels of what was not scanned; glass is never as even


def cut_slides(
    cohort: Cohort,
    out: Path,
    *,
    settings: "PatchSettings",
    vocabulary: Vocabulary,
    without: Collection[str] = (),
) -> pd.DataFrame:
    """Cut the slides of a table into patches: images/<split>/*.png and masks/<split>/*.png in `out`.

    What is known of a slide decides what becomes of it:

    - Truth or annotations (GeoJSON) of a valid or test slide: all patches of a non-overlapping grid with enough tissue,
      where anything is annotated; a patch holds the classes of at least `min_class_share`. Annotate such patches whole,
      or their label sets lack what is not drawn. Rows of labels.csv do not count there; where they differ from what is
      drawn, that is said.
    - Rows in its labels.csv: exactly the patches they name, with their label sets.
    - Truth, `truth/<slide_id>.tif` beside the table, as the phantom cohort has it, of a training slide: the grid, too.
      Training patches are labelled in `labels`, never from drawings.
    - Nothing: no patches; such a slide can still be segmented.

    Masks are stored wherever there is truth or annotation, for training patches too: to judge pseudo-labels, and for
    the fully supervised upper bound. Training patches that hold no class are left out.

    Args:
        cohort: the slides, their splits and labels (see `wsss_mm.patches.truth.read_patch_labels`).
        out: folder to write into; made if need be.
        settings: resolution, size and thresholds.
        vocabulary: the classes.
        without: slides to leave out, by slide_id; they are not opened.

    Returns:
        The manifest, checked but not written. `tissue` is the share by the slide's tissue mask.

    Raises:
        InputError: a slide is missing, cannot be opened or has no mpp, or a table, truth or annotation is wrong.
    """
    store = partial(store_patch, Path(out), vocabulary=vocabulary)
    rows = cut_rows(cohort, store, settings=settings, vocabulary=vocabulary, without=without)
    return build_manifest(rows, vocabulary, str(cohort.table))


def cut_rows(
    cohort: Cohort,
    keep: Keep,
    *,
    settings: "PatchSettings",
    vocabulary: Vocabulary,
    without: Collection[str] = (),
    side: int | None = None,
) -> list[dict[str, Any]]:
    """Cut slides as `cut_slides` does, whatever becomes of the patches.

    On a cluster, where one is named (see `wsss_mm.clusters`): a task a slide, and the same rows in the same order.

    Args:
        cohort: as for `cut_slides`.
        keep: is given patch_id, split, `image` and `mask`, and gives back what the manifest says of their files. On a
            cluster it travels to the nodes, and what it writes it writes atomically.
        settings: as for `cut_slides`, and so are those that follow.
        vocabulary: likewise.
        without: likewise.
        side: width and height of the images, px, where `keep` does with smaller ones; reading takes most of the time.
    """
    if not (slides := cohort.with_files()):
        raise InputError(f"{cohort.table}: no row has a path; give the slides' files in column path")
    ids = [slide.slide_id for slide in slides]
    known = None if cohort.labels is None else read_patch_labels(cohort.labels, ids, vocabulary)
    check_valid((slide.split for slide in slides), str(cohort.table))
    slides = cohort.with_files(without=without)
    for slide in slides:  # all of them can be opened, before hours are spent on the first
        slide.open().close()
    cutter = _Cutter(keep, settings, vocabulary, known, side or settings.size, cohort.labels)
    if named_cluster():
        cut = map_on_cluster(cutter.cut, slides, "cut slides", lambda slide: slide.path)
    else:
        cut = map_files(cutter.cut, slides, "cut slides")
    return [row for rows in cut for row in rows]


@dataclass(frozen=True)
class _Cutter:
    """Cuts one slide after another."""

    keep: Keep
    settings: "PatchSettings"
    vocabulary: Vocabulary
    labels: pd.DataFrame | None
    side: int  # px, of the images
    labels_path: Path | None = None

    def cut(self, slide: Slide) -> list[dict[str, Any]]:
        """Write the patches of a row of the slide table, and give their rows of the manifest."""
        with slide.open() as reader:
            truth = self._truth(slide, reader)
            said = None if self.labels is None else self.labels[self.labels["slide_id"] == slide.slide_id]
            labelled = said is not None and len(said) > 0
            if labelled and not (truth is not None and slide.split != "train"):
                rows = list(self._labelled(slide, reader, truth, said))
            elif truth is not None and slide.known_whole:
                if labelled:
                    self._compare(slide, reader, truth, said)
                rows = list(self._gridded(slide, reader, truth))
            else:
                logger.warning("%s: nothing is known of its tissues; it gives no patches", slide.slide_id)
                return []
        if not rows:
            logger.warning("%s: no patch has enough tissue and truth; look at its roi and annotation", slide.slide_id)
        logger.info("%s: %d patches", slide.slide_id, len(rows))
        return rows

    def _labelled(
        self, slide: Slide, reader: SlideReader, truth: Truth | None, rows: pd.DataFrame
    ) -> Iterator[dict[str, Any]]:
        corners = rows[["x", "y"]].to_numpy()
        boxes = boxes_of(corners, reader, self.settings)
        names = self._names(slide, rows)
        _check_places(names, boxes, reader)
        tissue = find_tissue(reader, leave_out_pen=self.settings.leave_out_pen).share(boxes)
        states = rows[list(self.vocabulary.codes)].to_numpy()
        parts = zip(names, corners.tolist(), tissue, states, rows["unsure"], strict=True)
        for name, (x, y), share, labels, unsure in parts:
            mask = None if truth is None else truth.mask(x, y, self.settings.size, self.settings.mpp)
            said = {"labels": labels, "unsure": unsure}
            yield self._store(slide, reader, (x, y), **said, mask=mask, tissue=float(share), name=name)

    def _compare(self, slide: Slide, reader: SlideReader, truth: Truth, rows: pd.DataFrame) -> None:
        """Say which labels of an outlined slide, where outlines count, differ from them.

        A class differs where it is outlined and called absent, or called present in a patch that is outlined whole
        without it. Patches where nothing is outlined are counted apart.
        """
        names = self._names(slide, rows)
        _check_places(names, boxes_of(rows[["x", "y"]].to_numpy(), reader, self.settings), reader)
        differing, beside = [], 0
        for name, row in zip(names, rows.to_dict("records"), strict=True):
            mask = truth.mask(row["x"], row["y"], self.settings.size, self.settings.mpp)
            if (mask == IGNORE).all():
                beside += 1
                continue
            drawn = classes_in(mask, len(self.vocabulary), self.settings.min_class_share)
            lacks = (class_shares(mask, len(self.vocabulary)) == 0) & (not (mask == IGNORE).any())
            unsure = unsure_classes(row["unsure"])
            for index, code in enumerate(self.vocabulary.codes):
                if code not in unsure and (lacks[index] if row[code] else drawn[index]):
                    differing.append(
                        f"{name} {'holds' if row[code] else 'lacks'} {code}, and what is outlined does not"
                    )
                    break
        say = logger.warning if differing else logger.info
        say(
            "%s: is outlined, and its outlines count instead of its %d labelled patches, of which %d differ and %d lie "
            "where nothing is outlined%s",
            *(slide.slide_id, len(rows), len(differing), beside),
            f"; the first: {differing[0]}; correct one of them" if differing else "",
        )

    def _names(self, slide: Slide, rows: pd.DataFrame) -> list[str]:
        """What messages call labelled patches."""
        return [
            f"{self.labels_path}: line {line}: {slide.slide_id}: the patch at {x}, {y}"
            for line, x, y in zip(rows.index, rows["x"], rows["y"], strict=True)
        ]

    def _gridded(self, slide: Slide, reader: SlideReader, truth: Truth) -> Iterator[dict[str, Any]]:
        for (x, y), share in grid_of(slide, reader, self.settings):
            mask = truth.mask(x, y, self.settings.size, self.settings.mpp)
            labels = classes_in(mask, len(self.vocabulary), self.settings.min_class_share)
            if labels.any() or (slide.split != "train" and (mask != IGNORE).any()):
                yield self._store(slide, reader, (x, y), labels=labels, mask=mask, tissue=share)

    def _store(
        self,
        slide: Slide,
        reader: SlideReader,
        corner: tuple[int, int],
        *,
        labels: npt.NDArray[np.bool_],
        mask: npt.NDArray[np.uint8] | None,
        tissue: float,
        unsure: str | None = None,
        name: str = "",
    ) -> dict[str, Any]:
        image = reader.read(*corner, self.side, self.settings.mpp * self.settings.size / self.side)
        if name and image.min() == _NOTHING:
            raise InputError(f"{name} shows nothing, that part was not scanned; correct or remove the line")
        patch_id = f"{slide.slide_id}-{corner[0]}-{corner[1]}"
        return {
            **self.keep(patch_id, slide.split, image=image, mask=mask),
            "slide_id": slide.slide_id,
            "patient_id": slide.patient_id,
            "site": slide.site or None,
            "x": corner[0],
            "y": corner[1],
            "mpp": self.settings.mpp,
            "tissue": round(tissue, 6),
            **dict(zip(self.vocabulary.codes, map(bool, labels), strict=True)),
            "unsure": unsure,
        }

    def _truth(self, slide: Slide, reader: SlideReader) -> Truth | None:
        if slide.truth.is_file():
            return read_map_truth(slide.truth, reader, self.vocabulary)
        if slide.annotation:
            pen = self.settings.leave_out_pen
            return read_drawn_truth(slide.annotation, reader, self.vocabulary, leave_out_pen=pen)
        return None


def _check_places(names: Sequence[str], boxes: npt.NDArray[np.float64], reader: SlideReader) -> None:
    """Refuse labelled patches that leave the slide, or of which all lies where nothing was scanned."""
    left, top, width, height = reader.bounds
    ends = boxes[:, :2] + boxes[:, 2:]
    leaves = np.any(ends > np.array(reader.size) + 1, axis=1)
    beside = np.any(ends <= (left, top), axis=1) | np.any(boxes[:, :2] >= (left + width, top + height), axis=1)
    for name, over, off in zip(names, leaves, beside, strict=True):
        if over:
            raise InputError(f"{name} leaves the slide {reader.size}; correct it")
        if off:
            raise InputError(
                f"{name} lies outside of what was scanned, {width} x {height} px from {left}, {top} on; x and y count "
                "from the slide's corner: if they are QuPath's, add where the scan begins"
            )
