"""Hooks that make a training reproducible, resumable and readable."""

import csv
import io
import math
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank, is_main_process
from mmengine.hooks import Hook
from tqdm import tqdm

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import write_text
from wsss_mm.inference.runtime import network
from wsss_mm.models.backbones import initial_file, load_initial_weights
from wsss_mm.models.losses import NoiseSuppressedCrossEntropyLoss
from wsss_mm.registry import HOOKS


def validates_after(runner: Any, done: int) -> bool:
    """Whether mmengine validates once `done` iterations are done."""
    loop = runner.train_loop
    return runner.val_loop is not None and (done % loop.val_interval == 0 or done == runner.max_iters)


@HOOKS.register_module()
class KeyedRandomnessHook(Hook):
    """Seeds torch from (seed, process, iteration), so that dropout after a resume is what it would have been.

    Args:
        seed: Of the training.
    """

    priority = "VERY_HIGH"

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seed."""
        torch.manual_seed((self.seed << 32) + (get_rank() << 24) + runner.iter)


@HOOKS.register_module()
class DivergenceHook(Hook):
    """Stops a training whose loss is no number any more, before its weights are judged or saved.

    Args:
        section: Of params.yaml, for the error.
    """

    priority = "VERY_HIGH"

    def __init__(self, section: str) -> None:
        self.section = section
        self._last = math.nan

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Look at the loss.

        Raises:
            InputError: it is NaN or infinite; the message says where, which term, and what to change.
        """
        loss = float(outputs["loss"])
        if math.isfinite(loss):
            self._last = loss
            return
        terms = [
            name
            for name, value in outputs.items()
            if "loss" in name and name != "loss" and not math.isfinite(float(value))
        ]
        lr = runner.optim_wrapper.get_lr()["lr"][-1]
        before = f"{self._last:.4g} before" if math.isfinite(self._last) else "the first one"
        raise InputError(
            f"params.yaml: {self.section} diverged: {' and '.join(terms) or 'loss'} is {loss} at iteration "
            f"{runner.iter + 1} of {runner.max_iters} (loss {before}, lr {lr:.3g}); lower {self.section}.lr, or set "
            f"{self.section}.precision: fp32"
        )


@HOOKS.register_module()
class AttentionScheduleHook(Hook):
    """Tells the progressive dropout attention the epoch, from which alone its threshold follows.

    Args:
        epoch_length: Iterations of one pass over the data.
    """

    def __init__(self, epoch_length: int) -> None:
        self.epoch_length = epoch_length

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Set the epoch."""
        network(runner).attention.epoch = runner.iter // self.epoch_length


@HOOKS.register_module()
class SuppressionScheduleHook(Hook):
    """Suppresses noise only once the head has learnt something: plain cross-entropy comes first.

    What it sets follows from the iteration alone, so that a resumed training is the undisturbed one.

    Args:
        begin: Iterations of plain cross-entropy.
    """

    def __init__(self, begin: int = 0) -> None:
        self.begin = begin

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Tell the losses."""
        for module in network(runner).modules():
            if isinstance(module, NoiseSuppressedCrossEntropyLoss):
                module.suppressing = runner.iter >= self.begin


@HOOKS.register_module()
class InitialWeightsHook(Hook):
    """Loads backbone weights into a training that begins; a resumed one has its own.

    Args:
        weights: A file that the backbone reads, see `initial_file`; also a classifier's weights.pth.
        encoder: Its name in encoders.yaml, if it is one of these.
    """

    def __init__(self, weights: str | None = None, encoder: str | None = None) -> None:
        self.weights, self.encoder = weights, encoder

    def before_train(self, runner: Any) -> None:
        """Load."""
        if self.weights is not None and runner.iter == 0:
            load_initial_weights(network(runner).backbone, *initial_file(self.weights, self.encoder))


@HOOKS.register_module()
class CurvesHook(Hook):
    """Writes step, epoch, mean loss since the last row, learning rate and validation metrics as CSV.

    The file is kept up to date; a resumed training goes on behind the rows of its checkpoint.

    Args:
        epoch_length: Iterations of one pass over the data.
        interval: Iterations a row.
        metrics: Names of the validation metrics to add as columns.
        name: Of the CSV file, in the runner's work_dir.
    """

    def __init__(
        self, epoch_length: int, interval: int, metrics: tuple[str, ...] = (), name: str = places.CURVES
    ) -> None:
        self.name = name
        self.path = Path(name)
        self.epoch_length, self.interval = epoch_length, interval
        self.columns = ("step", "epoch", "loss", "lr", *metrics)
        self.rows: list[dict[str, str]] = []
        self._losses: list[float] = []

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Rows and losses are part of the checkpoint: a resumed training's file is that of the undisturbed one."""
        checkpoint["curves"] = {"rows": self.rows, "losses": self._losses}

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Take over the rows of the checkpoint."""
        self.rows, self._losses = checkpoint["curves"]["rows"], checkpoint["curves"]["losses"]

    def before_train(self, runner: Any) -> None:
        """The file is what the checkpoint says, whatever an interrupted training left in it."""
        self.path = Path(runner.work_dir) / self.name
        self._write()

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Collect the loss; add a row where one is due."""
        self._losses.append(float(outputs["loss"].detach()))
        done = runner.iter + 1
        if done % self.interval == 0 or done == runner.max_iters or validates_after(runner, done):
            row = {
                "step": done,
                "epoch": round(done / self.epoch_length, 3),
                "loss": round(sum(self._losses) / len(self._losses), 6),
                "lr": round(runner.optim_wrapper.get_lr()["lr"][-1], 8),  # of the head, where the encoder has its own
            }
            self._losses = []
            self.rows.append({key: str(value) for key, value in row.items()})
            self._write()

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Add the metrics to the row of this step."""
        for name, value in (metrics or {}).items():
            column = name.rpartition("/")[2]
            if column in self.columns and self.rows:
                self.rows[-1][column] = str(round(value, 6))
        self._write()

    def _write(self) -> None:
        if not is_main_process():
            return
        stream = io.StringIO()
        writer = csv.DictWriter(stream, self.columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, stream.getvalue())


@HOOKS.register_module()
class ProgressHook(Hook):
    """A progress bar over the iterations, with the loss and the last validation metric."""

    def __init__(self, label: str = "training") -> None:
        self.label = label
        self._bar = tqdm(disable=True)
        self._shown: dict[str, str] = {}

    def before_train(self, runner: Any) -> None:
        """Open the bar where the training (re)starts."""
        self._bar = tqdm(
            total=runner.max_iters,
            initial=runner.iter,
            desc=self.label,
            unit="it",
            mininterval=1,
            **({} if is_main_process() else {"disable": True}),
        )

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Advance."""
        self._shown["loss"] = f"{float(outputs['loss'].detach()):.3f}"
        self._bar.set_postfix(self._shown, refresh=False)
        self._bar.update()

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Show the first metric, which is the mean."""
        for name, value in list((metrics or {}).items())[:1]:
            self._shown[name.rpartition("/")[2]] = f"{value:.3f}"

    def after_train(self, runner: Any) -> None:
        """Close the bar."""
        self._bar.close()
