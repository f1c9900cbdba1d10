"""Where an unfinished training lives: work_dirs/<stage>/<fingerprint of params and inputs>."""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process

from wsss_mm.files import digest

_log = logging.getLogger(__name__)


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

    It is removed when the training has ended well, so that a forced repetition trains anew.
    """
    folder = Path(root) / stage / key
    if (folder / "last_checkpoint").is_file():
        _log.info("resuming the unfinished training in %s", folder)
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    barrier()  # the other processes are done with it, too
    if is_main_process():
        shutil.rmtree(folder)
