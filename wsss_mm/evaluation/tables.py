"""Small tables: what `dvc plots` draws with the templates in .dvc/plots, and counts that metrics are made from."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm.files import atomic_path
from wsss_mm.vocabulary import Vocabulary


def iou_table(metrics: Mapping[str, float | None], codes: Sequence[str]) -> pd.DataFrame:
    """`class` and `iou` of the classes that are present, from `segmentation_metrics`."""
    rows = [(code, metrics[f"iou.{code}"]) for code in codes if metrics[f"iou.{code}"] is not None]
    return pd.DataFrame(rows, columns=["class", "iou"])


def with_colors(table: pd.DataFrame, vocabulary: Vocabulary) -> pd.DataFrame:
    """A table with the column `color` for the classes in its column `class`: plots take it as it is."""
    colors = {item.code: item.hex_color for item in vocabulary.classes}
    return table.assign(color=table["class"].map(colors))


def confusion_table(confusion: npt.NDArray[np.int64], codes: Sequence[str]) -> pd.DataFrame:
    """`actual`, `predicted`, `pixels` and `share` (of the pixels of the actual class) of each pair of classes.

    DVC's own confusion templates count rows, one a sample, which pixels are too many for; hence the template
    `confusion_shares`. Classes without a pixel of truth have no rows.
    """
    rows = [
        (actual, predicted, int(pixels), pixels / counts.sum())
        for actual, counts in zip(codes, confusion, strict=True)
        for predicted, pixels in zip(codes, counts, strict=True)
        if counts.sum()
    ]
    return pd.DataFrame(rows, columns=["actual", "predicted", "pixels", "share"])


def count_table(patch_ids: Sequence[str], codes: Sequence[str], **matrices: npt.NDArray[np.int64]) -> pd.DataFrame:
    """Pixels a patch, by true and predicted class: what all segmentation metrics are made from.

    Args:
        patch_ids: names of P patches.
        codes: the C class codes.
        **matrices: (P, C, C) confusion matrices by name, row = truth.

    Returns:
        `patch_id` and `<name>.<true>.<predicted>`, a row a patch.
    """
    columns = count_columns(matrices, codes)
    flat = np.concatenate([part.reshape(len(patch_ids), len(codes) ** 2) for part in matrices.values()], axis=1)
    return pd.DataFrame(flat, columns=columns).assign(patch_id=list(patch_ids))[["patch_id", *columns]]


def count_columns(names: Iterable[str], codes: Sequence[str]) -> list[str]:
    """Columns of a `count_table` but `patch_id`."""
    return [f"{name}.{true}.{predicted}" for name in names for true in codes for predicted in codes]


def counts_of(table: pd.DataFrame, name: str, codes: Sequence[str]) -> npt.NDArray[np.int64]:
    """The (P, C, C) matrices called `name` in a `count_table`."""
    return table[count_columns([name], codes)].to_numpy(dtype=np.int64).reshape(-1, len(codes), len(codes))


def write_plot(table: pd.DataFrame, path: Path | str, float_format: str = "%.6f") -> None:
    """Write a table as CSV, atomically, floats to six decimals: equal tables give equal bytes."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", float_format=float_format)
