"""Cohorts larger than one machine: slides as tasks of a Ray cluster.

The slides and the result folders lie on storage that all nodes mount at the same place; the model travels with the
tasks. A folder of results is delivered whole by `segment`, so a task that is repeated because its node died
either finds the work done or does it again, and leaves the same bytes.
"""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.clusters import Demand, TaskResult, check_capacity, connected, first_line, task_results
from wsss_mm.errors import InputError, spelled_out
from wsss_mm.slide_parameters import DEFAULTS, Parameters
from wsss_mm.wsi.job import Job, JobResult
from wsss_mm.wsi.model import SlideModel
from wsss_mm.wsi.segment import segment

if TYPE_CHECKING:
    from wsss_mm.settings import Precision

logger = logging.getLogger(__name__)

_MODEL_FILES = (places.DESCRIPTION, places.WEIGHTS)


@dataclass(frozen=True)
class SlideDemand(Demand):
    """What a slide takes of a node.

    Attributes:
        cpus: cores reserved, and threads of the network where there is no GPU.
        gpus: GPUs reserved, below 1 where slides share one; with 0 the network runs on the cores.
        precision: of the network's arithmetic, see `SlideModel.from_folder`.
            `auto` is decided on each node; name one where nodes differ.
    """

    precision: "Precision" = "auto"


def segment_on_cluster(
    jobs: Sequence[Job],
    model: Path | str,
    address: str,
    demand: SlideDemand = SlideDemand(),
    parameters: Parameters = DEFAULTS,
    *,
    registered: Mapping[str, str] | None = None,
    skip_done: bool = False,
    digest: str | None = None,
) -> Iterator[JobResult]:
    """Segment slides on a Ray cluster, one task a slide.

    Args:
        jobs: the slides; the nodes see them and the folders of their results under the same absolute paths.
        model: folder of the segmenter on this machine; each worker process loads it once.
        address: of the cluster: HOST:PORT, or `auto` for the one this machine belongs to.
        demand: what a slide takes.
        parameters: see `segment_slide`, as are `registered` and `skip_done`.
        registered: likewise.
        skip_done: likewise.
        digest: see `SlideModel.from_folder`.

    Yields:
        A result for each slide, in the order in which they end. A slide that fails takes none with it.

    Raises:
        InputError: no Ray, no cluster, no node that is large enough, or no model.
    """
    content = {name: (Path(model) / name).read_bytes() for name in _MODEL_FILES if (Path(model) / name).is_file()}
    with _folder_of(content) as folder:  # what is looked at is what is sent
        there = folder if len(content) == len(_MODEL_FILES) else model
        SlideModel.from_folder(there, "cpu", digest=digest)  # a model that does not load would fail on every node
    if demand.gpus > 1 and demand.gpus != int(demand.gpus):
        raise InputError(f"--ray-gpus {demand.gpus:g}: above 1 only whole GPUs can be reserved")
    with connected(address, f"--ray {address}") as ray:
        check_capacity(ray, demand, "each slide", "lower --ray-cpus or --ray-gpus")
        # in a list the model stays a reference, which a worker follows once
        more = {"registered": registered, "skip_done": skip_done, "progress": False}
        work = partial(_segment, files=[ray.put(content)], demand=demand, parameters=parameters, more=more)
        absolute = [job.absolute() for job in jobs]
        for index, outcome in task_results(ray, work, absolute, demand, name="segment", called=lambda job: job.path):
            result = _result(jobs[index], outcome)
            if result.error:
                logger.error("%s", result.error)
            yield result


def _result(job: Job, outcome: TaskResult[Mapping[str, Any]]) -> JobResult:
    if (error := outcome.error) is None:
        return JobResult(job.slide_id, outcome.result)
    said = f"{job.path}: {type(error).__name__}: {first_line(error)}"
    if isinstance(error, InputError | OSError):
        said = f"{error} (on node {outcome.node})" if outcome.node else str(error)
    return JobResult(job.slide_id, error=spelled_out(said))


def _segment(
    job: Job, files: list[Any], demand: SlideDemand, parameters: Parameters, more: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The task."""
    return segment(job, _worker_model(files[0], demand), parameters, **more)


@lru_cache(maxsize=1)
def _worker_model(files: Any, demand: SlideDemand) -> SlideModel:
    """The model of this worker process, which lives on for the next slide."""
    import ray
    import torch

    if not demand.gpus:
        torch.set_num_threads(demand.cpus)
    with _folder_of(ray.get(files)) as folder:
        return SlideModel.from_folder(folder, "cuda" if demand.gpus else "cpu", demand.precision)


@contextmanager
def _folder_of(files: Mapping[str, bytes]) -> Iterator[Path]:
    """A model's folder, for as long as it takes to load it."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        yield Path(folder)
