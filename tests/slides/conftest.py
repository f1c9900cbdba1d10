"""Slides small enough to make in a test, with values that are known."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from filelock import FileLock

from tests.conftest import shared_folder
from wsss_mm.slides.phantom import generate_cohort

RAMP_SIDE = 120


@pytest.fixture(scope="session")
def phantom(tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    """A phantom cohort of 2 training slides and 1 test slide of 1 mm2."""
    base = shared_folder(tmp_path_factory)  # drawn once for all processes of pytest: 7 s of CPU
    folder, table = base / "phantom", base / "phantom.pickle"
    with FileLock(base / "phantom.lock"):
        if not table.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a process that did not come to the end
            drawn = generate_cohort(folder, {"train": 2, "test": 1}, 2048, seed=7, workers=1, progress=False)
            drawn.to_pickle(table)
    return folder, pd.read_pickle(table)


@pytest.fixture(scope="session")
def ramp(tmp_path_factory) -> Path:
    """A two-level slide of 120 px at 0.5 um/px whose red is 2 x and whose green is 2 y, so that any drift shows."""
    path = tmp_path_factory.mktemp("ramp") / "ramp.tif"
    axis = np.arange(RAMP_SIDE, dtype=np.uint8) * 2
    image = np.zeros((RAMP_SIDE, RAMP_SIDE, 3), np.uint8)
    image[..., 0], image[..., 1] = axis[None, :], axis[:, None]
    half = image.reshape(RAMP_SIDE // 2, 2, RAMP_SIDE // 2, 2, 3).mean((1, 3))
    _write_tiff(path, [image, half.astype(np.uint8)], mpp=0.5)
    return path


@pytest.fixture(scope="session")
def write_tiff() -> Callable[[Path, list[np.ndarray], float | None], None]:
    """Writes levels (H, W, 3) as a lossless pyramid of an mpp, or of none, that OpenSlide opens as generic-tiff."""
    return _write_tiff


def _write_tiff(path: Path, levels: list[np.ndarray], mpp: float | None) -> None:
    with tifffile.TiffWriter(path) as tiff:
        for number, level in enumerate(levels):
            resolution = {} if mpp is None else {"resolution": (1e4 / mpp / 2**number,) * 2, "resolutionunit": 3}
            tiff.write(
                level,
                photometric="rgb",
                tile=(64, 64),
                compression="zlib",
                subfiletype=int(number > 0),
                metadata=None,
                **resolution,
            )
