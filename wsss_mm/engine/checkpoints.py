"""Checkpoints of an unfinished training: two generations, each with its digests beside it.

    checkpoint-00000120.pth     the whole state: network, optimizer, schedule, averages, rows of the curves
    checkpoint-00000120.sha256  digests of it and of the best weights it refers to, as `sha256sum -c` reads them
    best-00000080.pth           the best weights so far

The digests are written before the checkpoint gets its name, so one without them, or without the right ones, is damaged.
"""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce, barrier, is_distributed, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer

from wsss_mm.engine.hooks import validates_after
from wsss_mm.errors import InputError, Terminated
from wsss_mm.files import digest, explained, write_text
from wsss_mm.formats import DamagedError, number_line, read_lines
from wsss_mm.inference.runtime import network
from wsss_mm.models.store import save_weights
from wsss_mm.places import CHECKPOINT
from wsss_mm.registry import HOOKS

_log = logging.getLogger(__name__)

_GENERATIONS = 2
_STATISTICS = ("min", "max", "current", "mean")


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a work folder, newest first, damaged ones too."""
    return sorted(folder.glob("checkpoint-*.pth"), reverse=True)


def sound_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is as it was written; None if there is none.

    A damaged one is logged, and removed so that it is not taken for a generation.
    """
    for path in checkpoints(folder):
        damaged = _damaged(path)
        if damaged is None:
            return path
        _log.warning("%s: damaged (its sha256 differs, or it is gone); falling back to the checkpoint before", damaged)
        path.unlink()
        path.with_suffix(".sha256").unlink(missing_ok=True)
    if any(folder.glob("*.sha256")) or any(folder.glob("best-*.pth")):
        _log.warning("%s: no sound checkpoint; the training starts afresh", folder)
    return None


def _damaged(checkpoint: Path) -> Path | None:
    """The file of this generation that is not as it was written, if there is one."""
    beside = checkpoint.with_suffix(".sha256")
    if not beside.is_file():
        return beside
    try:
        read_lines(beside, CHECKPOINT)
    except DamagedError:
        return beside
    expected = _listed(beside)
    if checkpoint.name not in expected:
        return beside
    for name, sha256 in expected.items():
        path = checkpoint.parent / name
        if not path.is_file() or digest(path) != sha256:
            return path
    return None


def _listed(beside: Path) -> dict[str, str]:
    """File names to digests, as a .sha256 file has them; a name that is no plain file name is left out."""
    lines = (line.partition("  ") for line in beside.read_text(encoding="utf-8", errors="replace").splitlines())
    return {name: sha256 for sha256, _, name in lines if name and Path(name).name == name}


def _statistic(owner: object, name: str) -> object:
    """What a checkpoint gets for Python's `getattr`: mmengine pickles the four statistics of its histories with it."""
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise ValueError(f"it asks for {name!r} of {owner!r}")
    return getattr(HistoryBuffer, name)


_HELD: list[Any] = [  # beside tensors, numbers and texts; that of numpy by example, since its module's name differs
    *(HistoryBuffer, (_statistic, "builtins.getattr"), np.ndarray, np.dtype),
    *(value.__reduce__()[0] for value in (np.zeros(1), np.float64())),
    *{type(np.dtype(kind)) for kind in f"{np.typecodes['AllInteger']}{np.typecodes['AllFloat']}?U"},
]


def read_checkpoint(path: Path | str, device: Any = "cpu") -> dict[str, Any]:
    """The state that a training left in a checkpoint, read without executing anything.

    mmengine's own reader depends on its version and on torch's: one refuses the histories of what it logged, another
    runs whatever the file says.

    Args:
        path: The checkpoint.
        device: Where its tensors go, as of `torch.load`.

    Raises:
        DamagedError: it holds something else than a training leaves.
    """
    try:
        with torch.serialization.safe_globals(_HELD):
            found = torch.load(path, map_location=device, weights_only=True)
        if not isinstance(found, dict) or not {"meta", "state_dict", "message_hub"} <= found.keys():
            raise ValueError("no state of a training")
    except (OSError, MemoryError):
        raise
    except Exception as error:  # what unpickling raises is up to the file, though it builds nothing but the above
        what = str(error).rpartition("WeightsUnpickler error: ")[2].partition(". Please use")[0]  # without its advice
        reason = " ".join(what.split())[:120] or type(error).__name__
        raise DamagedError(f"{path}: not a checkpoint of this line ({reason}); {CHECKPOINT.again}") from None
    return found


@HOOKS.register_module()
class ResumableCheckpointHook(Hook):
    """A checkpoint after every validation, the one before it, and the best weights so far.

    mmengine's own hook saves before the validation of the same step, which a resumed training then never sees.

    Args:
        interval: Iterations between checkpoints where there is no validation.
        best: Validation metric whose highest value decides the best weights; None keeps none.
    """

    priority = "VERY_LOW"

    def __init__(self, interval: int, best: str | None = None) -> None:
        self.interval, self.best = interval, best
        self.asked_to_end = False

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save where no validation does, or at once when asked to end.

        Raises:
            Terminated: the process got SIGTERM.
        """
        done = runner.iter + 1
        if validates_after(runner, done):  # which is part of this step; it saves, and ends, after it
            return
        end = self._all_end()
        if end or (runner.val_loop is None and done % self.interval == 0):
            self._save(runner, done, end)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Keep the best, then save.

        Raises:
            InputError: `best` is no metric of the validation.
            Terminated: the process got SIGTERM.
        """
        named = {key.rpartition("/")[2]: float(value) for key, value in (metrics or {}).items()}
        hub = runner.message_hub
        hub.update_info("last_metrics", named)
        if named and self.best is not None and self.best not in named:
            raise InputError(
                f"custom_hooks: wsss_mm.ResumableCheckpointHook: no validation metric is called {self.best!r}, which "
                f"is to decide the best weights; set best to one of {', '.join(named)} in the file of mmconfigs"
            )
        if self.best in named and named[self.best] > hub.get_info("best_metrics", {}).get(self.best, float("-inf")):
            best = Path(runner.work_dir) / f"best-{runner.iter:08d}.pth"
            if is_main_process():
                save_weights(network(runner).state_dict(), best)
            hub.update_info("best_metrics", named)
            hub.update_info("best_file", best.name)
        self._save(runner, runner.iter, self._all_end())

    def _all_end(self) -> bool:
        """Whether a process was asked to end: then all do, at the same step."""
        if is_distributed():
            asked = torch.tensor(int(self.asked_to_end))
            all_reduce(asked)
            return bool(asked)
        return self.asked_to_end

    @contextmanager
    def ending_on_sigterm(self) -> Iterator[None]:
        """SIGTERM within the block ends the training behind its next checkpoint, which is due at once."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only a main thread can have a handler
            return
        before = signal.signal(signal.SIGTERM, lambda *_: setattr(self, "asked_to_end", True))
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    @staticmethod
    def _save(runner: Any, done: int, end: bool) -> None:
        if is_main_process():
            _write(runner, done)
        if end:
            barrier()  # the checkpoint is complete before torchrun ends the others
            _log.warning("SIGTERM: %s has a checkpoint; the same command resumes from it", runner.work_dir)
            raise Terminated


def _write(runner: Any, done: int) -> None:
    """Write a generation; remove the one that is then the third."""
    folder = Path(runner.work_dir)
    path, written = folder / f"checkpoint-{done:08d}.pth", folder / "writing.tmp"
    with explained(path):
        runner.save_checkpoint(str(folder), written.name, meta={"epoch": 0, "iter": done}, by_epoch=False)
    digests = {path.name: digest(written)}
    best = runner.message_hub.get_info("best_file", None)
    if best is not None:
        digests[best] = digest(folder / best)
    lines = "".join(f"{sha256}  {name}\n" for name, sha256 in digests.items())
    write_text(path.with_suffix(".sha256"), number_line(CHECKPOINT) + lines)
    with written.open("rb") as stream:
        os.fsync(stream.fileno())  # or a power cut may leave a name without content
    written.replace(path)
    _prune(folder)


def _prune(folder: Path) -> None:
    """Remove what belongs to neither generation."""
    kept = checkpoints(folder)[:_GENERATIONS]
    needed = {name for path in kept for name in _listed(path.with_suffix(".sha256"))}
    needed |= {path.with_suffix(".sha256").name for path in kept}
    for pattern in ("checkpoint-*.*", "best-*.pth"):
        for path in folder.glob(pattern):
            if path.name not in needed:
                path.unlink()
