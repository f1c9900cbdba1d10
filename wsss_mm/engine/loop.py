"""The training loop: mmengine's, with gradient accumulation that leaves the schedule alone."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.runner import IterBasedTrainLoop

from wsss_mm.registry import LOOPS


@LOOPS.register_module()
class PiecewiseTrainLoop(IterBasedTrainLoop):
    """An iteration is one mini-batch and one update, however many pieces the mini-batch is worked off in.

    So neither the learning rate, the order of the data nor the place of a checkpoint depends on the number of pieces.
    (mmengine accumulates over iterations, whose number, schedule and checkpoints then mean something else.)

    Args:
        pieces: Equal parts of a mini-batch, one after another through the network; their gradients are averaged.
            Memory falls with the size of a piece. Batch normalisation sees the pieces, not the whole.
        args: As for mmengine's loop.
        kwargs: As for mmengine's loop.
    """

    def __init__(self, *args: Any, pieces: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pieces = pieces

    def run(self) -> Any:
        """Train."""
        wrapper = self.runner.optim_wrapper
        wrapper.initialize_count_status(self.runner.model, self._iter * self.pieces, self._max_iters * self.pieces)
        return super().run()

    def run_iter(self, data_batch: Any) -> None:
        """One mini-batch: its pieces' losses, their mean over pieces and processes for the hooks, one update."""
        runner = self.runner
        runner.call_hook("before_train_iter", batch_idx=self._iter, data_batch=data_batch)
        outputs = [
            runner.model.train_step(piece, optim_wrapper=runner.optim_wrapper)
            for piece in _split(data_batch, self.pieces)
        ]
        names = list(outputs[0])
        values = torch.stack([torch.stack([output[name].detach().float() for name in names]) for output in outputs])
        values = values.mean(0)
        all_reduce(values, "mean")
        mean = dict(zip(names, values, strict=True))
        runner.call_hook("after_train_iter", batch_idx=self._iter, data_batch=data_batch, outputs=mean)
        self._iter += 1


def _split(batch: dict[str, Sequence], pieces: int) -> Iterator[dict[str, Sequence]]:
    """Equal parts of a batch as mmengine's `pseudo_collate` makes it: lists by name."""
    size = len(batch["inputs"]) // pieces
    for start in range(0, size * pieces, size):
        yield {name: values[start : start + size] for name, values in batch.items()}
