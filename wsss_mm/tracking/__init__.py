"""Tracking: MLflow runs with their lineage, and the model registry. Importing this does not import MLflow."""

from wsss_mm.tracking.card import version_card
from wsss_mm.tracking.evaluations import judging_run, log_evaluation, log_gate
from wsss_mm.tracking.evidence import keep_evidence, read_evidence
from wsss_mm.tracking.finding import find_run
from wsss_mm.tracking.promotion import champion_pin, delete, promote, rollback
from wsss_mm.tracking.registry import (
    Registration,
    download_model,
    list_versions,
    log_segmenter_model,
    register_segmenter,
    resolve_uri,
)
from wsss_mm.tracking.runs import model_run, tag_weights, training_run

__all__ = [
    "Registration",
    "champion_pin",
    "delete",
    "download_model",
    "find_run",
    "judging_run",
    "keep_evidence",
    "list_versions",
    "log_evaluation",
    "log_gate",
    "log_segmenter_model",
    "model_run",
    "promote",
    "read_evidence",
    "register_segmenter",
    "resolve_uri",
    "rollback",
    "tag_weights",
    "training_run",
    "version_card",
]
