"""Evaluation: the confusion matrix and what follows from it, multi-label metrics, predictions, figures."""

from wsss_mm.evaluation.confusion import confusion_matrix, segmentation_metrics
from wsss_mm.evaluation.multilabel import multilabel_metrics

__all__ = ["confusion_matrix", "multilabel_metrics", "segmentation_metrics"]
