"""mmengine's Runner from a structure (mmconfigs) and values (params.yaml)."""

import io
import logging
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_distributed, is_main_process
from mmengine.runner import Runner

from wsss_mm.engine.checkpoints import sound_checkpoint
from wsss_mm.inference.runtime import prepare_torch

_RUN_KEYS = ("work_dir", "resume", "experiment_name", "launcher", "load_from", "model_wrapper_cfg")


def load_config(path: Path | str, overrides: Mapping[str, Any]) -> Config:
    """A config with values merged in.

    Args:
        path: A file of mmconfigs/.
        overrides: Dotted keys to values, as `Config.merge_from_dict` takes them. An item of a list is addressed by its
            type: `train_dataloader.dataset.pipeline.RandomCrop.size`, `custom_hooks.CurvesHook.interval`.
    """
    with quiet_libraries():
        config = Config.fromfile(path)
    structure = config.to_dict()
    config.merge_from_dict({_indexed(structure, key): value for key, value in overrides.items()})
    return config


def _indexed(structure: dict, key: str) -> str:
    """The key with types replaced by their places in the lists."""
    node: Any = structure
    parts = []
    for part in key.split("."):
        if isinstance(node, list):
            places = [i for i, item in enumerate(node) if item["type"].rpartition(".")[2] == part]
            if len(places) != 1:
                raise KeyError(f"{key}: {len(places)} items of type {part}")
            parts.append(str(places[0]))
            node = node[places[0]]
        else:
            parts.append(part)
            node = node.get(part) if isinstance(node, Mapping) else None
    return ".".join(parts)


def config_text(config: Config) -> str:
    """The resolved config without what belongs to one run: equal params give equal text."""
    return Config({key: value for key, value in config.items() if key not in _RUN_KEYS}).pretty_text


def build_runner(config: Config, work_dir: Path | str, *, seed: int = 0, threads: int = 0) -> Runner:
    """A Runner that resumes from the newest sound checkpoint in `work_dir`, if there is one.

    Args:
        config: See `load_config`.
        work_dir: For checkpoints, the log and the curves.
        seed: Of the initialisation; order, augmentation and dropout have theirs in the config.
        threads: CPU threads of torch, 0 for all cores.
    """
    prepare_torch(threads)
    config.work_dir = str(work_dir)
    found = [sound_checkpoint(Path(work_dir)) if is_main_process() else None]
    broadcast_object_list(found)  # all processes go on from the same one
    (checkpoint,) = found
    config.resume = checkpoint is not None
    config.load_from = None if checkpoint is None else str(checkpoint)
    config.randomness = {"seed": seed}
    if is_distributed():
        config.launcher, config.model_wrapper_cfg = "pytorch", {"type": "wsss_mm.SharedDataParallel"}
    # The name keys mmengine's global message hub; two trainings in one process must not share it.
    config.experiment_name = f"wsss_mm-{uuid.uuid4().hex[:8]}"
    with quiet_libraries():
        return Runner.from_cfg(config)


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
