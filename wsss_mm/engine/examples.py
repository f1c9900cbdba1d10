"""The same few patches at every validation, so that one sees what the segmenter learns and forgets."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook

from wsss_mm.engine.hooks import network
from wsss_mm.patches import IGNORE
from wsss_mm.registry import HOOKS

_OPACITY = 0.5


def overlay(image: npt.NDArray[np.uint8], labels: npt.NDArray, palette: list[list[int]]) -> npt.NDArray[np.uint8]:
    """(H, W, 3) image with its classes in colour; ignored pixels show the image, paler."""
    colors = np.full((256, 3), 255, np.float32)
    colors[: len(palette)] = palette
    opacity = np.where(labels == IGNORE, 0.7, _OPACITY)[..., None]
    return (image * (1 - opacity) + colors[labels] * opacity).astype(np.uint8)


@HOOKS.register_module()
class ExamplesHook(Hook):
    """Logs `examples/<patch_id>` at every validation: image | label | prediction.

    The label is the truth for validation patches and the pseudo-label for training patches.

    Args:
        count: Patches of each kind, spread over the data set.
    """

    priority = "LOW"

    def __init__(self, count: int = 4) -> None:
        self.count = count

    @master_only
    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Draw and log."""
        datasets = {"valid": runner.val_dataloader.dataset, "train": runner.train_dataloader.dataset}
        for split, dataset in datasets.items():
            for index in np.linspace(0, len(dataset) - 1, min(self.count, len(dataset))).astype(int):
                record = dataset.decoded(int(index))
                name = f"examples/{split}/{Path(record['patch_id']).name}"
                runner.visualizer.add_image(name, self._picture(network(runner), record, dataset), step=runner.iter)

    @staticmethod
    @torch.no_grad()
    def _picture(model: Any, record: dict, dataset: Any) -> npt.NDArray[np.uint8]:
        image, labels = record["img"], record["gt_seg_map"]
        model.eval()
        inputs = torch.from_numpy(image.transpose(2, 0, 1).copy())
        sample = dataset.pipeline.transforms[-1]({**record})["data_samples"]
        batch = model.data_preprocessor({"inputs": [inputs], "data_samples": [sample]})
        prediction = model(**batch, mode="predict")[0].pred_sem_seg.data[0].cpu().numpy()
        palette = dataset.metainfo["palette"]
        panels = (image, overlay(image, labels, palette), overlay(image, prediction, palette))
        gap = np.full((image.shape[0], 4, 3), 255, np.uint8)
        return np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)
