"""Training with several processes, as torchrun starts them: one global batch, one set of artefacts.

torchrun --standalone --nproc-per-node 2 -m pipelines.train_segmenter
"""

import os
from typing import Any

import torch
import torch.distributed as torch_dist
from mmengine.dist import get_world_size
from mmengine.model import MMDistributedDataParallel
from torch import Tensor, nn

from wsss_mm.errors import InputError
from wsss_mm.inference.runtime import choose_device, is_gpu
from wsss_mm.registry import MODEL_WRAPPERS


def join_processes() -> int:
    """Meet the other processes of a torchrun; without torchrun, there is one process.

    mmengine's own launcher needs a GPU; it takes over a group that exists.

    Returns:
        This process's rank, 0 for the one that writes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return 0
    if not torch_dist.is_initialized():
        gpu = is_gpu(choose_device())
        if gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        torch_dist.init_process_group("nccl" if gpu else "gloo")
    return torch_dist.get_rank()


def batch_per_process(batch_size: int, accumulate: int, section: str) -> int:
    """Patches of a global batch that fall to each process.

    Raises:
        InputError: they cannot be shared out equally.
    """
    processes = get_world_size()
    if batch_size % (processes * accumulate):
        raise InputError(
            f"params.yaml: {section}.batch_size {batch_size} must be a multiple of {processes} processes times "
            f"accumulate {accumulate}; change it, or start another number of processes"
        )
    return batch_size // processes


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over the batches of all processes, for CPUs: torch's SyncBatchNorm needs a GPU."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C, H, W); in training by the mean and variance of all processes' pixels, in float32."""
        if not self.training or get_world_size() == 1:
            return super().forward(input)
        from torch.distributed.nn.functional import all_reduce  # differentiable

        values = input.float()
        count = values.numel() // values.shape[1] * get_world_size()  # every process holds as many
        mean = all_reduce(values.sum((0, 2, 3))) / count
        centred = values - mean[:, None, None]
        variance = all_reduce(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            kept: Any = self  # of its hints, buffers that are there may be None
            kept.num_batches_tracked += 1
            kept.running_mean.lerp_(mean.detach(), self.momentum)
            kept.running_var.lerp_(variance.detach() * (count / max(count - 1, 1)), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(input.dtype)


def share_batch_statistics(module: nn.Module) -> nn.Module:
    """The module with its batch normalisations replaced by those over all processes; state-dict keys stay."""
    if next(module.parameters()).is_cuda:
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for name, child in list(module.named_modules()):
        if isinstance(child, nn.BatchNorm2d):
            shared = SharedBatchNorm2d(child.num_features, child.eps, child.momentum)
            shared.weight, shared.bias = child.weight, child.bias
            shared.running_mean, shared.running_var = child.running_mean, child.running_var
            shared.num_batches_tracked = child.num_batches_tracked
            parent, _, attribute = name.rpartition(".")
            setattr(module.get_submodule(parent), attribute, shared)
    return module


@MODEL_WRAPPERS.register_module()
class SharedDataParallel(MMDistributedDataParallel):
    """Averages gradients over processes and shares batch statistics, so that buffers need no broadcast.

    Args:
        module: The network, on its device.
        device_ids: mmengine's guess at this process's GPU, which is wrong on a CPU.
    """

    def __init__(self, module: nn.Module, device_ids: list[int] | None = None) -> None:
        gpus = device_ids if next(module.parameters()).is_cuda else None
        super().__init__(share_batch_statistics(module), device_ids=gpus, broadcast_buffers=False)
