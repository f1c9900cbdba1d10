"""What is watched while a network trains; the figures that are reported come from `wsss_mm.evaluation`."""

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric

from wsss_mm.registry import METRICS
from wsss_mm.vocabulary import IGNORE


@METRICS.register_module()
class MultiLabelAP(BaseMetric):
    """Mean average precision of the label sets: `mean_ap` over the classes that occur, and `ap.<code>`."""

    default_prefix = "valid"

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Collect scores and labels."""
        self.results.extend((sample["label"].cpu().numpy(), sample["scores"].cpu().numpy()) for sample in data_samples)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Average precision per class and its mean."""
        from sklearn.metrics import average_precision_score

        labels, scores = (np.stack(column) for column in zip(*results, strict=True))
        found = {
            code: float(average_precision_score(labels[:, index], scores[:, index]))
            for index, code in enumerate(self.dataset_meta["classes"])
            if labels[:, index].any()
        }
        mean = float(np.mean(list(found.values()))) if found else 0.0
        return {"mean_ap": mean, **{f"ap.{code}": value for code, value in found.items()}}


@METRICS.register_module()
class TissueIoU(BaseMetric):
    """IoU from one confusion matrix over the split: `miou` over the classes that occur, and `iou.<code>`.

    Args:
        ignore: Pixels with this truth do not count.
    """

    default_prefix = "valid"

    def __init__(self, ignore: int = IGNORE, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.ignore = ignore

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Add up the confusion matrices of a batch."""
        classes = len(self.dataset_meta["classes"])
        for sample in data_samples:
            truth = sample["gt_sem_seg"]["data"].cpu().numpy().ravel().astype(np.int64)
            prediction = sample["pred_sem_seg"]["data"].cpu().numpy().ravel()
            pairs = (truth * classes + prediction)[truth != self.ignore]
            self.results.append(np.bincount(pairs, minlength=classes**2).reshape(classes, classes))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """IoU per class that has true pixels, and the mean."""
        confusion = np.sum(results, axis=0)
        hits, truth = np.diag(confusion), confusion.sum(axis=1)
        union = truth + confusion.sum(axis=0) - hits
        codes = self.dataset_meta["classes"]
        found = {code: hits[i] / union[i] for i, code in enumerate(codes) if truth[i]}
        mean = float(np.mean(list(found.values()))) if found else 0.0
        return {"miou": mean, **{f"iou.{code}": float(value) for code, value in found.items()}}
