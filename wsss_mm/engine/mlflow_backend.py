"""mmengine's visualisation backend for MLflow runs that someone else starts and ends.

mmengine's own one ends the outer run and crashes with MLflow 3.
"""

import re
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.visualization.vis_backend import BaseVisBackend
from torch import Tensor

from wsss_mm import places
from wsss_mm.active_run import ActiveRun, active_run
from wsss_mm.registry import VISBACKENDS

_REFUSED = re.compile(r"[^A-Za-z0-9_./ -]")


@VISBACKENDS.register_module()
class MLflowBackend(BaseVisBackend):
    """Logs to the active run; without one, does nothing. Never starts or ends a run.

    Args:
        save_dir: Given by mmengine, not used.
    """

    def __init__(self, save_dir: str | None = None) -> None:
        super().__init__(save_dir or "")

    @property
    def experiment(self) -> ActiveRun | None:
        """The active run, None without one."""
        return active_run()

    def _init_env(self) -> None:
        """Nothing to set up."""

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Log the resolved config as artifact config.py."""
        if run := self.experiment:
            run.text(Config(config.to_dict()).pretty_text, places.CONFIG)  # a Runner's own is not laid out

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Log one metric."""
        self.add_scalars({name: value}, step)

    def add_scalars(
        self, scalar_dict: Mapping[str, Any], step: int = 0, file_path: str | None = None, **kwargs: Any
    ) -> None:
        """Log metrics; what is not a number is passed over."""
        if run := self.experiment:
            run.metrics(
                {metric_name(name): float(item) for name, item in scalar_dict.items() if _is_number(item)}, step
            )

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Log an image (H, W, 3) uint8 RGB under its name and step."""
        if run := self.experiment:
            run.image(np.ascontiguousarray(image), metric_name(name), step)


def metric_name(name: str) -> str:
    """A name MLflow takes, for a metric or an image: characters it refuses, such as ( ) + % =, become "_"."""
    return _REFUSED.sub("_", name)


def _is_number(value: Any) -> bool:
    """Whether it is a number, or an array or tensor that holds exactly one."""
    return isinstance(value, Real) or (isinstance(value, np.ndarray | Tensor) and value.shape in ((), (1,)))
