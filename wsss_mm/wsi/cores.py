"""A network on the cores of a CPU: one window a core.

A convolution of a single window is too small to be shared out well; windows are not. Each window then costs the same
arithmetic in the same order wherever it runs: the bits depend neither on the batch nor on the number of cores.

torch.jit is deprecated, and stays until something does as well: a program of torch.export takes 13 % more CPU time
(34.5 against 30.6 ms a window, PSPNet of width 1/8, float32), cannot be traced in bfloat16, and holds Python's lock;
torch.compile needs a C++ compiler where slides are segmented.
"""

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock

import numpy as np
import torch
from torch import Tensor, nn


def predict_by_window(
    network: nn.Module, cores: int, reduced: torch.dtype | None
) -> Callable[[np.ndarray], np.ndarray]:
    """A function of RGB windows (N, H, W, 3) uint8 to probabilities (N, C, H, W) float32; threads may share it.

    The network is traced and frozen for each size of window: batch normalisation goes into convolutions where it can,
    weights are converted once, and Python's lock is not held while it runs.

    Args:
        network: in eval mode, images (1, 3, H, W) uint8 to probabilities.
        cores: windows at the same time, each in a thread that uses one core.
        reduced: type of the convolutions' arithmetic, float32 if None.
    """
    pool = _single_threads(cores)
    frozen: dict[tuple[int, ...], Callable[[Tensor], Tensor]] = {}
    lock = Lock()

    @torch.inference_mode()
    def one(window: np.ndarray) -> np.ndarray:
        image = torch.from_numpy(np.ascontiguousarray(window.transpose(2, 0, 1)))[None]
        with lock:
            if image.shape not in frozen:
                frozen[image.shape] = _freeze(network, image, reduced)
        return frozen[image.shape](image).numpy()

    return lambda windows: np.concatenate(list(pool.map(one, windows)))


def _single_threads(count: int) -> ThreadPoolExecutor:
    """Threads in which torch uses one core; what it uses elsewhere stays as it is."""
    before, started = torch.get_num_threads(), Barrier(count)
    pool = ThreadPoolExecutor(count, "network", initializer=_use_one_core)
    list(pool.map(lambda _: started.wait(), range(count)))
    torch.set_num_threads(before)  # the last call is also what threads to come begin with
    return pool


def _use_one_core() -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # the first look fixes the number for this thread


def _freeze(network: nn.Module, image: Tensor, reduced: torch.dtype | None) -> Callable[[Tensor], Tensor]:
    with warnings.catch_warnings(), torch.autocast("cpu", reduced, enabled=reduced is not None, cache_enabled=False):
        warnings.simplefilter("ignore")  # on shapes, which are fixed here, and on torch.jit, see above
        return torch.jit.freeze(torch.jit.trace(network, image, check_trace=False))
