"""Work that is done in advance by a thread, so that reading, the network and writing do not wait for each other."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_PATIENCE = 0.1  # s between looks at whether anybody still wants the items


@dataclass(frozen=True)
class _End:
    """No more items: the iterator was exhausted, or failed."""

    error: BaseException | None = None


def prefetch(items: Generator[Item, None, None], depth: int) -> Iterator[Item]:
    """Items of a generator that runs in a thread of its own, at most `depth` items ahead of who takes them.

    Order is kept. An error of the generator is raised where its item would have come; closing this iterator ends the
    thread and closes the generator.

    Args:
        items: runs, and is closed, in the other thread.
        depth: items that may wait; 0 runs the generator in this thread.
    """
    if depth < 1:
        yield from items
        return
    waiting: Queue[Item | _End] = Queue(depth)
    unwanted = Event()
    worker = Thread(target=_fill, args=(items, waiting, unwanted), daemon=True)
    worker.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        unwanted.set()
        with suppress(Empty):
            while True:
                waiting.get_nowait()
        worker.join()


def worked(items: Iterator[Item], work: Callable[[Item], Result], workers: int) -> Iterator[tuple[Item, Result]]:
    """Items with what `work` makes of them, in order, several at a time.

    Each of the threads is at most one item ahead of who takes them, and one item waits for whichever is free first.

    Args:
        items: runs in this thread.
        work: runs in `workers` threads; its error is raised where its item would have come.
        workers: items worked on at the same time; 0 does the work in this thread.
    """
    if workers < 1:
        for item in items:
            yield item, work(item)
        return
    pool = ThreadPoolExecutor(workers, "worker")
    begun: deque[tuple[Item, Future[Result]]] = deque()
    try:
        for item in items:
            begun.append((item, pool.submit(work, item)))
            if len(begun) > workers:
                first, made = begun.popleft()
                yield first, made.result()
        while begun:
            first, made = begun.popleft()
            yield first, made.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _fill(items: Generator[Item, None, None], waiting: "Queue[Item | _End]", unwanted: Event) -> None:
    end = _End()
    try:
        for item in items:
            if not _put(waiting, item, unwanted):
                return
    except BaseException as error:  # raised again by whoever takes the items
        end = _End(error)
    finally:
        items.close()
        _put(waiting, end, unwanted)


def _put(waiting: "Queue[Item | _End]", item: "Item | _End", unwanted: Event) -> bool:
    while not unwanted.is_set():
        with suppress(Full):
            waiting.put(item, timeout=_PATIENCE)
            return True
    return False
