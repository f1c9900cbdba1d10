"""Where a network runs and in what arithmetic: one rule each, for trainings, patches and slides.

A device is chosen once, where a network is loaded; from there on data go where the network is (`device_of`).
"""

import os
import re
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

from wsss_mm.errors import InputError

if TYPE_CHECKING:
    import torch

    from wsss_mm.settings import Precision

Task = Literal["training", "patches", "slides"]


DEVICE = "WSSS_MM_DEVICE"
"""Variable of the environment that names a device for all that is started in it, stages of `dvc repro` too."""


def choose_device(told: str | None = None) -> str:
    """The device of torch for a network: the one that is told, else that of `WSSS_MM_DEVICE`, else a GPU.

    Raises:
        InputError: the one that is told or named is none, or not here.
    """
    import torch

    name = told or os.environ.get(DEVICE)
    if not name:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return name
    where = "device" if told else DEVICE
    found = re.fullmatch(r"cuda(?::([0-9]{1,4}))?", name)
    if found is None:
        raise InputError(
            f"{where} {name[:40]}: is no device that networks run on here; give cpu, cuda, or cuda:1 and so on"
        )
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(found[1] or 0) >= count:
        raise InputError(
            f"{where} {name}: torch finds {count} GPUs here; give cpu{', cuda:0' if count else ''}, or none"
        )
    return name


def is_gpu(device: "str | torch.device") -> bool:
    """Whether a device of torch is none of the CPU's."""
    import torch

    return torch.device(device).type != "cpu"


def device_of(network: "torch.nn.Module") -> "torch.device":
    """Where a network is, so that its input goes there too; one without weights is on the CPU."""
    import torch

    weights = next(chain(network.parameters(), network.buffers()), None)
    return torch.device("cpu") if weights is None else weights.device


def choose_precision(
    wanted: "Precision", device: "str | torch.device", task: Task, setting: str = "precision"
) -> "Precision":
    """The precision of a network's arithmetic, with `auto` decided for this machine.

    Args:
        wanted: `auto` takes bf16 on a GPU that multiplies it in hardware, and fp16 on another. On a CPU slides take
            bf16 where the CPU multiplies it in hardware (Intel's AMX), else fp32; trainings take fp32, because whether
            bf16 is faster there depends on processor and threads (`benchmarks/precision.py`). Patches take fp32
            everywhere: their figures are compared from machine to machine.
        device: of torch.
        task: what the network is wanted for.
        setting: for errors, where it was asked for.

    Raises:
        InputError: the device lacks that precision.
    """
    import torch

    if wanted == "auto":
        return _best(device, task)
    if wanted == "fp16" and not is_gpu(device):
        raise InputError(f"{setting}: fp16 needs a GPU; on a CPU, set bf16 or fp32")
    if wanted == "bf16" and is_gpu(device) and not torch.cuda.is_bf16_supported():
        raise InputError(f"{setting}: this GPU has no bf16; set fp16 or fp32")
    return wanted


def _best(device: "str | torch.device", task: Task) -> "Precision":
    import torch

    if task == "patches":
        return "fp32"
    if is_gpu(device):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # torch before 2.10 does not say
    return "bf16" if task == "slides" and capabilities.get("amx_bf16") else "fp32"


def reduced(precision: "Precision") -> "torch.dtype | None":
    """The type of the arithmetic of a precision that was chosen; None for float32, which nothing reduces."""
    import torch

    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)


def arithmetic(device: "str | torch.device", precision: "Precision") -> AbstractContextManager:
    """What a network runs in, in a precision that was chosen."""
    import torch

    dtype = reduced(precision)
    return nullcontext() if dtype is None else torch.autocast(torch.device(device).type, dtype)


def prepare_torch(threads: int = 0) -> None:
    """Deterministic algorithms and a number of CPU threads, 0 for all cores.

    `torch.use_deterministic_algorithms` would do the same to torch's compiler, which it takes 1 s of CPU to import.
    """
    import torch

    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # torchrun's processes share the cores
    torch.set_num_threads(threads or max(1, (os.cpu_count() or 1) // here))
    # On a GPU a few backward passes have no deterministic form: those warn instead of stopping the training.
    torch.set_deterministic_debug_mode("warn" if is_gpu(choose_device()) else "error")
    deterministic: Any = torch.utils.deterministic  # a module that torch makes of a class
    deterministic.fill_uninitialized_memory = False  # a fifth of the time, for memory nobody reads


def network(runner: Any) -> Any:
    """The model of mmengine's runner, without what spreads it over processes."""
    from mmengine.model import is_model_wrapper

    return runner.model.module if is_model_wrapper(runner.model) else runner.model
