"""A budget in cycles: each is a whole schedule of its own, and a longer budget begins with the shorter one.

With one schedule over the whole training, twice the iterations are another training from its first step on, and may end
worse. In cycles the learning rate rises and falls anew in each; draws, dropout and steps of the first ones do not know
how many follow. The best validated weights of all cycles are kept, so that those of a longer budget are never worse on
the validation split. (Warm restarts: Loshchilov & Hutter, ICLR 2017; here with the poly decay of the single schedule.)
"""

import logging
from typing import Any

from mmengine.hooks import Hook
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from wsss_mm.registry import HOOKS, PARAM_SCHEDULERS

_log = logging.getLogger(__name__)


@PARAM_SCHEDULERS.register_module()
class CyclicPolyLR(LRSchedulerMixin, _ParamScheduler):
    """A linear rise from a tenth times a poly decay to 0, in each cycle alike.

    Args:
        optimizer: Wrapped optimizer.
        cycle: Iterations of a cycle.
        warmup: Share of a cycle in which the learning rate rises.
        power: Of the decay.
        kwargs: As for mmengine's schedulers.
    """

    def __init__(self, optimizer: Any, *, cycle: int, warmup: float, power: float, **kwargs: Any) -> None:
        self.cycle, self.rise, self.power = cycle, max(1, round(warmup * cycle)), power
        self.first = 0.1 if warmup else 1.0
        super().__init__(optimizer, **kwargs)

    def _get_value(self) -> list[float]:
        step = self.last_step % self.cycle
        risen = self.first + (1 - self.first) * min(1, step / self.rise)
        factor = risen * (1 - step / self.cycle) ** self.power
        return [base * factor for base in self.base_values]


@HOOKS.register_module()
class CycleHook(Hook):
    """Ends the training behind cycles that brought no better weights.

    Args:
        cycle: Iterations of a cycle; None does nothing.
        patience: Cycles in a row that may bring nothing.
    """

    priority = "LOWEST"  # the best weights are known, the checkpoint is written

    def __init__(self, cycle: int | None = None, patience: int = 1) -> None:
        self.cycle, self.patience = cycle, patience

    def before_train(self, runner: Any) -> None:
        """A training that ended here, and is resumed, ends here again."""
        self._look(runner)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """End where a cycle does."""
        self._look(runner)

    def _look(self, runner: Any) -> None:
        done = runner.iter
        best = runner.message_hub.get_info("best_file", None)
        if not self.cycle or not done or done % self.cycle or best is None:
            return
        at = int(best.removeprefix("best-").removesuffix(".pth"))
        if at <= done - self.patience * self.cycle:
            _log.info("the cycles up to iteration %d brought nothing better than iteration %d: done", done, at)
            runner.train_loop.stop_training = True
