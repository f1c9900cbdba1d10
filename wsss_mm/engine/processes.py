"""Training with several processes, as torchrun starts them: one global batch, one set of artefacts.

torchrun --standalone --nproc-per-node 2 -m pipelines.train_segmenter
"""

import os

import torch
import torch.distributed as torch_dist
from mmengine.dist import get_world_size
from mmengine.model import MMDistributedDataParallel
from torch import nn

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


@MODEL_WRAPPERS.register_module()
class SharedDataParallel(MMDistributedDataParallel):
    """Averages gradients over processes and, on GPUs, normalises batches by the statistics of all of them.

    torch's SyncBatchNorm needs a GPU. On CPUs, where several processes serve tests, each normalises its own share of
    the batch, and the running statistics that are kept are those of the first process.

    Args:
        module: The network, on its device.
        device_ids: mmengine's guess at this process's GPU, which is wrong on a CPU.
    """

    def __init__(self, module: nn.Module, device_ids: list[int] | None = None) -> None:
        if next(module.parameters()).is_cuda:
            shared = nn.SyncBatchNorm.convert_sync_batchnorm(module)
            super().__init__(shared, device_ids=device_ids, broadcast_buffers=False)
        else:
            super().__init__(module, device_ids=None, broadcast_buffers=True)
