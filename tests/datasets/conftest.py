from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from wsss_mm.patches import VOCABULARIES, write_manifest

VOCABULARY = VOCABULARIES["lung"]


def write_png(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def patches(tmp_path):
    """12 patches of noise, 8 train and 4 valid, all with masks, 6 of the train ones with pseudo-labels."""
    rng = np.random.default_rng(0)
    root, rows, labelled = tmp_path / "patches", [], []
    for index in range(12):
        split = "train" if index < 8 else "valid"
        patch_id = f"{split}-{index:02d}"
        path, mask_path = f"images/{split}/{patch_id}.png", f"masks/{split}/{patch_id}.png"
        write_png(root / path, rng.integers(0, 256, (48, 48, 3), dtype=np.uint8))
        mask = rng.integers(0, 4, (48, 48), dtype=np.uint8)
        mask[:5] = 255
        write_png(root / mask_path, mask)
        row = {"patch_id": patch_id, "slide_id": f"s{split}", "patient_id": f"p{split}", "split": split, "x": 0, "y": 0}
        row |= {"mpp": 1.0, "size": 48, "path": path, "mask_path": mask_path, "sha256": "0", "tissue": 1.0}
        rows.append(row | {code: bool(rng.integers(2)) for code in VOCABULARY.codes})
        if split == "train" and index < 6:
            write_png(tmp_path / "pseudo" / "labels" / f"{patch_id}.png", (mask + 1) % 4)
            labelled.append({"patch_id": patch_id, "path": f"labels/{patch_id}.png", "coverage": 1.0})
    write_manifest(pd.DataFrame(rows), root)
    pd.DataFrame(labelled).to_parquet(tmp_path / "pseudo" / "manifest.parquet")
    return root
