"""What the nodes of a cluster do to slides with a model, which travels to them."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.inference.nodes import Seat
from wsss_mm.wsi.job import Job
from wsss_mm.wsi.model import SlideModel

if TYPE_CHECKING:
    from wsss_mm.settings import Precision

_MODEL_FILES = (places.DESCRIPTION, places.WEIGHTS)


@dataclass(frozen=True)
class ModelWork:
    """What is done to slides with a model that travels along; each worker process loads it once.

    Attributes:
        work: gives the summary of a job's slide, of the job and the model.
        files: of the model's folder.
        precision: of the network's arithmetic.
        seat: where the network computes.
    """

    work: Callable[[Job, SlideModel], Mapping[str, Any]]
    files: Mapping[str, bytes] = field(repr=False)
    precision: "Precision"
    seat: Seat

    def __call__(self, job: Job) -> Mapping[str, Any]:
        """The task."""
        return self.work(job, self._model)

    @cached_property
    def _model(self) -> SlideModel:
        """The model of this worker process, which lives on for the next slide."""
        self.seat.take()
        with _folder_of(self.files) as folder:
            return SlideModel.from_folder(folder, self.seat.device, self.precision)


def with_model(
    work: Callable[[Job, SlideModel], Mapping[str, Any]],
    model: Path | str,
    seat: Seat,
    precision: "Precision" = "auto",
    digest: str | None = None,
) -> ModelWork:
    """Work that takes the model in a folder along.

    Raises:
        InputError: there is none that loads, which would fail on every node.
    """
    files = {name: (Path(model) / name).read_bytes() for name in _MODEL_FILES if (Path(model) / name).is_file()}
    with _folder_of(files) as folder:  # what is looked at is what is sent
        there = folder if len(files) == len(_MODEL_FILES) else model
        SlideModel.from_folder(there, "cpu", digest=digest)
    return ModelWork(work, files, precision, seat)


@contextmanager
def _folder_of(files: Mapping[str, bytes]) -> Iterator[Path]:
    """A model's folder, for as long as it takes to load it."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        yield Path(folder)
