"""Training: configs and params into mmengine's Runner; importing this room registers hooks, metrics and backends."""

from wsss_mm.engine import (
    averaging,
    checkpoints,
    cycles,
    examples,
    hooks,
    loop,
    metrics,
    mlflow_backend,
    precision,
    processes,
)
from wsss_mm.engine.configs import load_config
from wsss_mm.engine.members import train_classifiers
from wsss_mm.engine.processes import join_processes
from wsss_mm.engine.runner import build_runner
from wsss_mm.engine.scoring import classifier_features, classifier_scores
from wsss_mm.engine.training import Paths, train_classifier, train_segmenter

__all__ = [
    "Paths",
    "averaging",
    "build_runner",
    "checkpoints",
    "classifier_features",
    "classifier_scores",
    "cycles",
    "examples",
    "hooks",
    "join_processes",
    "load_config",
    "loop",
    "metrics",
    "mlflow_backend",
    "precision",
    "processes",
    "train_classifier",
    "train_classifiers",
    "train_segmenter",
]
