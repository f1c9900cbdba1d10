"""Tracking: MLflow runs with their lineage, and the model registry. Importing this does not import MLflow."""

from wsss_mm.tracking.registry import (
    Registration,
    download_model,
    list_versions,
    log_segmenter_model,
    register_segmenter,
)
from wsss_mm.tracking.runs import model_run, tag_weights, training_run

__all__ = [
    "Registration",
    "download_model",
    "list_versions",
    "log_segmenter_model",
    "model_run",
    "register_segmenter",
    "tag_weights",
    "training_run",
]
