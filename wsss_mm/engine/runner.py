"""mmengine's Runner from a config."""

import io
import logging
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_distributed, is_main_process
from mmengine.runner import Runner

from wsss_mm.engine.checkpoints import read_checkpoint, sound_checkpoint
from wsss_mm.engine.precision import lay_out
from wsss_mm.errors import InputError
from wsss_mm.inference.runtime import network, prepare_torch
from wsss_mm.places import CHECKPOINT

_RUN_KEYS = ("work_dir", "resume", "experiment_name", "launcher", "load_from", "model_wrapper_cfg")


def config_text(config: Config) -> str:
    """The resolved config without what belongs to one run: equal params give equal text."""
    return Config({key: value for key, value in config.items() if key not in _RUN_KEYS}).pretty_text


class _Runner(Runner):
    """mmengine's, that says of what it cannot build in which file that stands, and resumes by the line's own reader."""

    file: Path

    def load_checkpoint(
        self, filename: str, map_location: Any = "cpu", strict: bool = True, revise_keys: Sequence[Any] = ()
    ) -> dict[str, Any]:
        """Load what `read_checkpoint` reads.

        Raises:
            InputError: it is none, or one of another network.
        """
        checkpoint = read_checkpoint(filename, map_location)
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        try:
            network(self).load_state_dict(checkpoint["state_dict"], strict=strict)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(f"{filename}: of another network ({reason}); {CHECKPOINT.again}") from None
        self._has_loaded = True
        return checkpoint

    def build_train_loop(self, loop: Any) -> Any:
        with _told_of(self.file, "train_dataloader or train_cfg"):
            return super().build_train_loop(loop)

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        with _told_of(self.file, "optim_wrapper"):
            return super().build_optim_wrapper(optim_wrapper)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        with _told_of(self.file, "param_scheduler"):
            return super().build_param_scheduler(scheduler)

    def build_val_loop(self, loop: Any) -> Any:
        with _told_of(self.file, "val_dataloader, val_cfg or val_evaluator"):
            return super().build_val_loop(loop)


def build_runner(config: Config, work_dir: Path | str, file: Path, *, seed: int = 0, threads: int = 0) -> Runner:
    """A Runner that resumes from the newest sound checkpoint in `work_dir`, if there is one.

    Args:
        config: See `wsss_mm.engine.configs.load_config`.
        work_dir: For checkpoints, the log and the curves.
        file: The config file, for errors.
        seed: Of the initialisation, unless the config has `randomness`; order, augmentation and dropout have their own.
        threads: CPU threads of torch, 0 for all cores.

    Raises:
        InputError: a part of it cannot be built; of loops, optimiser and schedules when the Runner trains, which is
            when mmengine builds them.
    """
    prepare_torch(threads)
    if config.get("compile"):  # then what is compiled, too
        torch.use_deterministic_algorithms(True, warn_only=torch.is_deterministic_algorithms_warn_only_enabled())
    config.work_dir = str(work_dir)
    found = [sound_checkpoint(Path(work_dir)) if is_main_process() else None]
    broadcast_object_list(found)  # all processes go on from the same one
    (checkpoint,) = found
    config.resume = checkpoint is not None
    config.load_from = None if checkpoint is None else str(checkpoint)
    config.setdefault("randomness", {"seed": seed})
    if is_distributed():
        config.launcher, config.model_wrapper_cfg = "pytorch", {"type": "wsss_mm.SharedDataParallel"}
    # The name keys mmengine's global message hub; two trainings in one process must not share it.
    config.experiment_name = f"wsss_mm-{uuid.uuid4().hex[:8]}"
    # A log, a dump and each checkpoint hold its text: laid out for people, each would take yapf 0.4 s.
    plain = Config(config.to_dict(), format_python_code=False)
    with quiet_libraries(), _told_of(file, "it"):
        runner: Any = _Runner.from_cfg(plain)
    runner.file = file
    lay_out(network(runner), config.get("optim_wrapper"))
    return runner


def is_killed_worker(error: BaseException) -> bool:
    """Whether torch says that a data-loader worker came to its end from outside."""
    return isinstance(error, RuntimeError) and "DataLoader worker" in str(error)


@contextmanager
def _told_of(file: Path, what: str) -> Iterator[None]:
    """Errors of parts, which raise what they like, by the file that asks for them."""
    try:
        yield
    except (InputError, OSError, MemoryError):  # of data and machine
        raise
    except Exception as error:
        if is_killed_worker(error):  # torch says so wherever the main process is just then
            raise
        reason = " ".join(str(error).split()).partition(". Please check")[0][:300] or "no reason given"
        raise InputError(
            f"{file}: {what} cannot be built ({type(error).__name__}: {reason}); correct it there"
        ) from None


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence notes of mmengine and mmseg about choices this project makes on purpose."""
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
