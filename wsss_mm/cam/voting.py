"""Majority vote of the label maps of several scales (Pan et al. 2025, multi-scale voting)."""

from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

Maps = TypeVar("Maps", Tensor, np.ndarray)


def vote(label_maps: Maps) -> Maps:
    """Per-pixel majority; where labels tie, the one of the earliest map wins.

    Put the map to trust most first: the method lets scale 1 decide a three-way tie. Any value is a label, 255 too.

    Args:
        label_maps: (S, N, H, W), or any shape whose first axis counts the voters; integers, tensor or array.

    Returns:
        The winning labels, shape (N, H, W), of the type given.

    Examples:
        Three scales, one patch of 1 x 4 px; the last pixel is a tie, and the first map decides.

        >>> import numpy as np
        >>> scales = np.array([[[[0, 1, 2, 3]]], [[[0, 1, 1, 1]]], [[[0, 2, 1, 2]]]])
        >>> vote(scales)
        array([[[0, 1, 1, 3]]])
    """
    return vote_with_agreement(label_maps)[0]


def vote_with_agreement(label_maps: Maps) -> tuple[Maps, Maps]:
    """`vote`, and how many of the S maps stand behind each pixel's winner, (N, H, W) int64 in 1..S."""
    maps = torch.as_tensor(label_maps)
    winner, most = maps[0].clone(), (maps == maps[0]).sum(dim=0)
    for candidate in maps[1:]:  # as many rounds as scales; pixels are vectorised
        votes = (maps == candidate).sum(dim=0)
        better = votes > most
        winner, most = torch.where(better, candidate, winner), torch.where(better, votes, most)
    found: Any = (winner.numpy(), most.numpy()) if isinstance(label_maps, np.ndarray) else (winner, most)
    return found
