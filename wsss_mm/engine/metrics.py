"""What is watched while a network trains: figures of `wsss_mm.evaluation`, under mmengine's names."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from wsss_mm.evaluation import confusion_matrix, multilabel_metrics, segmentation_metrics
from wsss_mm.registry import METRICS
from wsss_mm.vocabulary import IGNORE


@METRICS.register_module()
class MultiLabelAP(BaseMetric):
    """Mean average precision of the label sets: `mean_ap` over the classes that occur, and `ap.<code>`."""

    default_prefix = "valid"

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Collect scores and labels."""
        for sample in data_samples:
            label, scores = (sample[name].cpu().numpy() for name in ("label", "scores"))
            known = sample["known"].cpu().numpy() if "known" in sample else np.ones(label.shape, dtype=bool)
            self.results.append((label, scores, known))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Average precision per class and its mean, which comes first."""
        labels, scores, known = (np.stack(column) for column in zip(*results, strict=True))
        return _watched(multilabel_metrics(labels, scores, _classes(self), known=known), "mean_ap", "ap.")


@METRICS.register_module()
class TissueIoU(BaseMetric):
    """IoU from one confusion matrix over the split: `miou` over the classes that occur, and `iou.<code>`.

    Args:
        ignore: Pixels with this truth do not count.
    """

    default_prefix = "valid"

    def __init__(self, ignore: int = IGNORE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ignore = ignore

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Add up the confusion matrices of a batch."""
        classes = len(_classes(self))
        for sample in data_samples:
            truth, prediction = (sample[name]["data"].cpu().numpy() for name in ("gt_sem_seg", "pred_sem_seg"))
            self.results.append(confusion_matrix(truth, prediction, classes, self.ignore))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """IoU per class that has true pixels, and the mean, which comes first."""
        return _watched(segmentation_metrics(np.sum(results, axis=0), _classes(self)), "miou", "iou.")


def _classes(metric: BaseMetric) -> Sequence[str]:
    meta: Any = metric.dataset_meta  # the loop gives it
    return meta["classes"]


def _watched(metrics: Mapping[str, float | None], mean: str, each: str) -> dict[str, float]:
    """The mean, 0 where no class occurs, and the figures of the classes that do."""
    found = {name: value for name, value in metrics.items() if name.startswith(each) and value is not None}
    return {mean: metrics[mean] or 0.0, **found}
