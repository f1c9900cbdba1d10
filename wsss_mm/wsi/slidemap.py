"""A slide's map and what it is of: where it lies between the network and what is made of it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from wsss_mm.errors import InputError
from wsss_mm.files import digest, rounded
from wsss_mm.formats import read_object, write_object
from wsss_mm.names import shown_name
from wsss_mm.places import MAP, SLIDE_MAP
from wsss_mm.places import MAP_NOTES as NOTES
from wsss_mm.slide_parameters import DEFAULTS, as_recorded
from wsss_mm.slides.bands import MapLevel
from wsss_mm.slides.icc import SRGB
from wsss_mm.slides.pyramid import RowMap, write_planes
from wsss_mm.vocabulary import Vocabulary
from wsss_mm.wsi.job import Job
from wsss_mm.wsi.raster import Raster

_EXACT = ("mpp",)  # of the notes: coordinates come of it
_IDENTITY = ("slide", "mpp", "size", "model", "parameters", "roi")
_MAKE = "dvc repro -s -f segment_slides"


@dataclass(frozen=True)
class SlideMap:
    """What the network saw on a slide.

    Attributes:
        labels: rows of `wsss_mm.wsi.holes.covered` bytes: the class of each pixel, in the background too.
        probabilities: for each class rows of 0..255 for 0..1, in the background too; empty if not wanted.
        vocabulary: its classes are in the order of label values.
        identity: what it depends on, see `identity_of`.
        unreadable: px that could not be decoded.
        certainty: rows of `wsss_mm.wsi.certainty.confidence`, in the background too; None if not wanted.
        appearance: how its tissue compares with the model's training, see `wsss_mm.patches.likeness.compared`; None
            where the model, or an older map, does not say.
    """

    labels: RowMap
    probabilities: Sequence[RowMap]
    vocabulary: Vocabulary
    identity: Mapping[str, Any]
    unreadable: int
    certainty: RowMap | None = None
    appearance: Mapping[str, Any] | None = None


@contextmanager
def opened(job: Job, mpp: float, readers: int = 0) -> Iterator[Raster]:
    """The slide of a job as an image at `mpp`.

    Raises:
        InputError: it does not open, says no mpp, or would give too large a map.
    """
    raster = Raster(job.open, mpp, readers)
    try:
        raster.check_size(job.path)
        yield raster
    finally:
        raster.close()


def identity_of(job: Job, raster: Raster, model: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a map, or what is made of it, depends on; no path and no time, so that equal work gives equal bytes."""
    return {
        "slide": {
            "file": shown_name(job.path.name),
            "bytes": job.path.stat().st_size,
            "quickhash": raster.quickhash,
            "mpp": raster.slide_mpp,
            "bounds": list(raster.bounds),
            **({} if raster.icc is None else {"icc": {"to": SRGB, "profile": raster.icc}}),
        },
        "mpp": raster.mpp,
        "size": list(raster.size),
        "model": dict(model),
        "parameters": dict(parameters),
        "roi": None if job.roi is None else {"file": job.roi.name, "sha256": _digest(job.roi)},
    }


def store(folder: Path, made: SlideMap) -> None:
    """Write a map's files into a folder."""
    notes = {**made.vocabulary.to_json(), "unreadable": made.unreadable, "appearance": made.appearance}
    further = () if made.certainty is None else (made.certainty,)
    write_planes(folder / MAP, [made.labels, *made.probabilities, *further])
    write_object(folder / NOTES, SLIDE_MAP, dict(made.identity) | notes, _EXACT)


@contextmanager
def stored(folder: Path) -> Iterator[SlideMap]:
    """Open a map that `map_slide` has stored.

    Raises:
        InputError: there is none, or it is damaged or of a newer version.
    """
    notes, path = _read_notes(folder), folder / MAP
    with ExitStack() as stack:
        with _explained(path):
            file = stack.enter_context(tifffile.TiffFile(path))
            labels, *further = (_Plane(page, path) for page in file.pages)
            vocabulary, shape = Vocabulary.from_json(notes, folder / NOTES), tuple(reversed(notes["size"]))
            how = as_recorded(DEFAULTS.deciding("map"), notes["parameters"])
            classes, certain = len(vocabulary) * how["probabilities"], int(how["confidence"])
            if any(plane.shape != shape for plane in (labels, *further)) or len(further) != classes + certain:
                raise ValueError(f"its pages are not what {NOTES} says")
            if list(vocabulary.codes) != notes["model"]["classes"] or not vocabulary.codes:
                raise ValueError(f"{NOTES} has no classes, or two lists of them")
            identity = {key: notes[key] for key in _IDENTITY}
            kinds = {"unreadable": int, "mpp": int | float, "slide": dict, "model": dict}
            if wrong := [key for key, kind in kinds.items() if not isinstance(notes[key], kind)]:
                raise ValueError(f"{NOTES} has no {', '.join(wrong)}")
            appearance = notes.get("appearance")
            if not isinstance(appearance, dict | None) or not isinstance((appearance or {}).get("warning"), str | None):
                raise ValueError(f"{NOTES} says nothing of its appearance that is known")
        yield SlideMap(
            labels,
            further[:classes],
            vocabulary,
            identity,
            notes["unreadable"],
            certainty=further[classes] if certain else None,
            appearance=appearance,
        )


class _Plane(MapLevel):
    """A page of a stored map, whose damage becomes a line where it is met."""

    def __init__(self, page: tifffile.TiffPage, path: Path) -> None:
        super().__init__(page)
        self._path = path

    def __getitem__(self, rows: slice) -> NDArray[np.uint8]:
        with _explained(self._path):
            return super().__getitem__(rows)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # broken files make TIFF readers and decoders raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not the map of a slide ({reason}); make it again: {_MAKE}") from None


def stored_already(folder: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Notes of a map of the same things, none of which was unreadable: a good copy may have come."""
    try:
        notes = _read_notes(folder)
    except InputError:
        return None
    wanted = rounded(identity, _EXACT)
    said = {key: notes.get(key) for key in wanted}
    if isinstance(said["parameters"], dict):
        said["parameters"] = as_recorded(wanted["parameters"], said["parameters"])
    same = said == wanted and notes.get("unreadable") == 0
    return notes if same and (folder / MAP).is_file() else None


def _read_notes(folder: Path) -> dict[str, Any]:
    return read_object(folder / NOTES, SLIDE_MAP)


def _digest(path: Path) -> str:
    try:
        return digest(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a GeoJSON file that QuPath exported") from None
