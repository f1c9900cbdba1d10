"""What somebody finds wrong in a segmented slide: a patch with the classes that it truly holds, in a reader's journal.

The patch is one of the grid that `patches` cuts and `wsss-mm label` shows, so that the line takes it as it takes any
answer. A mark brings it up in the queue of the labelling page, until somebody has answered it.
"""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wsss_mm.cohort import Slide
from wsss_mm.errors import InputError
from wsss_mm.labelling.entries import CORRECTION, MARK, Place, new_entry
from wsss_mm.labelling.journal import Journal, journal_path
from wsss_mm.patches.grid import grid_of, side_of
from wsss_mm.wsi.viewer.project import Project
from wsss_mm.wsi.viewer.results import Result

if TYPE_CHECKING:
    from wsss_mm.settings import PatchSettings

_ID, _STEP = "id", "step"


class Corrections:
    """A reader's corrections. All methods may be called from several threads at once.

    Attributes:
        vocabulary: the classes of the project, which may be others than those of a result.
        journal: the reader's.
    """

    def __init__(self, project: Project, patches: "PatchSettings", reader: str) -> None:
        """Take a project, its patches, and the journal of a reader.

        Raises:
            InputError: the reader's name cannot be that of a file, or the journal is damaged.
        """
        self.vocabulary, self._project, self._patches = project.vocabulary, project, patches
        self.journal = Journal(journal_path(reader, project.labels), reader)
        self.journal.entries()  # what is damaged is said before anybody looks at slides
        self._lock = threading.Lock()
        self._grids: dict[str, tuple[tuple[int, int], float, npt.NDArray[np.int64]]] = {}

    def slide_of(self, result: Result) -> Slide | None:
        """The slide of the cohort that was segmented; None where it is none."""
        return self._project.slide_of(result)

    def refusal(self, result: Result) -> str:
        """Why nothing can be said of a slide; empty where something can."""
        slide = self.slide_of(result)
        if slide is None:
            return "This slide is not in the cohort; wsss-mm cohort add and dvc repro candidates take it in."
        if slide.known_whole:
            return "Outlines say what this slide holds; correct them in view Draw of wsss-mm label."
        return ""

    def patch(self, result: Result, x: float, y: float) -> tuple[Place, tuple[float, float, float]] | None:
        """The patch at a place, and x, y and side of it as the place is given: level-0 px from where the scan begins.

        None where no patch of the grid with enough tissue lies, which nobody is ever asked about.

        Raises:
            InputError: nothing can be said of the slide, or it cannot be opened.
        """
        slide = self.slide_of(result)
        if slide is None or slide.known_whole:
            raise InputError(self.refusal(result))
        (left, top), side, corners = self._grid(slide)
        over = ((corners <= (x + left, y + top)) & ((x + left, y + top) < corners + side)).all(axis=1)
        if not over.any():
            return None
        corner = [int(value) for value in corners[over][-1]]
        place = Place(slide.slide_id, corner[0], corner[1], float(self._patches.mpp), int(self._patches.size))
        return place, (corner[0] - left, corner[1] - top, side)

    def keep(self, place: Place, said: Mapping[str, Any], request: str, model: str) -> list[str]:
        """Write down what a patch holds, and that it is to be seen again, and return when it is on the disk.

        The same request again writes nothing, also if the server was started anew in between.

        Args:
            place: the patch.
            said: `classes` by code, which may be none; `again`, whether it is to be seen again; `seconds`.
            request: the page's name of it, 32 hexadecimal digits, which becomes the entry's id.
            model: that was found wrong.

        Returns:
            Ids of the entries.

        Raises:
            InputError: nothing is said, or it cannot be written.
        """
        classes, where = said.get("classes") or {}, place._asdict()
        unknown = [code for code in classes if code not in self.vocabulary.codes]
        if unknown:
            raise InputError(f"{unknown[0][:40]!r} is no class; choose of {', '.join(self.vocabulary.codes)}")
        more = {"drawn": CORRECTION, "corrects": model}
        entries = []
        if classes:
            ordered = {code: classes[code] for code in self.vocabulary.codes if code in classes}
            entries.append(new_entry("answer", **where, classes=ordered, seconds=said.get("seconds"), **more))
        if said.get("again"):
            entries.append(new_entry(MARK, **where, **more))
        if not entries:
            raise InputError("nothing is said of the patch; choose what it holds, or have it shown again")
        return self._append(entries, request)

    def undo(self, ids: list[str], request: str) -> list[str]:
        """Take back entries that `keep` wrote, by their ids.

        Raises:
            InputError: they are none, or it cannot be written.
        """
        ours = {entry[_ID] for entry in self.journal.entries() if entry.get("drawn") == CORRECTION}
        if not ids or not set(ids) <= ours:
            raise InputError("what is to be taken back was not said here; reload the page")
        return self._append([new_entry("undo", of=ids)], request)

    def _grid(self, slide: Slide) -> tuple[tuple[int, int], float, npt.NDArray[np.int64]]:
        """Where the scan begins, a patch's side, and corners (n, 2) of the grid's patches: all in level-0 px."""
        with self._lock:
            if slide.slide_id not in self._grids:
                with slide.open() as reader:
                    corners = [corner for corner, _ in grid_of(slide, reader, self._patches)]
                    origin = int(reader.bounds[0]), int(reader.bounds[1])
                    side = side_of(reader, self._patches)
                self._grids[slide.slide_id] = origin, side, np.array(corners, np.int64).reshape(-1, 2)
            return self._grids[slide.slide_id]

    def _append(self, entries: list[dict[str, Any]], request: str) -> list[str]:
        entries[0][_ID] = request
        if len(entries) > 1:
            for entry in entries:
                entry[_STEP] = request
        with self._lock:
            done = [entry[_ID] for entry in self.journal.entries() if request in (entry[_ID], entry.get(_STEP))]
            return done or self.journal.append(entries)
