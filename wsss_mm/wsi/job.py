"""A slide to work on, and what became of it: the same for one machine and for a cluster."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wsss_mm.errors import InputError, spelled_out
from wsss_mm.slides import SlideReader, open_slide

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A slide to segment.

    Attributes:
        slide_id: what the table calls it.
        path: the slide.
        folder: of its results.
        mpp: um/px at level 0, where the slide does not say.
        roi: QuPath GeoJSON with the region of interest.
        force_mpp: whether `mpp` stands where the slide says otherwise; if not, such a slide is refused.
        icc: whether it is read as sRGB, by its embedded colour profile.
    """

    slide_id: str
    path: Path
    folder: Path
    mpp: float | None = None
    roi: Path | None = None
    force_mpp: bool = True
    icc: bool = False

    def open(self) -> SlideReader:
        """The slide."""
        return open_slide(self.path, self.mpp, force=self.force_mpp, icc=self.icc)

    def absolute(self) -> "Job":
        """The same for whoever works in another folder."""
        roi = None if self.roi is None else self.roi.absolute()
        return replace(self, path=self.path.absolute(), folder=self.folder.absolute(), roi=roi)


@dataclass(frozen=True)
class JobResult:
    """What became of a slide: its summary, or in one line why there is none; `notes` are further columns."""

    slide_id: str
    summary: Mapping[str, Any] | None = None
    error: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_error(cls, job: Job, error: Exception, node: str = "") -> "JobResult":
        """That of a slide whose work raised an error, which is logged: one that is a defect with its traceback.

        Args:
            job: the slide.
            error: what was raised.
            node: of a cluster, where it says more to name it: wrong input may be wrong there alone.
        """
        says = " ".join(str(error).split())
        if isinstance(error, InputError | OSError):
            says += f" (on node {node})" if node else ""
            logger.error("%s: %s", job.slide_id, says)
        else:
            logger.error("%s: failed", job.slide_id, exc_info=error)
            says = f"{job.path}: {type(error).__name__}: {says}"
        return cls(job.slide_id, error=spelled_out(says))
