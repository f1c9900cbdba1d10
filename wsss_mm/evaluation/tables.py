"""Small tables that `dvc plots` draws with the templates in .dvc/plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm.files import atomic_path


def iou_table(metrics: Mapping[str, float | None], codes: Sequence[str]) -> pd.DataFrame:
    """`class` and `iou` of the classes that are present, from `segmentation_metrics`."""
    rows = [(code, metrics[f"iou.{code}"]) for code in codes if metrics[f"iou.{code}"] is not None]
    return pd.DataFrame(rows, columns=["class", "iou"])


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


def write_plot(table: pd.DataFrame, path: Path | str) -> None:
    """Write a table as CSV, atomically, floats to six decimals: equal tables give equal bytes."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", float_format="%.6f")
