"""The same few patches at every validation, so that one sees what the segmenter learns and forgets."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook

from wsss_mm.inference.runtime import network
from wsss_mm.patches.background import without_glass
from wsss_mm.pictures import SheetRow, contact_sheet, overlays
from wsss_mm.registry import HOOKS


@HOOKS.register_module()
class ExamplesHook(Hook):
    """Logs `examples.<split>.<patch_id>` at every validation: patch | truth or label | prediction, and the legend.

    MLflow shows pictures whose names have a slash before all curves without one; these stand after the curves.
    Validation patches show their truth, training patches the label they are taught with. The prediction is shown as a
    slide's map is: glass has no class.

    Args:
        count: Patches of each kind, spread over the data set.
    """

    priority = "LOW"

    def __init__(self, count: int = 4) -> None:
        self.count = count

    @master_only
    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Draw and log."""
        datasets = {
            "valid": ("Truth", runner.val_dataloader.dataset),
            "train": ("Label", runner.train_dataloader.dataset),
        }
        for split, (label, dataset) in datasets.items():
            for index in np.linspace(0, len(dataset) - 1, min(self.count, len(dataset))).astype(int):
                record = dataset.decoded(int(index))
                name = f"examples.{split}.{Path(record['patch_id']).name}"
                runner.visualizer.add_image(
                    name, self._picture(network(runner), record, dataset, label), step=runner.iter
                )

    @staticmethod
    @torch.no_grad()
    def _picture(model: Any, record: dict, dataset: Any, label: str) -> npt.NDArray[np.uint8]:
        image, labels = record["img"], record["gt_seg_map"]
        model.eval()
        inputs = torch.from_numpy(image.transpose(2, 0, 1).copy())
        sample = dataset.pipeline.transforms[-1]({**record})["data_samples"]
        batch = model.data_preprocessor({"inputs": [inputs], "data_samples": [sample]})
        prediction = model(**batch, mode="predict")[0].pred_sem_seg.data[0].cpu().numpy()
        shown = without_glass(image, prediction.astype(np.uint8), record["mpp"])
        row = SheetRow(overlays(image, (labels, shown), dataset.vocabulary))
        return np.asarray(contact_sheet([row], ["Patch", label, "Prediction"], legend=dataset.vocabulary))
