"""Averaged weights: what is validated and kept is a running mean over the last iterations, not one noisy iterate."""

from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor

from wsss_mm.inference.runtime import network
from wsss_mm.registry import HOOKS

_KEY = "averaged_weights"


@HOOKS.register_module()
class WeightAveragingHook(Hook):
    """Exponential moving average of weights and batch statistics (Tarvainen & Valpola, NeurIPS 2017).

    The average takes the model's place while it is validated, and for good when the training ends. Checkpoints hold
    both, so that a resumed training is the undisturbed one.

    mmengine's EMAHook knows no decay that begins low, does not leave the average in the model, and lays checkpoints out
    in another way: trainings that broke off under an earlier version could not go on.

    Args:
        decay: Share of the average that an iteration keeps, at most; 0 does without an average. Early on less is kept,
            (1 + n) / (10 + n) after n iterations, so that the first weights are soon forgotten.
    """

    def __init__(self, decay: float = 0.0) -> None:
        self.decay = decay
        self.count = 0
        self.average: dict[str, Tensor] = {}
        self._current: dict[str, Tensor] = {}  # the model's own weights while the average takes their place

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Take over the average of a training that is resumed."""
        if _KEY in checkpoint:
            self.count, self.average = checkpoint[_KEY]["count"], checkpoint[_KEY]["average"]

    @torch.no_grad()
    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Add the weights to the average."""
        if not self.decay:
            return
        state = network(runner).state_dict()
        if not self.average:
            self.average = {key: value.clone() for key, value in state.items()}
        self.count += 1
        kept = min(self.decay, (1 + self.count) / (10 + self.count))
        for key, value in state.items():
            if value.is_floating_point():
                self.average[key].lerp_(value, 1 - kept)
            else:
                self.average[key].copy_(value)

    def before_val_epoch(self, runner: Any) -> None:
        """Put the average in."""
        if self.average:
            self._current = {key: value.clone() for key, value in network(runner).state_dict().items()}
            network(runner).load_state_dict(self.average)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Save both."""
        if self.average:
            checkpoint[_KEY] = {"count": self.count, "average": self.average}
            if self._current:
                checkpoint["state_dict"] = self._current

    def after_val(self, runner: Any) -> None:
        """Put the model's own weights back; by now the best have been kept and a checkpoint saved."""
        if self._current:
            network(runner).load_state_dict(self._current)
            self._current = {}

    def after_train(self, runner: Any) -> None:
        """Leave the average."""
        if self.average:
            network(runner).load_state_dict(self.average)
