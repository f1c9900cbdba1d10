"""The same work on the machines of a Ray cluster: which of them does it changes no result.

The variable WSSS_MM_RAY names a cluster for the stages of the line, as MLFLOW_TRACKING_URI names a server; it is
neither a parameter nor a dependency of any. All nodes see the project under the same absolute path, on storage that
they share. A task whose node or process died is repeated on another, so what it writes it writes atomically, and the
same bytes again.
"""

import logging
import os
import re
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar, cast

from tqdm import tqdm

from wsss_mm import places
from wsss_mm.errors import BusyError, InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

CLUSTER = "WSSS_MM_RAY"
"""Variable of the environment with the address of a cluster, HOST:PORT, or `auto` for the one this machine is of."""

_OTHER_VERSION = re.compile(r"Version mismatch.* Ray: (\S+) Python: (\S+) .* Ray: (\S+) Python: (\S+)")  # Ray's words
_PATIENCE = 10  # s
_LOCK_TRIES, _LOCK_PAUSE = 24, 5  # s; NFS forgets the locks of a dead client after a minute and a half
_AHEAD = 2  # tasks that the cluster holds, times those that run at once: no core waits for this machine


@dataclass(frozen=True)
class Demand:
    """What a task takes of a node.

    Attributes:
        cpus: cores reserved.
        gpus: GPUs reserved, below 1 where tasks share one.
        retries: how often a task is started again whose node or process died.
    """

    cpus: int = 1
    gpus: float = 0.0
    retries: int = 3


ONE_CORE = Demand()


class DiedError(InputError):
    """The node or process of a task died more often than it was to be started again."""


@dataclass(frozen=True)
class TaskResult(Generic[Result]):
    """What became of a task.

    Attributes:
        result: what the function gave; None where there is an error.
        error: what it raised, or a `DiedError`.
        node: address of the node where wrong input was found; it may be wrong there alone.
    """

    result: Result | None = None
    error: Exception | None = None
    node: str = ""


def named_cluster() -> str:
    """The address that `CLUSTER` gives; an empty string where it gives none."""
    return os.environ.get(CLUSTER, "").strip()


def check_cluster() -> str:
    """See that tasks can be handed to the named cluster, and say what it has; an empty string where none is named.

    Raises:
        InputError: no Ray, no cluster, or one of another version.
    """
    if not (address := named_cluster()):
        return ""
    with connected(address, f"{CLUSTER}={address}", f", or work on this machine: unset {CLUSTER}") as ray:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cores, gpus = (sum(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU"))
        return f"{address}: nodes {len(nodes)}, cores {cores:g}, GPUs {gpus:g}, Ray {ray.__version__}"


def map_on_cluster(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    description: str,
    called: Callable[[Item], object] = str,
    *,
    demand: Demand = ONE_CORE,
    unit: str = "file",
    size: Callable[[Item], int] = lambda _: 1,
) -> list[Result]:
    """Apply `function` to every item on the named cluster, under a progress bar; results in the order of the items.

    Args:
        function: travels to the nodes, as do items and results; it works in this process's folder there.
        items: a task each.
        description: of the progress bar.
        called: what a message calls an item.
        demand: what a task takes of a node.
        unit: of the progress bar.
        size: of an item, in these units.

    Raises:
        InputError: no Ray, no cluster, or a node that does not share this folder. An error of `function` is raised as
            it is and never retried: of several that of the first item, as on one machine.
    """
    items = list(items)
    waited_for = set(range(len(items)))
    results: dict[int, Result] = {}
    errors: dict[int, Exception] = {}
    with tqdm(total=sum(map(size, items)), desc=description, unit=unit) as bar:
        for index, outcome in results_on_cluster(function, items, description, called, demand):
            bar.update(size(items[index]))
            waited_for.remove(index)
            if outcome.error is None:
                results[index] = cast("Result", outcome.result)
            else:
                errors[index] = outcome.error
            if errors and not any(other < min(errors) for other in waited_for):
                raise errors[min(errors)]
    return [results[index] for index in range(len(items))]


def results_on_cluster(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    description: str,
    called: Callable[[Item], object] = str,
    demand: Demand = ONE_CORE,
) -> Iterator[tuple[int, TaskResult[Result]]]:
    """As `map_on_cluster`, but give each item's number and what became of it as soon as it is known; raise no error."""
    with connected(address := named_cluster(), f"{CLUSTER}={address}") as ray, _shared_folder() as folder:
        less = ", or lower threads in params.yaml" if demand.cpus > 1 else ""
        check_capacity(ray, demand, f"a task of {description}", f"start a larger one{less}")
        yield from task_results(ray, function, items, demand, name=description, called=called, folder=folder)


def in_turns(outcomes: Iterable[tuple[int, TaskResult[Result]]]) -> Iterator[TaskResult[Result]]:
    """What became of items, in the order of these: each as soon as all before it are known."""
    waiting: dict[int, TaskResult[Result]] = {}
    turn = 0
    for index, outcome in outcomes:
        waiting[index] = outcome
        while turn in waiting:
            yield waiting.pop(turn)
            turn += 1


def task_results(
    ray: ModuleType,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    demand: Demand,
    *,
    name: str,
    called: Callable[[Item], object] = str,
    folder: tuple[str, str] | None = None,
) -> Iterator[tuple[int, TaskResult[Result]]]:
    """Apply a function to every item, a task each; no more tasks are handed over than keep the nodes at work.

    Args:
        ray: see `connected`.
        function: travels to each worker process once.
        items: travel to the nodes.
        demand: what a task takes.
        name: of the tasks, in Ray's own lists.
        called: what a message calls an item.
        folder: which the tasks work in, and a file in it that only this run has; None where they need none.

    Yields:
        Number of an item and what became of it, in the order in which they end.
    """
    task = ray.remote(_task).options(
        name=name,
        num_cpus=demand.cpus,
        num_gpus=demand.gpus,
        max_retries=demand.retries,
        scheduling_strategy="SPREAD",
    )
    functions = [ray.put(function)]  # in a list it stays a reference, which a worker follows once
    waiting = iter(enumerate(items))
    running: dict[Any, tuple[int, Item]] = {}
    while True:
        for index, item in islice(waiting, max(0, _AHEAD * _slots(ray, demand) - len(running))):
            running[task.remote(functions, item, folder)] = index, item
        if not running:
            return
        (done,), _ = ray.wait(list(running), num_returns=1)
        index, item = running.pop(done)
        yield index, _outcome(ray, done, called(item))


def _outcome(ray: ModuleType, done: Any, item: object) -> TaskResult[Any]:
    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError as failure:
        logging.getLogger(__name__).error("%s", failure)  # a defect, with the traceback of its node
        return TaskResult(error=failure.cause)
    except ray.exceptions.RayError as failure:
        message = f"{item}: its node or process died too often ({first_line(failure)}); try again"
        return TaskResult(error=DiedError(message))


def _task(functions: list[Any], item: Any, folder: tuple[str, str] | None) -> TaskResult[Any]:
    """What runs on a node. Wrong input is not worth another try; Ray starts a task again only where a process died."""
    try:
        if folder is not None:
            _enter(*folder)
        function = _function_of(functions[0])
        for _ in range(_LOCK_TRIES):  # a node that is being given up may still hold the folder
            with suppress(BusyError):
                return TaskResult(function(item))
            time.sleep(_LOCK_PAUSE)
        return TaskResult(function(item))
    except (InputError, OSError) as error:
        return TaskResult(error=error, node=_here())


@lru_cache(maxsize=1)
def _function_of(reference: Any) -> Callable[[Any], Any]:
    """The function of this worker process, which lives on for the next task."""
    import ray

    return ray.get(reference)


def _here() -> str:
    import ray

    return ray.util.get_node_ip_address()


def _enter(folder: str, mark: str) -> None:
    try:
        os.chdir(folder)
        Path(mark).stat()
    except OSError:
        raise InputError(
            f"{folder}: node {_here()} does not see what lies there; mount the same storage at the same path on every "
            "node"
        ) from None


@contextmanager
def _shared_folder() -> Iterator[tuple[str, str]]:
    """This folder, and a file in it for as long as tasks run: a node that lacks it has another disk there."""
    work = places.WORK.absolute()
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=work, prefix="cluster-") as mark:
        yield str(Path.cwd()), mark.name


@contextmanager
def connected(address: str, named: str, instead: str = "") -> Iterator[ModuleType]:
    """Ray, connected to a cluster.

    Args:
        address: HOST:PORT, or `auto` for the cluster that this machine belongs to.
        named: how the user named it, for messages.
        instead: what else can be done, for messages.

    Raises:
        InputError: no Ray, no cluster there, or one of another version of Ray or Python.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise InputError(f"{named}: Ray is not installed; install it with: pip install -e '.[ray]'{instead}") from None
    try:
        _check_reachable(address)
        with _own_handler(signal.SIGTERM):  # or a stage that is asked to end no longer says so
            ray.init(address=address, logging_level=logging.WARNING)
    except (OSError, RuntimeError, ValueError) as error:
        ray.shutdown()  # one of another version is connected to by half
        if found := _OTHER_VERSION.search(" ".join(str(error).split())):
            raise InputError(
                f"{named}: the cluster has Ray {found[1]} and Python {found[2]}, this machine Ray {found[3]} and "
                f"Python {found[4]}; install the same on all and start the cluster again{instead}"
            ) from None
        raise InputError(
            f"{named}: no cluster there ({first_line(error)}); start one with `ray start --head`{instead}"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _own_handler(number: signal.Signals) -> Iterator[None]:
    """What this process does at a signal stays, whatever is called in the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(number)
    try:
        yield
    finally:
        signal.signal(number, before)


def _check_reachable(address: str) -> None:
    """Raise OSError where nobody listens; Ray itself would try for minutes and then end the process."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=_PATIENCE).close()


def check_capacity(ray: ModuleType, demand: Demand, what: str, remedy: str) -> None:
    """Refuse what no node can ever run: Ray would wait for a larger one.

    Args:
        ray: see `connected`.
        demand: what a task takes.
        what: takes it.
        remedy: what to do about it.

    Raises:
        InputError: no node is that large.
    """
    if not any(_fitting(node, demand) for node in ray.nodes()):
        raise InputError(
            f"no node of the cluster has {demand.cpus} cores and {demand.gpus:g} GPUs, as {what} takes; {remedy}"
        )


def _slots(ray: ModuleType, demand: Demand) -> int:
    """How many tasks run at once."""
    return max(1, sum(_fitting(node, demand) for node in ray.nodes()))


def _fitting(node: Mapping[str, Any], demand: Demand) -> int:
    """How many tasks a node runs at once."""
    if not node["Alive"]:
        return 0
    has = node["Resources"]
    by_cores = has.get("CPU", 0) // demand.cpus
    return int(min(by_cores, has.get("GPU", 0) / demand.gpus) if demand.gpus else by_cores)


def first_line(error: BaseException) -> str:
    """What an error says first, without a full stop."""
    return (str(error).strip().splitlines() or [""])[0].rstrip(".")
