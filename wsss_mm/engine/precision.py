"""Mixed precision: what `precision` of params.yaml means on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import nn

from wsss_mm.errors import InputError
from wsss_mm.registry import OPTIM_WRAPPERS
from wsss_mm.settings import Precision


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Convolutions and matrix products in bfloat16, on a CPU or a GPU.

    Weights, optimizer state, batch statistics and losses stay in float32. bfloat16 has float32's range, so the loss
    needs no scaling. mmengine's AmpOptimWrapper scales it, and refuses CPUs.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """What the forward pass runs in."""
        with super().optim_context(model), torch.autocast(get_device(), dtype=torch.bfloat16):
            yield


def training_precision(precision: Precision, section: str) -> Precision:
    """The precision of a training, with `auto` decided for this machine.

    Args:
        precision: `auto` takes bf16 on a GPU that multiplies it natively and fp16 on another. On a CPU it takes fp32:
            whether bf16 is faster there depends on processor and threads (`benchmarks/precision.py`).
        section: Of params.yaml, for errors.

    Raises:
        InputError: this machine cannot train in that precision.
    """
    gpu = get_device() != "cpu"
    if precision == "auto":
        precision = _best_of_gpu() if gpu else "fp32"
    if precision == "fp16" and not gpu:
        raise InputError(f"params.yaml: {section}.precision: fp16 needs a GPU; on a CPU, set bf16 or fp32")
    if precision == "bf16" and gpu and not torch.cuda.is_bf16_supported():
        raise InputError(f"params.yaml: {section}.precision: this GPU has no bf16; set fp16 or fp32")
    return precision


def _best_of_gpu() -> Precision:
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
