"""Randomness keyed by (seed, draw): a sample's augmentation is a function of its place in the training, nothing else.

So results depend neither on the number of workers nor on what ran before, and a resumed training continues with the
very samples an undisturbed one would have seen.
"""

import random
from collections.abc import Iterator, Sized
from contextlib import contextmanager

import numpy as np
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from wsss_mm.registry import DATA_SAMPLERS

Draw = tuple[int, int]
"""(index into the dataset, number of the draw since the training began)"""

_ORDER, _SAMPLE = 0, 1  # independent streams under one seed


def sample_generator(seed: int, draw: int) -> np.random.Generator:
    """The generator of one draw."""
    return np.random.default_rng((seed, _SAMPLE, draw))


@contextmanager
def legacy_seeded(generator: np.random.Generator) -> Iterator[None]:
    """Seed `random` and `np.random` from a generator, and give them back as they were.

    mmcv's and mmseg's own transforms draw from these; with this they are keyed as well.
    """
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    seed = int(generator.integers(2**32))
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


@DATA_SAMPLERS.register_module()
class SeededSampler(Sampler[Draw]):
    """An endless stream of draws: one shuffled pass over the dataset after another.

    Of several processes each takes every n-th draw, so that together they make the batches one process would.

    Args:
        dataset: What to sample.
        seed: Of the order.
    """

    def __init__(self, dataset: Sized, seed: int | None = 0) -> None:
        self.dataset = dataset
        self.seed = seed or 0
        rank, self.step = get_dist_info()
        self.first = self.start = rank

    def __iter__(self) -> Iterator[Draw]:
        size = len(self.dataset)
        draw = self.start
        while True:
            order = np.random.default_rng((self.seed, _ORDER, draw // size)).permutation(size)
            for index in order[draw % size :: self.step]:
                yield int(index), draw
                draw += self.step

    def __len__(self) -> int:
        return len(self.dataset)

    def skip(self, num_samples: int) -> None:
        """Leave out as many of this process's draws: mmengine calls this when it resumes a training."""
        self.start = self.first + num_samples * self.step
