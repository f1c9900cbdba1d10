"""The CAMs of the same few patches at every validation, so that one sees what the classifier comes to look at."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mmengine.dist import master_only
from mmengine.hooks import Hook

from wsss_mm.cam.pictures import heat
from wsss_mm.cam.pseudo_label import PseudoLabeller
from wsss_mm.inference.runtime import network
from wsss_mm.pictures import INK, SheetRow, contact_sheet, overlay
from wsss_mm.registry import HOOKS
from wsss_mm.vocabulary import Vocabulary


@HOOKS.register_module()
class CamExamplesHook(Hook):
    """Logs `examples.<split>.<patch_id>` at every validation: patch | CAM of each label | pseudo-label at scale 1.

    Args:
        count: Patches of each split, spread over the data set.
    """

    priority = "LOW"

    def __init__(self, count: int = 4) -> None:
        self.count = count

    @master_only
    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Draw and log."""
        model = network(runner).eval()
        labeller = PseudoLabeller(model, scales=(1.0,), background=False)
        datasets = {"valid": runner.val_dataloader.dataset, "train": runner.train_dataloader.dataset}
        for split, dataset in datasets.items():
            for index in np.linspace(0, len(dataset) - 1, min(self.count, len(dataset))).astype(int):
                record = dataset.decoded(int(index))
                name = f"examples.{split}.{Path(record['patch_id']).name}"
                runner.visualizer.add_image(name, _picture(labeller, record, dataset.vocabulary), step=runner.iter)


def _picture(labeller: PseudoLabeller, record: dict[str, Any], vocabulary: Vocabulary) -> npt.NDArray[np.uint8]:
    image, held = record["img"], record["label"] > 0
    cams = labeller.cams(image[None])[0].cpu().numpy()
    labels = labeller(image[None], held[None]).labels[0]
    shown = [(item, cam) for item, cam, present in zip(vocabulary.classes, cams, held, strict=True) if present]
    titles = ["Patch", *(f"CAM {item.name}" for item, _ in shown), "Pseudo-label"]
    panels = [image, *(heat(image, cam) for _, cam in shown), overlay(image, labels, vocabulary)]
    colors = [INK, *(item.color for item, _ in shown), INK]
    return np.asarray(contact_sheet([SheetRow(panels)], titles, colors=colors, side=168))
