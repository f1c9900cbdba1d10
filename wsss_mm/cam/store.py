"""Pseudo-labels of a manifest's patches: read in batches, label, write as a folder that is whole or absent."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from wsss_mm.cam.pseudo_label import PseudoLabeller
from wsss_mm.errors import InputError
from wsss_mm.files import atomic_folder
from wsss_mm.formats import write_rows
from wsss_mm.inference.patches import BATCH_SIZE, Batch, predict
from wsss_mm.models import PatchClassifier
from wsss_mm.patches.images import write_mask
from wsss_mm.patches.manifest import possible_labels
from wsss_mm.patches.neighbours import Places, check_places, possible_classes
from wsss_mm.patches.shards import any_packed, manifest_format, pack_files
from wsss_mm.places import MANIFEST, MEMBERS, PSEUDO_LABEL_MANIFEST, pseudo_label_columns
from wsss_mm.vocabulary import IGNORE, Vocabulary

logger = logging.getLogger(__name__)

Possible = Callable[[pd.Series], np.ndarray]
"""What a patch may hold, by its row of the manifest."""

_OF_PATCH = ("slide_id", "image")  # columns that say where its label goes


@dataclass(frozen=True)
class LabelledPatch:
    """A patch with its pseudo-label: `row` of the manifest, `image` (H, W, 3), `labels` (H, W), `agreement` 0..1."""

    row: pd.Series
    image: np.ndarray
    labels: np.ndarray
    agreement: float


def label_patches(
    labeller: PseudoLabeller,
    rows: pd.DataFrame,
    folder: Path,
    vocabulary: Vocabulary,
    *,
    among: pd.DataFrame | None = None,
    possible: Possible | None = None,
    batch_size: int = BATCH_SIZE,
    quiet: bool = False,
) -> Iterator[LabelledPatch]:
    """Label the patches of manifest rows, in their order, with a progress bar.

    Args:
        labeller: what makes the labels.
        rows: rows of the patch manifest.
        folder: where the rows' paths start.
        vocabulary: the classes, whose columns are the label sets; classes that nobody is sure of stay possible.
        among: where a labeller that asks for neighbours finds them; `rows` if None.
        possible: what `possible_among` gives of them, where it is known.
        batch_size: patches a forward pass, see `wsss_mm.inference.patches.predict`.
        quiet: no progress bar.

    Raises:
        InputError: an image is missing or unreadable, or the labeller asks for neighbours and places are wrong.
    """
    if rows.empty:
        return
    if possible is None and labeller.neighbours:
        possible = possible_among(rows if among is None else among, folder, vocabulary)
    own = dict(zip(rows["patch_id"], possible_labels(rows, vocabulary.codes), strict=True))

    def step(batch: Batch) -> list[tuple[np.ndarray, float]]:
        label_sets = [possible(row) if possible else own[row["patch_id"]] for row in batch.rows]
        result = labeller(batch.pictures, np.array(label_sets))
        return list(zip(result.labels, result.agreement.tolist(), strict=True))

    name = f"pseudo-labels {rows['split'].iloc[0]}"
    for patch in predict(rows, folder, step, labeller.device, name=name, batch_size=batch_size, quiet=quiet):
        yield LabelledPatch(patch.row, patch.image, *patch.found)


def write_pseudo_labels(
    patches: Iterator[LabelledPatch],
    folder: Path | str,
    vocabulary: Vocabulary,
    made_of: Mapping[str, Any] = MappingProxyType({}),
) -> pd.DataFrame:
    """Write pseudo-labels as palette PNGs with a manifest; the folder appears when all of it is written.

    Those of patches in shards are put into shards, too.

    Args:
        patches: what `label_patches` yields.
        folder: becomes `labels/<patch_id>.png`, or shards of these, and `manifest.parquet`; what was there before is
            replaced.
        vocabulary: the classes and their colours.
        made_of: digests of what the labels follow from, a column each, for gate pseudo_labels to compare: `patches`
            (sha256 of the manifest) and `classifier` (see `wsss_mm.models.members.classifiers_md5`); and `made_by`.

    Returns:
        The manifest: patch_id, path (relative to `folder`), coverage (share of pixels with a label), share_<code>
        (share of the patch's pixels, so that they add up to the coverage), agreement (of the scales' votes), sha256 (of
        the file) and `made_of`.
    """
    with atomic_folder(folder) as temporary:
        records = (write_label(patch, temporary, vocabulary) for patch in patches)
        return finish_pseudo_labels(records, temporary, vocabulary, made_of)


def finish_pseudo_labels(
    records: Iterable[Mapping[str, object]], folder: Path, vocabulary: Vocabulary, made_of: Mapping[str, Any]
) -> pd.DataFrame:
    """Write the manifest of a folder of pseudo-labels, as `write_pseudo_labels` says, and give it.

    Args:
        records: what `write_label` gave of each.
        folder: where it wrote them.
        vocabulary: as for `write_pseudo_labels`.
        made_of: likewise.
    """
    columns = [*pseudo_label_columns(vocabulary.codes), *_OF_PATCH]
    frame = pd.DataFrame(list(records), columns=columns).sort_values("patch_id", ignore_index=True)
    if any_packed(frame["image"]):
        frame = pack_files(frame, folder, ("path",))
    frame = frame.drop(columns=list(_OF_PATCH)).assign(**made_of)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    write_rows(folder / MANIFEST, manifest_format(PSEUDO_LABEL_MANIFEST, frame["path"]), table)
    logger.info("%d pseudo-labels, mean coverage %.3f", len(frame), frame["coverage"].mean())
    return frame


def made_by(classifiers: Sequence[PatchClassifier]) -> dict[str, int]:
    """What the manifest says of how many classifiers there were: nothing of one."""
    return {MEMBERS: len(classifiers)} if len(classifiers) > 1 else {}


def possible_among(rows: pd.DataFrame, folder: Path, vocabulary: Vocabulary) -> Possible:
    """Gives the (C, H, W) classes that each pixel of a patch may be of, by all patches over it.

    Raises:
        InputError: places are wrong.
    """
    check_places(rows, folder, "pseudo_labels.neighbours")
    places, label_sets = Places.of(rows), possible_labels(rows, vocabulary.codes)
    order = {patch_id: index for index, patch_id in enumerate(rows["patch_id"])}
    return lambda row: possible_classes(places, label_sets, order[row["patch_id"]])


def write_label(patch: LabelledPatch, folder: Path, vocabulary: Vocabulary) -> dict[str, object]:
    """Write a pseudo-label into a folder, and give its record for `finish_pseudo_labels`."""
    patch_id = str(patch.row["patch_id"])
    if Path(patch_id).name != patch_id:
        raise InputError(f"patch {patch_id!r}: an id that is a path cannot name a file; rename it in the manifest")
    path = f"labels/{patch_id}.png"
    digest = write_mask(folder / path, patch.labels, vocabulary)
    shares = {f"share_{code}": float(np.mean(patch.labels == index)) for index, code in enumerate(vocabulary.codes)}
    coverage = float(np.mean(patch.labels != IGNORE))
    measured = {"coverage": coverage, **shares, "agreement": patch.agreement}
    of_patch = dict(zip(_OF_PATCH, (patch.row.get("slide_id"), patch.row.get("path")), strict=True))
    return {"patch_id": patch_id, "path": path, **measured, "sha256": digest, **of_patch}
