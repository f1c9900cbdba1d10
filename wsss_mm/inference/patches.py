"""The loop that shows a network the patches of a manifest: scores, CAMs and segmentations are made in it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from wsss_mm.inference.runtime import arithmetic, choose_precision
from wsss_mm.patches.images import read_listed
from wsss_mm.patches.stains import patch_reader

if TYPE_CHECKING:
    from wsss_mm.settings import Precision

Pixels = npt.NDArray[np.uint8]
Found = TypeVar("Found")

BATCH_SIZE = 16
"""Patches a forward pass, unless told otherwise."""


@dataclass(frozen=True)
class Batch:
    """Patches of one size.

    Attributes:
        rows: of the manifest.
        pictures: (N, H, W, 3) uint8 RGB.
        device: where the network is.
    """

    rows: Sequence[pd.Series]
    pictures: Pixels
    device: torch.device

    @cached_property
    def images(self) -> Tensor:
        """(N, 3, H, W) uint8 RGB on the device."""
        return torch.from_numpy(self.pictures).permute(0, 3, 1, 2).contiguous().to(self.device)


@dataclass(frozen=True)
class SeenPatch(Generic[Found]):
    """A patch that was shown to a network: its `row` of the manifest, `image` (H, W, 3) RGB, and what was `found`."""

    row: pd.Series
    image: Pixels
    found: Found


def predict(
    rows: pd.DataFrame,
    folder: Path | None,
    step: Callable[[Batch], Sequence[Found]],
    device: str | torch.device,
    *,
    name: str,
    batch_size: int = BATCH_SIZE,
    precision: "Precision" = "auto",
    quiet: bool = False,
    images: Iterable[Pixels] | None = None,
) -> Iterator[SeenPatch[Found]]:
    """Show a network the patches of manifest rows, in their order, under a progress bar.

    Args:
        rows: rows of the manifest.
        folder: where their paths start; None if they have none.
        step: what is found in each patch of a batch, in its order; it runs without gradients.
        device: where the network is, see `wsss_mm.inference.runtime.device_of`.
        name: of the progress bar.
        batch_size: patches a forward pass, at most; a patch of another size starts a new batch, and where a GPU's
            memory does not hold that many, fewer are taken.
        precision: of the network, see `choose_precision`.
        quiet: no progress bar.
        images: the image of each row, of patches that are not stored; they are taken as they are needed.

    Raises:
        InputError: an image is missing or unreadable, or the device lacks the precision.

    Examples:
        How bright two patches are, that lie in no file; a network is called in the same way.

        >>> rows = pd.DataFrame({"patch_id": ["dark", "bright"]})
        >>> patches = [np.full((8, 8, 3), value, np.uint8) for value in (40, 200)]
        >>> def step(batch):
        ...     return batch.images.float().mean((1, 2, 3)).tolist()
        >>> seen = predict(rows, None, step, "cpu", name="brightness", quiet=True, images=patches)
        >>> [(item.row["patch_id"], item.found) for item in seen]
        [('dark', 40.0), ('bright', 200.0)]
    """
    device = torch.device(device)
    precision = choose_precision(precision, device, "patches")

    def run(batch: Batch) -> Sequence[Found]:
        with torch.no_grad(), arithmetic(device, precision):
            return step(batch)

    each = (row for _, row in rows.iterrows())
    if images is not None:
        pairs = zip(each, images, strict=False)  # the last row is the end: no image is looked for after it
    elif folder is not None:
        read = patch_reader(folder, rows)
        pairs = ((row, read_listed(read, folder / row["path"])) for row in each)
    else:
        raise ValueError("neither a folder nor images")
    with tqdm(total=len(rows), desc=name, unit="patch", **({"disable": True} if quiet else {})) as bar:
        for _, same_size in groupby(pairs, key=lambda item: item[1].shape):
            for batch, found in _fitting(same_size, run, device, batch_size):
                for row, image, item in zip(batch.rows, batch.pictures, found, strict=True):
                    yield SeenPatch(row, image, item)
                bar.update(len(batch.rows))


def _fitting(
    patches: Iterable[tuple[pd.Series, Pixels]],
    run: Callable[[Batch], Sequence[Found]],
    device: torch.device,
    size: int,
) -> Iterator[tuple[Batch, Sequence[Found]]]:
    """Batches of patches of one size with what was found in them, smaller once one did not fit into memory."""
    patches = iter(patches)
    waiting = list(islice(patches, size))
    while waiting:
        taken, rest = waiting[:size], waiting[size:]
        batch = Batch([row for row, _ in taken], np.stack([image for _, image in taken]), device)
        try:
            found = run(batch)
        except torch.OutOfMemoryError:
            if len(taken) == 1:
                raise
            size = (len(taken) + 1) // 2
            continue
        yield batch, found
        waiting = [*rest, *islice(patches, max(0, size - len(rest)))]
