"""A network on the nodes of a cluster: what it computes on there, so that it gives what it gives here."""

import os
from dataclasses import dataclass

from wsss_mm.clusters import Demand
from wsss_mm.inference.runtime import DEVICE, choose_device, is_gpu, prepare_torch


@dataclass(frozen=True)
class Seat:
    """What a network computes on.

    Attributes:
        device: of torch, without a number: a task sees no GPU but its own.
        threads: of the CPU; another number may add up in another order, to another last bit.
        deterministic: whether as in the stages of the line, see `wsss_mm.inference.runtime.prepare_torch`.
    """

    device: str
    threads: int
    deterministic: bool = True

    @classmethod
    def here(cls) -> "Seat":
        """That of this machine, where torch is prepared."""
        import torch

        return cls(choose_device().partition(":")[0], torch.get_num_threads())

    @property
    def demand(self) -> Demand:
        """What a task takes of a node that has it."""
        return Demand(gpus=1) if is_gpu(self.device) else Demand(cpus=self.threads)

    def take(self) -> None:
        """Compute on it in this process, whatever else is here."""
        import torch

        os.environ[DEVICE] = self.device
        if self.deterministic:
            prepare_torch(self.threads)
        elif not is_gpu(self.device):
            torch.set_num_threads(self.threads)
