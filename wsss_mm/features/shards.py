"""Features on disk: a file a slide, keyed by what decides them, so that nothing is computed twice.

A piece is written as soon as it is made, under the encoder's digest and the slide's quickhash: what was killed goes on,
a slide that comes is added, and another classifier has its own. An out of the line holds one file a slide.
"""

import hashlib
import json
import logging
import os
import shutil
import threading
import time
import zipfile
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm.cohort import Cohort, Slide
from wsss_mm.errors import InputError
from wsss_mm.features.encoders import Encoded, FeatureEncoder, HinderedError, Pixels
from wsss_mm.files import atomic_path
from wsss_mm.formats import KEY, check_format
from wsss_mm.places import FEATURES_INDEX
from wsss_mm.slides.stain import Recolour, recolour, stain_of_slide

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Is told how many patches are done, of how many."""

_PIECE = 512  # patches in a file of its own, until all are made
_PATIENCE = 20.0  # s, after which a piece is written that is not whole: a large network on a CPU takes hours for one
_KEPT = 3  # classifiers whose features are kept
_AHEAD = 4  # images read ahead, times the threads
_ENDING = ".npz"
_ARRAYS = (KEY, "key", "corners", "values", "scores")


class Stopped(Exception):
    """Features were no longer wanted; those that were made are kept."""


@dataclass(frozen=True)
class Shard:
    """Features of patches of one slide.

    Attributes:
        corners: (n, 2) int64, level-0 px.
        values: (n, D) float16.
        scores: (n, C) float32; C is 0 where the encoder knows no classes.
    """

    corners: npt.NDArray[np.int64]
    values: npt.NDArray[np.float16]
    scores: npt.NDArray[np.float32]

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        """(n,) one number for each corner."""
        return as_numbers(self.corners)


def as_numbers(corners: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(n,) one number for each of (n, 2) corners."""
    return corners[:, 0] * (1 << 32) + corners[:, 1]


def features_key(slide: Slide, encoder: FeatureEncoder, mpp: float, size: int) -> str:
    """What decides the features of a slide's patches, as hex."""
    quickhash = slide.quickhash
    if not quickhash:
        with slide.open() as reader:
            quickhash = reader.quickhash
    said = json.dumps([encoder.digest, quickhash, slide.bytes, slide.mpp, mpp, size, *(["sRGB"] if slide.icc else [])])
    return hashlib.sha256(said.encode()).hexdigest()


def write_shard(path: Path, shard: Shard, key: str) -> None:
    """Write a shard; equal ones give equal bytes."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            allow_pickle=False,
            **{KEY: np.int64(FEATURES_INDEX.format), "key": np.frombuffer(key.encode(), np.uint8)},
            corners=shard.corners,
            values=shard.values,
            scores=shard.scores,
        )


def read_shard(path: Path, key: str) -> Shard | None:
    """Read a shard; None where there is none, or it is damaged, of another format or of something else."""
    with suppress(OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, InputError):
        with zipfile.ZipFile(path) as archive:  # a few bytes could claim any number of rows
            if any(item.compress_type != zipfile.ZIP_STORED for item in archive.infolist()):
                return None
        with np.load(path, allow_pickle=False) as file:
            check_format(int(file[KEY]), FEATURES_INDEX, path)
            if bytes(file["key"]) != key.encode():
                return None
            shard = Shard(*(file[name] for name in _ARRAYS[2:]))
        kinds = (shard.corners.dtype, shard.values.dtype, shard.scores.dtype)
        rows = {len(shard.corners), len(shard.values), len(shard.scores)}
        sides = (shard.corners.ndim, shard.values.ndim, shard.scores.ndim)
        if kinds == (np.int64, np.float16, np.float32) and len(rows) == 1 and sides == (2, 2, 2):
            return shard
    return None


@dataclass(frozen=True)
class Store:
    """Where features are kept and found.

    Attributes:
        memory: folder of the pieces that an encoder made.
        outs: folders of stage `features`, which are only read.
    """

    memory: Path
    outs: tuple[Path, ...] = ()

    @classmethod
    def of(cls, encoder: FeatureEncoder, memory: Path, outs: tuple[Path, ...] = ()) -> "Store":
        """The store of an encoder; of others that trained networks made, those used last are kept."""
        folder = memory / f"{encoder.kind}-{encoder.digest[:16]}"
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        for old in sorted(memory.glob("classifier-*"), key=_last_used)[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        return cls(folder, outs)

    def known(self, slide: Slide, key: str) -> Shard | None:
        """All that was made of a slide; None where nothing was."""
        paths = [out / f"{slide.slide_id}{_ENDING}" for out in self.outs]
        paths += sorted(self.folder(key).glob(f"*{_ENDING}"))
        found = [shard for path in paths if (shard := read_shard(path, key)) is not None]
        found = [shard for shard in found if shard.values.shape[1:] == found[0].values.shape[1:]]
        return _joined(found) if found else None

    def keep(self, key: str, shard: Shard) -> None:
        """Keep a piece.

        Raises:
            HinderedError: no space, or no permission to write.
        """
        name = hashlib.sha256(shard.corners.tobytes()).hexdigest()[:16]
        try:
            write_shard(self.folder(key) / f"{name}{_ENDING}", shard, key)
        except InputError as error:
            raise HinderedError(str(error)) from None

    def folder(self, key: str) -> Path:
        """Of the pieces of a key."""
        return self.memory / key[:32]


def _last_used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:  # another process removed it
        return 0.0


def _joined(shards: list[Shard]) -> Shard:
    corners, values, scores = (
        np.concatenate([getattr(shard, name) for shard in shards]) for name in ("corners", "values", "scores")
    )
    _, first = np.unique(as_numbers(corners), return_index=True)
    return Shard(corners[first], values[first], scores[first])


@dataclass(frozen=True)
class FeatureWork:
    """Makes features of candidates, slide by slide.

    Attributes:
        cohort: opens the slides.
        encoder: what makes them.
        store: where they are kept.
        progress: is told after each patch that is there.
        stop: ends the work where it is set.
    """

    cohort: Cohort
    encoder: FeatureEncoder
    store: Store
    progress: Progress
    stop: threading.Event | None = None

    def shards(self, candidates: pd.DataFrame) -> Iterator[tuple[pd.Index, str, Shard | InputError]]:
        """Features of each slide's candidates.

        Yields:
            Index of the slide's candidates, the slide's key, and a shard of these candidates in their order; an error
            where the slide is broken.

        Raises:
            InputError: the cohort lacks a slide.
            HinderedError: the encoder cannot be loaded, or features cannot be written.
            Stopped: the work was stopped.
        """
        slides = {slide.slide_id: slide for slide in self.cohort}
        done = 0
        for slide_id, rows in candidates.groupby("slide_id", sort=True, observed=True):
            slide = slides.get(str(slide_id))
            if slide is None:
                raise InputError(
                    f"{self.cohort.table}: lacks slide {slide_id}, of which there are candidates; "
                    "make them again: dvc repro candidates"
                )
            key = ""
            try:
                key = features_key(slide, self.encoder, float(rows["mpp"].iloc[0]), int(rows["size"].iloc[0]))
                found: Shard | InputError = self._of_slide(slide, rows, key, done, len(candidates))
            except HinderedError:
                raise
            except (InputError, OSError) as error:
                logger.error("%s: %s", slide_id, error)
                found = InputError(f"{slide_id}: {' '.join(str(error).split())}")
            done += len(rows)
            self.progress(done, len(candidates))
            yield rows.index, key, found

    def _of_slide(self, slide: Slide, rows: pd.DataFrame, key: str, done: int, total: int) -> Shard:
        wanted = as_numbers(rows[["x", "y"]].to_numpy(np.int64))
        known = self.store.known(slide, key)
        missing = rows if known is None else rows[~np.isin(wanted, known.numbers)]
        done += len(rows) - len(missing)
        made = [] if known is None else [known]
        change = self._change(slide, float(rows["mpp"].iloc[0])) if len(missing) else None
        for start in range(0, len(missing), _PIECE):
            piece = missing.iloc[start : start + _PIECE]
            images = images_of(slide, piece)
            tell = partial(self._tell, done + start, total)
            with closing(images):
                shown = images if change is None else map(change, images)
                made.append(self._piece(piece, shown, key, tell))
        whole = _joined(made)
        places = np.searchsorted(whole.numbers, wanted)  # sorted, see `_joined`
        return Shard(whole.corners[places], whole.values[places], whole.scores[places])

    def _tell(self, before: int, total: int, count: int) -> None:
        self.progress(before + count, total)

    def _change(self, slide: Slide, mpp: float) -> Recolour | None:
        """What the encoder's stain makes of the slide's images; None where they stay as they are."""
        if self.encoder.stain is None:
            return None
        with slide.open() as reader:
            source = stain_of_slide(reader, self.encoder.stain.method, mpp)
        return None if source is None else recolour(source, self.encoder.stain)

    def _piece(self, rows: pd.DataFrame, images: Iterator[Pixels], key: str, tell: Callable[[int], None]) -> Shard:
        found: list[Encoded] = []
        kept, since = 0, time.monotonic()

        def keep() -> None:
            if len(found) > kept:
                self.store.keep(key, _shard(rows.iloc[kept : len(found)], found[kept:]))

        try:
            for encoded in self.encoder.encode(rows, images):
                found.append(encoded)
                tell(len(found))
                if self.stop is not None and self.stop.is_set():
                    raise Stopped
                if time.monotonic() - since > _PATIENCE:
                    keep()
                    kept, since = len(found), time.monotonic()
        finally:
            keep()  # of a piece that was cut short, too
        return _shard(rows, found)


def _shard(rows: pd.DataFrame, found: list[Encoded]) -> Shard:
    values, scores = (np.stack(part) for part in zip(*found, strict=True))
    largest = float(np.finfo(np.float16).max)
    return Shard(
        rows[["x", "y"]].to_numpy(np.int64),
        np.clip(values, -largest, largest).astype(np.float16),
        scores.astype(np.float32),
    )


def images_of(slide: Slide, rows: pd.DataFrame) -> Generator[Pixels, None, None]:
    """Images of a slide's candidates in their order, (H, W, 3) uint8 RGB, read ahead in threads.

    Raises:
        InputError: the slide cannot be read.
    """
    threads = min(8, os.cpu_count() or 1)
    places: Iterable[tuple[int, int, int, float]] = rows[["x", "y", "size", "mpp"]].itertuples(index=False, name=None)
    with slide.open() as reader:
        pool = ThreadPoolExecutor(threads)
        try:
            waiting: deque[Future[Pixels]] = deque()
            for x, y, size, mpp in places:
                waiting.append(pool.submit(reader.read, int(x), int(y), int(size), float(mpp)))
                if len(waiting) > _AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
