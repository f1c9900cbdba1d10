"""Pictures of patches, read from the slides as training patches are, with those ahead made in advance."""

import io
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from wsss_mm.errors import InputError
from wsss_mm.web.label.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wsss_mm.cohort import Cohort
    from wsss_mm.slides import SlideReader

logger = logging.getLogger(__name__)

Part = Literal["patch", "fine", "context", "thumb"]
PARTS: tuple[Part, ...] = get_args(Part)
THUMB, COLUMNS = 64, 16
"""Side of a small picture, px, and how many stand side by side in a sheet of them."""
CONTEXT = 8
"""The surroundings are this many times as wide as the patch, at `CONTEXT / 2` times lower magnification."""
_QUALITY, _SMALL_QUALITY = 92, 80
_OVERVIEW = 1024  # px, longer side
_OPEN = 64  # slides held open
_TILES = 64  # MiB for decoded tiles of all of them
_SLICE = 16  # small pictures that are read in one go, before somebody else's turn


class SlideGoneError(InputError):
    """A slide's file cannot be opened any more; says which slide, and not where its file lay."""

    def __init__(self, slide_id: str, why: Exception) -> None:
        super().__init__(f"slide {slide_id}: its file cannot be opened any more; ask who looks after the computer")
        self.slide_id, self.why = slide_id, why


class Pictures:
    """Reads and keeps pictures; all methods may be called from several threads at once.

    Args:
        table: the candidates.
        cohort: whose slides they are of.
        limit: memory for pictures, MiB.
        workers: threads that make pictures ahead.
    """

    def __init__(self, table: Table, cohort: "Cohort", *, limit: int = 256, workers: int = 2) -> None:
        from openslide import OpenSlideCache

        self._table = table
        slides = {slide.slide_id: slide for slide in cohort}
        self._slides = [slides[item.slide_id] for item in table.slides]
        self._kept = _Kept(limit << 20)
        self._tiles = OpenSlideCache(_TILES << 20)
        self._readers: OrderedDict[int, SlideReader] = OrderedDict()
        self._opening = threading.Lock()
        self._making: dict[tuple[Any, ...], _Job] = {}
        self._lock = threading.Lock()
        self._ahead = ThreadPoolExecutor(workers, thread_name_prefix="pictures")
        self._turns: dict[str, threading.BoundedSemaphore] = {}

    def close(self) -> None:
        """End the threads and close the slides."""
        self._ahead.shutdown(cancel_futures=True)
        with self._opening:
            self._readers.clear()

    def picture(self, row: int, part: Part, reader: str = "") -> bytes:
        """A picture of a patch: JPEG.

        Args:
            row: of the candidates.
            part: `patch`, the pixels that training patches have; `fine`, the same at twice the magnification;
                `context`, its surroundings; `thumb`, small.
            reader: who asks; each has a share of the work.

        Raises:
            SlideGoneError: the slide's file is gone, or is no longer the one that the cohort knows.
            InputError: the slide is damaged there.
        """
        return self._made((row, part), lambda: self._jpeg_of(row, part), reader)

    def sheet(self, rows: Sequence[int], reader: str = "") -> tuple[bytes, bool]:
        """Small pictures of patches side by side, `COLUMNS` in a line, in the order of `rows`: JPEG.

        The place of one that cannot be read stays white; gives also whether there is none.

        Raises:
            InputError: none of them can be read.
        """
        failed = 0
        lines = -(-len(rows) // COLUMNS)
        canvas = np.full((lines * THUMB, COLUMNS * THUMB, 3), 255, np.uint8)
        for start in range(0, len(rows), _SLICE):
            with self._turn(reader):
                for place, row in enumerate(rows[start : start + _SLICE], start):
                    top, left = (THUMB * at for at in divmod(place, COLUMNS))
                    try:
                        canvas[top : top + THUMB, left : left + THUMB] = self._thumb(row)
                    except (InputError, OSError) as error:
                        failed += 1
                        if failed == len(rows):
                            raise
                        logger.warning("%s", error)
        return _jpeg(canvas, _SMALL_QUALITY), not failed

    def overview(self, slide: int, reader: str = "") -> bytes:
        """A slide as a whole, its longer side 1024 px at most: JPEG."""

        def make() -> bytes:
            return _jpeg(self._reading(slide, lambda scan: scan.thumbnail(min(_OVERVIEW, max(scan.size)))), _QUALITY)

        return self._made((slide, "overview"), make, reader)

    def overview_size(self, slide: int) -> dict[str, Any]:
        """Size of the overview and of the slide, px, and which part of it was scanned."""
        scan = self._open(slide)
        longest = max(scan.size)
        width, height = (max(1, round(side * min(_OVERVIEW, longest) / longest)) for side in scan.size)
        return {
            "width": width,
            "height": height,
            "level0_width": scan.size[0],
            "level0_height": scan.size[1],
            "bounds": list(scan.bounds),
            "mpp": scan.mpp,
        }

    def side(self, row: int) -> float:
        """Side of a patch in level-0 px of its slide."""
        return float(self._table.sizes[row] * self._table.mpps[row] / self._open(int(self._table.slide[row])).mpp)

    def make_ahead(self, rows: Iterable[int], parts: Sequence[Part] = ("patch", "context")) -> None:
        """Begin with pictures that will be asked for."""
        for key in [(row, part) for row in rows for part in parts]:
            with self._lock:
                if key in self._making or key in self._kept:
                    continue
                job = self._making[key] = _Job()
            try:
                self._ahead.submit(self._fulfil, key, job, partial(self._jpeg_of, *key))
            except RuntimeError:  # closed
                with self._lock:
                    self._making.pop(key, None)
                return

    def _made(self, key: tuple[Any, ...], make: Callable[[], bytes], reader: str) -> bytes:
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                return kept
            job = self._making.setdefault(key, _Job())
        if not job.begun:  # nobody's, or of a thread that has other pictures to make before
            with self._turn(reader):
                self._fulfil(key, job, make)
        return job.result.result(timeout=60)

    def _fulfil(self, key: tuple[Any, ...], job: "_Job", make: Callable[[], bytes]) -> None:
        with self._lock:
            if job.begun:
                return
            job.begun = True
        try:
            picture = make()
        except BaseException as error:
            with self._lock:
                self._making.pop(key, None)
            job.result.set_exception(error)
        else:
            with self._lock:
                self._kept.put(key, picture)
                self._making.pop(key, None)
            job.result.set_result(picture)

    @contextmanager
    def _turn(self, reader: str) -> "Iterator[None]":
        with self._lock:
            turns = self._turns.setdefault(reader, threading.BoundedSemaphore(2))
        with turns:
            yield

    def _jpeg_of(self, row: int, part: Part) -> bytes:
        table = self._table
        x, y = int(table.x[row]), int(table.y[row])
        size, mpp, slide = int(table.sizes[row]), float(table.mpps[row]), int(table.slide[row])
        if part == "thumb":
            return _jpeg(self._thumb(row), _SMALL_QUALITY)
        if part == "fine":
            return _jpeg(self._reading(slide, lambda scan: scan.read(x, y, 2 * size, mpp / 2)), _QUALITY)
        if part == "patch":
            return _jpeg(self._reading(slide, lambda scan: scan.read(x, y, size, mpp)), _QUALITY)

        def around(scan: "SlideReader") -> npt.NDArray[np.uint8]:
            margin = (CONTEXT - 1) / 2 * size * mpp / scan.mpp
            return scan.read(x - margin, y - margin, 2 * size, mpp * CONTEXT / 2)

        return _jpeg(self._reading(slide, around), _QUALITY)

    def _thumb(self, row: int) -> npt.NDArray[np.uint8]:
        key = (row, "pixels")
        with self._lock:
            kept = self._kept.get(key)
        if kept is None:
            table = self._table
            x, y, mpp = int(table.x[row]), int(table.y[row]), float(table.mpps[row] * table.sizes[row] / THUMB)
            kept = self._reading(int(table.slide[row]), lambda scan: scan.read(x, y, THUMB, mpp)).tobytes()
            with self._lock:
                self._kept.put(key, kept)
        return np.frombuffer(kept, np.uint8).reshape(THUMB, THUMB, 3)

    def _reading(self, slide: int, read: "Callable[[SlideReader], npt.NDArray[np.uint8]]") -> npt.NDArray[np.uint8]:
        scan = self._open(slide)
        try:
            return read(scan)
        except InputError:  # OpenSlide refuses this handle from now on; others may have met the damage with it
            self._forget(slide, scan)
            return read(self._open(slide))

    def _open(self, slide: int) -> "SlideReader":
        with self._opening:
            if slide in self._readers:
                self._readers.move_to_end(slide)
                return self._readers[slide]
            try:
                scan = self._slides[slide].open()
            except (InputError, OSError) as error:
                raise SlideGoneError(self._slides[slide].slide_id, error) from error
            scan.share(self._tiles)
            self._readers[slide] = scan
            if len(self._readers) > _OPEN:
                self._readers.popitem(last=False)  # closed when the last thread that reads it is done
            return scan

    def _forget(self, slide: int, scan: "SlideReader") -> None:
        with self._opening:
            if self._readers.get(slide) is scan:
                del self._readers[slide]


@dataclass
class _Job:
    """A picture that is wanted; who begins with it first makes it for all."""

    result: "Future[bytes]" = field(default_factory=Future)
    begun: bool = False


class _Kept:
    """Bytes by key, the least recently used dropped where they are too many; to be locked by its owner."""

    def __init__(self, limit: int) -> None:
        self._limit, self._held = limit, 0
        self._items: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()

    def __contains__(self, key: tuple[Any, ...]) -> bool:
        return key in self._items

    def get(self, key: tuple[Any, ...]) -> bytes | None:
        if key in self._items:
            self._items.move_to_end(key)
        return self._items.get(key)

    def put(self, key: tuple[Any, ...], value: bytes) -> None:
        self._held += len(value) - len(self._items.pop(key, b""))
        self._items[key] = value
        while self._held > self._limit and len(self._items) > 1:
            self._held -= len(self._items.popitem(last=False)[1])


def _jpeg(pixels: npt.NDArray[np.uint8], quality: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling=0 if quality == _QUALITY else 2)
    return stream.getvalue()
