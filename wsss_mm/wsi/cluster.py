"""Cohorts larger than one machine: slides as tasks of a Ray cluster.

The slides and the result folders lie on storage that all nodes mount at the same place; the model travels with the
tasks. A folder of results is delivered whole by `segment`, so a task that is repeated because its node died
either finds the work done or does it again, and leaves the same bytes.
"""

import logging
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.errors import BusyError, InputError, spelled_out
from wsss_mm.slide_parameters import DEFAULTS, Parameters
from wsss_mm.wsi.job import Job, JobResult
from wsss_mm.wsi.model import SlideModel
from wsss_mm.wsi.segment import segment

if TYPE_CHECKING:
    from wsss_mm.settings import Precision

logger = logging.getLogger(__name__)

_MODEL_FILES = (places.DESCRIPTION, places.WEIGHTS)
_PATIENCE = 10  # s
_LOCK_TRIES, _LOCK_PAUSE = 24, 5  # s; NFS forgets the locks of a dead client after a minute and a half


@dataclass(frozen=True)
class Demand:
    """What a slide takes of a node.

    Attributes:
        cpus: cores reserved, and threads of the network where there is no GPU.
        gpus: GPUs reserved, below 1 where slides share one; with 0 the network runs on the cores.
        retries: how often a slide is started again whose node or process died.
        precision: of the network's arithmetic, see `SlideModel.from_folder`.
            `auto` is decided on each node; name one where nodes differ.
    """

    cpus: int = 1
    gpus: float = 0.0
    retries: int = 3
    precision: "Precision" = "auto"


def segment_on_cluster(
    jobs: Sequence[Job],
    model: Path | str,
    address: str,
    demand: Demand = Demand(),
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
    with _connection(address) as ray:
        _check_capacity(ray, demand)
        files = ray.put(content)
        task = ray.remote(_segment).options(
            num_cpus=demand.cpus,
            num_gpus=demand.gpus,
            max_retries=demand.retries,
            scheduling_strategy="SPREAD",
        )
        more = {"registered": registered, "skip_done": skip_done, "progress": False}
        # in a list the model stays a reference, which a worker follows once
        running = {task.remote(job.absolute(), [files], demand, parameters, more): job for job in jobs}
        while running:
            (done,), _ = ray.wait(list(running), num_returns=1)
            result = _result(ray, running.pop(done), done)
            if result.error:
                logger.error("%s", result.error)
            yield result


def _result(ray: ModuleType, job: Job, done: Any) -> JobResult:
    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError as defect:
        logger.error("%s", defect)
        error = f"{job.path}: {type(defect.cause).__name__}: {_first_line(defect.cause)}"
    except ray.exceptions.RayError as failure:
        error = f"{job.path}: its node or process died too often ({_first_line(failure)}); try again"
    return JobResult(job.slide_id, error=spelled_out(error))


def _segment(job: Job, files: list[Any], demand: Demand, parameters: Parameters, more: Mapping[str, Any]) -> JobResult:
    """The task; wrong input is not worth a retry."""
    import ray

    try:
        model = _worker_model(files[0], demand)
        for _ in range(_LOCK_TRIES):  # a node that is being given up may still hold the folder
            with suppress(BusyError):
                return JobResult(job.slide_id, segment(job, model, parameters, **more))
            time.sleep(_LOCK_PAUSE)
        return JobResult(job.slide_id, segment(job, model, parameters, **more))
    except (InputError, OSError) as error:
        return JobResult(job.slide_id, error=spelled_out(f"{error} (on node {ray.util.get_node_ip_address()})"))


@lru_cache(maxsize=1)
def _worker_model(files: Any, demand: Demand) -> SlideModel:
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


@contextmanager
def _connection(address: str) -> Iterator[ModuleType]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise InputError("--ray: Ray is not installed; install it with: pip install -e '.[ray]'") from None
    try:
        _check_reachable(address)
        ray.init(address=address, logging_level=logging.WARNING)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"--ray {address}: no cluster there ({_first_line(error)}); start one with `ray start --head`"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise OSError where nobody listens; Ray itself would try for minutes and then end the process."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=_PATIENCE).close()


def _check_capacity(ray: ModuleType, demand: Demand) -> None:
    """Refuse what no node can ever run: Ray would wait for a larger one."""
    if demand.gpus > 1 and demand.gpus != int(demand.gpus):
        raise InputError(f"--ray-gpus {demand.gpus:g}: above 1 only whole GPUs can be reserved")
    for node in ray.nodes():
        has = node["Resources"]
        if node["Alive"] and has.get("CPU", 0) >= demand.cpus and has.get("GPU", 0) >= demand.gpus:
            return
    raise InputError(
        f"no node of the cluster has {demand.cpus} cores and {demand.gpus:g} GPUs, as each slide takes; "
        "lower --ray-cpus or --ray-gpus"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0].rstrip(".")
