"""Cohorts larger than one machine: slides as tasks of a Ray cluster.

The slides and the result folders lie on storage that all nodes mount at the same place; the model travels with the
tasks. A folder of results is delivered whole by `segment`, so a task that is repeated because its node died
either finds the work done or does it again, and leaves the same bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_mm.clusters import Demand, check_capacity, connected, task_results
from wsss_mm.errors import InputError
from wsss_mm.inference.nodes import Seat
from wsss_mm.slide_parameters import DEFAULTS, Parameters
from wsss_mm.wsi.job import Job, JobResult
from wsss_mm.wsi.nodes import with_model
from wsss_mm.wsi.segment import segment

if TYPE_CHECKING:
    from wsss_mm.settings import Precision


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
    more = {"registered": registered, "skip_done": skip_done, "progress": False}
    seat = Seat("cuda" if demand.gpus else "cpu", demand.cpus, deterministic=False)
    work = with_model(partial(segment, parameters=parameters, **more), model, seat, demand.precision, digest)
    if demand.gpus > 1 and demand.gpus != int(demand.gpus):
        raise InputError(f"--ray-gpus {demand.gpus:g}: above 1 only whole GPUs can be reserved")
    with connected(address, f"--ray {address}") as ray:
        check_capacity(ray, demand, "each slide", "lower --ray-cpus or --ray-gpus")
        absolute = [job.absolute() for job in jobs]
        for index, outcome in task_results(ray, work, absolute, demand, name="segment", called=lambda job: job.path):
            job, error = jobs[index], outcome.error
            yield JobResult.of_error(job, error, outcome.node) if error else JobResult(job.slide_id, outcome.result)
