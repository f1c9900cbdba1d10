"""Patches of a manifest labelled on this machine, or on the nodes of a cluster in the same batches: the same bytes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from wsss_mm.cam.pseudo_label import PseudoLabeller
from wsss_mm.cam.store import LabelledPatch, Possible, label_patches, possible_among
from wsss_mm.clusters import map_on_cluster, named_cluster
from wsss_mm.inference.nodes import Seat
from wsss_mm.inference.patches import BATCH_SIZE
from wsss_mm.inference.runtime import choose_device
from wsss_mm.models.members import load_classifiers
from wsss_mm.vocabulary import Vocabulary

TASK_SIZE = 4 * BATCH_SIZE
"""Patches a task, at most: whole batches, since the last bit of a CAM may depend on what else is in its batch."""

Use = Callable[[LabelledPatch], Any]
"""What is made of a labelled patch; it travels to the nodes, and what it writes it writes atomically."""


def load_labeller(
    folder: Path, make: Callable[..., PseudoLabeller], codes: Sequence[str], members: int
) -> PseudoLabeller:
    """What labels patches, with the stored classifiers.

    Args:
        folder: of the classifiers.
        make: gives it of these, see `wsss_mm.choosing.Choice.labeller`.
        codes: classes that they must have, in order.
        members: how many they must be.

    Raises:
        InputError: see `load_classifiers`.
    """
    classifiers, _ = load_classifiers(folder, choose_device(), codes, members=members)
    return make(*classifiers)


@dataclass(frozen=True)
class PseudoLabelling:
    """How patches are labelled, wherever it is done.

    Attributes:
        load: gives the labeller, once in each process; travels to the nodes.
        folder: where the paths of manifest rows start.
        vocabulary: the classes.
    """

    load: Callable[[], PseudoLabeller]
    folder: Path
    vocabulary: Vocabulary

    @cached_property
    def labeller(self) -> PseudoLabeller:
        """That of this process."""
        return self.load()

    def each(self, parts: Sequence[tuple[pd.DataFrame, Use]]) -> list[Iterator[Any]]:
        """Label patches as `label_patches` does, and make something of each.

        On a cluster, where one is named (see `wsss_mm.clusters`): tasks of `TASK_SIZE` patches, of all parts at once.

        Args:
            parts: rows of the manifest, and what is made of their patches.

        Returns:
            What was made of each part's patches, in the order of its rows.

        Raises:
            InputError: see `label_patches` and `map_on_cluster`; without a cluster, when its turn comes.
        """
        if not named_cluster():
            return [map(use, label_patches(self.labeller, rows, self.folder, self.vocabulary)) for rows, use in parts]
        chunks = [(part, chunk) for part, (rows, _) in enumerate(parts) for chunk in chunks_of(rows)]
        among = [rows if self.labeller.neighbours else None for rows, _ in parts]
        task = _Task(replace(self), [use for _, use in parts], among, seat := Seat.here())
        made = map_on_cluster(task, chunks, "pseudo-labels", _called, demand=seat.demand, unit="patch", size=_size)
        found: list[list[Any]] = [[] for _ in parts]
        for (part, _), of_chunk in zip(chunks, made, strict=True):
            found[part] += of_chunk
        return [iter(of_part) for of_part in found]


def chunks_of(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Manifest rows cut where `wsss_mm.inference.patches.predict` begins a batch, too: a new size always begins one."""
    start = 0
    for _, same_size in groupby(rows["size"]):
        end = start + sum(1 for _ in same_size)
        yield from (rows.iloc[first : min(first + TASK_SIZE, end)] for first in range(start, end, TASK_SIZE))
        start = end


_Chunk = tuple[int, pd.DataFrame]
"""Which part it is of, and its rows."""


@dataclass(frozen=True)
class _Task:
    """What runs on nodes; what it has once found out lives on in the process, for the next chunk.

    Attributes:
        labelling: loads the labeller there.
        uses: what is made of the patches of each part.
        among: for each part where neighbours are found; None where nobody asks for them.
        seat: what the network computes on.
    """

    labelling: PseudoLabelling
    uses: Sequence[Use]
    among: Sequence[pd.DataFrame | None]
    seat: Seat

    def __call__(self, chunk: _Chunk) -> list[Any]:
        """What is made of the patches of a chunk."""
        self.seat.take()
        how, (part, rows) = self.labelling, chunk
        patches = label_patches(
            how.labeller, rows, how.folder, how.vocabulary, possible=self._possible[part], quiet=True
        )
        return [self.uses[part](patch) for patch in patches]

    @cached_property
    def _possible(self) -> list[Possible | None]:
        how = self.labelling
        return [None if rows is None else possible_among(rows, how.folder, how.vocabulary) for rows in self.among]


def _size(chunk: _Chunk) -> int:
    return len(chunk[1])


def _called(chunk: _Chunk) -> str:
    return f"patch {chunk[1]['patch_id'].iloc[0]} and those after it"
