"""Where an unfinished training lives: work_dirs/<stage>/<fingerprint of params and inputs>."""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process

from wsss_mm.errors import BusyError
from wsss_mm.files import digest, explained, locked

_log = logging.getLogger(__name__)

_KEPT, _KEPT_DAYS = 3, 14
_DAY = 24 * 60 * 60


def fingerprint(params: Mapping[str, Any], inputs: Iterable[Path | str]) -> str:
    """16 hex digits of the params and of the bytes of the inputs; a folder counts with all files under it.

    Args:
        params: JSON-able.
        inputs: Files and folders; their own place does not matter, the names inside a folder do.
    """
    hasher = hashlib.sha256(json.dumps(params, sort_keys=True, default=str).encode())
    for path in map(Path, inputs):
        files = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
        for item in files:
            if "__pycache__" not in item.parts:
                hasher.update(f"{item.relative_to(path).as_posix()}\0{digest(item)}\0".encode())
    return hasher.hexdigest()[:16]


@contextmanager
def work_folder(stage: str, key: str, root: Path | str = "work_dirs") -> Iterator[Path]:
    """A folder for a training's checkpoints: kept if the training breaks off, so that the same one resumes.

    It is removed when the training has ended well, so that a forced repetition trains anew. Folders that other params
    or inputs of this stage left behind are pruned: those unused for 14 days, and all but the 3 used last.

    Raises:
        InputError: another process is training in it.
    """
    folder = Path(root) / stage / key
    if any(folder.glob("checkpoint-*.pth")):
        _log.info("resuming the unfinished training in %s", folder)
    with ExitStack() as stack:
        if is_main_process():
            stack.enter_context(
                locked(folder, busy=f"{folder}: another process runs this training; wait for it to end")
            )
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        if is_main_process():
            os.utime(folder)
            _prune(folder)
        yield folder
        barrier()  # the other processes are done with it, too
        if is_main_process():
            shutil.rmtree(folder)


def _prune(current: Path) -> None:
    """Remove the abandoned trainings beside this one; one that is at work is locked and stays."""
    others = [item for item in current.parent.iterdir() if item != current and item.is_dir()]
    used = {item: max(path.stat().st_mtime for path in (item, *item.iterdir())) for item in others}
    for place, item in enumerate(sorted(others, key=used.__getitem__, reverse=True)):
        days = (time.time() - used[item]) / _DAY
        if place < _KEPT and days <= _KEPT_DAYS:
            continue
        with suppress(BusyError), locked(item, busy=f"{item}: is at work"):
            _log.info("%s: abandoned %.0f days ago by other params or inputs; removed", item, days)
            shutil.rmtree(item)
