"""Doing the same to many files at once; decoders and encoders release the interpreter lock, so threads do."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_files(function: Callable[[Item], Result], items: Iterable[Item], description: str) -> list[Result]:
    """Apply `function` to every item, in threads, under a progress bar; results in the order of the items.

    The first error stops the rest and is raised.
    """
    items = list(items)
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
    try:
        futures = [pool.submit(function, item) for item in items]
        return [future.result() for future in tqdm(futures, desc=description, unit="file")]
    finally:
        pool.shutdown(cancel_futures=True)
