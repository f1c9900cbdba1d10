"""Mixed precision: what `precision` of params.yaml means on this machine."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from wsss_mm.inference.runtime import choose_device, choose_precision, device_of, is_gpu
from wsss_mm.registry import OPTIM_WRAPPERS

if TYPE_CHECKING:
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
        with super().optim_context(model), torch.autocast(device_of(model).type, dtype=torch.bfloat16):
            yield


def training_precision(precision: "Precision", section: str) -> "Precision":
    """The precision of a training, with `auto` decided for this machine.

    Args:
        precision: see `choose_precision`.
        section: Of params.yaml, for errors.

    Raises:
        InputError: this machine cannot train in that precision.
    """
    return choose_precision(precision, choose_device(), "training", f"params.yaml: {section}.precision")


def lay_out(network: Any, wrapper: Mapping[str, Any] | None) -> None:
    """Keep channels last in memory where a GPU multiplies in reduced precision, which is how its units want them.

    A step of ResNet38 at full width is 1.3 to 1.7 times as fast so on an H100 (`benchmarks/gpu.py`). In float32, and on
    a CPU, nothing changes.

    Args:
        network: on its device.
        wrapper: `optim_wrapper` of the config; None trains nothing.
    """
    if wrapper is not None and wrapper["type"] != "OptimWrapper" and is_gpu(device_of(network)):
        network.to(memory_format=torch.channels_last)
