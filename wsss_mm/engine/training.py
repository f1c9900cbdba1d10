"""Training of the two networks: values from params.yaml into the configs, the Runner, the model folder."""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from mmengine.dist import is_main_process

from wsss_mm.engine.card import model_card
from wsss_mm.engine.checkpoints import ResumableCheckpointHook
from wsss_mm.engine.precision import optim_wrapper
from wsss_mm.engine.processes import batch_per_process
from wsss_mm.engine.runner import build_runner, config_text, load_config, quiet_libraries
from wsss_mm.engine.workdir import fingerprint, work_folder
from wsss_mm.errors import InputError, Terminated
from wsss_mm.files import atomic_path, digest
from wsss_mm.inference.runtime import network
from wsss_mm.models.pretrained import load_backbone_weights, read_state_dict
from wsss_mm.models.resnet38 import scaled
from wsss_mm.models.store import Kind, save_model
from wsss_mm.patches import read_manifest
from wsss_mm.patches.manifest import FILE_NAME
from wsss_mm.settings import ClassifierSettings, Params, SegmenterSettings, TrainingSettings
from wsss_mm.vocabulary import get_vocabulary

_ROOMS = ("models", "datasets", "engine", "evaluation", "inference")  # code that decides what a checkpoint means
_VALIDATIONS = 5  # of the classifier, over a training
_CURVE_ROWS = 200

Target = Literal["pseudo", "masks"]


@dataclass(frozen=True)
class Paths:
    """Where a training reads and writes.

    Attributes:
        patches: Folder of the patches' manifest.
        out: Folder of the model to write.
        curves: CSV to write.
        pseudo_labels: Folder of the pseudo-labels' manifest (segmenter).
        classifier: Folder of the classifier (segmenter with `init: classifier`).
        configs: Folder of the mmengine configs.
        work: Folder for unfinished trainings.
    """

    patches: Path = Path("data/patches")
    out: Path = Path("models/classifier")
    curves: Path = Path("reports/plots/classifier_curves.csv")
    pseudo_labels: Path = Path("data/pseudo_labels")
    classifier: Path = Path("models/classifier")
    configs: Path = Path("mmconfigs")
    work: Path = Path("work_dirs")


def train_classifier(params: Params, paths: Paths) -> dict[str, float]:
    """Train the patch classifier and write its model folder and curves.

    Returns:
        Metrics of the last validation: `mean_ap`, `ap.<code>`.

    Raises:
        InputError: the patches or the weights are missing or wrong.
    """
    settings = params.classifier
    if settings.weights is not None:
        load_backbone_weights(settings.weights, settings.width)  # fail before anything is written
    frame = read_manifest(paths.patches, get_vocabulary(params.cohort.vocabulary))
    counts = frame["split"].value_counts()
    epoch_length = math.ceil(int(counts.get("train", 0)) / settings.batch_size)
    overrides = {
        **_shared_overrides(params, settings, paths, sizes=frame.loc[frame["split"] == "valid", "size"]),
        "model.classes": len(get_vocabulary(params.cohort.vocabulary)),
        "model.backbone.width": settings.width,
        "model.attention.variant": settings.attention,
        "model.dropout": settings.dropout,
        "custom_hooks.AttentionScheduleHook.epoch_length": epoch_length,
        "custom_hooks.InitialWeightsHook.weights": _text(settings.weights),
        **_schedule(settings.epochs * epoch_length, epoch_length, settings),
        "train_cfg.val_interval": epoch_length * math.ceil(settings.epochs / _VALIDATIONS),
        "custom_hooks.CurvesHook.metrics": ["mean_ap"],
    }
    return _train("classifier", params, paths, overrides, inputs=[paths.patches / "manifest.parquet", settings.weights])


def train_segmenter(
    params: Params, paths: Paths, *, target: Target = "pseudo", split: str = "train", stage: str = "segmenter"
) -> dict[str, float]:
    """Train the segmenter and write its model folder and curves.

    Args:
        params: All of params.yaml.
        paths: Where to read and write.
        target: `pseudo` for the weakly supervised segmenter; `masks` for the upper bound.
        split: What to train on.
        stage: Name of the work folder.

    Returns:
        Metrics of the weights that are kept, those with the best validation `miou`: `miou`, `iou.<code>`. Empty where
        no validation patch has a mask.

    Raises:
        InputError: patches, pseudo-labels or weights are missing or wrong.
    """
    settings = params.segmenter
    vocabulary = get_vocabulary(params.cohort.vocabulary)
    weights = _initial_weights(settings, paths)
    if weights is not None:
        load_backbone_weights(weights, settings.width)
    frame = read_manifest(paths.patches, vocabulary)
    epoch_length = math.ceil(int((frame["split"] == split).sum()) / settings.batch_size)
    judged = frame.loc[(frame["split"] == "valid") & frame["mask_path"].notna(), "size"]
    overrides = {
        **_shared_overrides(params, settings, paths, sizes=judged),
        **_head_overrides(settings, len(vocabulary)),
        "train_dataloader.dataset.target": target,
        "train_dataloader.dataset.split": split,
        "train_dataloader.dataset.pseudo_labels": str(paths.pseudo_labels),
        "train_dataloader.dataset.window": settings.crop if settings.surroundings else 0,
        "train_dataloader.dataset.mosaic": settings.mosaic,
        "train_dataloader.dataset.pipeline.RandomCrop.size": settings.crop,
        "custom_hooks.InitialWeightsHook.weights": _text(weights),
        **_schedule(settings.iterations, epoch_length, settings),
        "train_cfg.val_interval": settings.val_interval,
        "custom_hooks.ResumableCheckpointHook.best": "miou",
        "custom_hooks.CurvesHook.metrics": ["miou", *(f"iou.{code}" for code in vocabulary.codes)],
    }
    inputs = [paths.patches / "manifest.parquet", weights, paths.pseudo_labels if target == "pseudo" else None]
    learnt = paths.pseudo_labels / FILE_NAME
    made_of = {"pseudo_labels": digest(learnt)} if target == "pseudo" and learnt.is_file() else {}
    return _train(
        "segmenter", params, paths, overrides, inputs=inputs, stage=stage, validates=len(judged) > 0, made_of=made_of
    )


def _initial_weights(settings: SegmenterSettings, paths: Paths) -> Path | None:
    if settings.init == "classifier":
        return paths.classifier / "weights.pth"
    return settings.weights if settings.init == "weights" else None


def _shared_overrides(
    params: Params, settings: ClassifierSettings | SegmenterSettings, paths: Paths, *, sizes: Sequence[int]
) -> dict[str, Any]:
    section = "classifier" if isinstance(settings, ClassifierSettings) else "segmenter"
    overrides: dict[str, Any] = {
        "train_dataloader.batch_size": batch_per_process(settings.batch_size, settings.accumulate, section),
        # mmseg wants patches of one size in a validation batch
        "val_dataloader.batch_size": settings.batch_size if len(set(sizes)) == 1 else 1,
        "train_dataloader.sampler.seed": params.seed,
        "custom_hooks.KeyedRandomnessHook.seed": params.seed,
        "train_dataloader.dataset.pipeline.FlipAndRotate.rotate": settings.rotate,
        "train_dataloader.dataset.pipeline.StainJitter.strength": settings.color_jitter,
        "train_dataloader.dataset.pipeline.RandomDeformation.scale": list(settings.scale_jitter),
        "train_dataloader.dataset.pipeline.RandomDeformation.elastic": settings.elastic,
        **_optimization(settings, section),
        "custom_hooks.DivergenceHook.section": section,
        "custom_hooks.WeightAveragingHook.decay": settings.averaging,
    }
    for loader in ("train_dataloader", "val_dataloader"):
        overrides[f"{loader}.num_workers"] = params.workers
        overrides[f"{loader}.dataset.root"] = str(paths.patches)
        overrides[f"{loader}.dataset.vocabulary"] = params.cohort.vocabulary
        overrides[f"{loader}.dataset.seed"] = params.seed
    return overrides


def _optimization(settings: TrainingSettings, section: str) -> dict[str, Any]:
    optimizer: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    if settings.optimizer == "adamw":
        optimizer["type"] = "AdamW"
    else:
        optimizer |= {"type": "SGD", "momentum": settings.momentum}
    wrapper = {**optim_wrapper(settings.precision, section), "accumulative_counts": settings.accumulate}
    return {
        **{f"optim_wrapper.{key}": value for key, value in wrapper.items()},
        "optim_wrapper.optimizer": optimizer,
        "train_cfg.pieces": settings.accumulate,
    }


def _schedule(iterations: int, epoch_length: int, settings: TrainingSettings) -> dict[str, Any]:
    warmup = max(1, round(settings.warmup * iterations))
    return {
        "train_cfg.max_iters": iterations,
        "param_scheduler.LinearLR.end": warmup,
        **({} if settings.warmup else {"param_scheduler.LinearLR.start_factor": 1.0}),
        "param_scheduler.PolyLR.end": iterations,
        "param_scheduler.PolyLR.power": settings.poly_power,
        "custom_hooks.CurvesHook.epoch_length": epoch_length,
        "custom_hooks.CurvesHook.interval": max(1, iterations // _CURVE_ROWS),
        "custom_hooks.ResumableCheckpointHook.interval": epoch_length,
    }


def _head_overrides(settings: SegmenterSettings, classes: int) -> dict[str, Any]:
    width = settings.width
    overrides: dict[str, Any] = {"model.backbone.width": width}
    for head, inputs, channels in (("decode_head", 4096, 512), ("auxiliary_head", 1024, 256)):
        overrides[f"model.{head}.in_channels"] = scaled(inputs, width)
        overrides[f"model.{head}.channels"] = scaled(channels, width)
        overrides[f"model.{head}.num_classes"] = classes
        overrides[f"model.{head}.loss_decode.variant"] = settings.loss
    overrides["model.auxiliary_head.loss_decode.loss_weight"] = settings.auxiliary_weight
    return overrides


def _train(
    kind: Kind,
    params: Params,
    paths: Paths,
    overrides: dict[str, Any],
    *,
    inputs: Sequence[Path | None],
    stage: str | None = None,
    validates: bool = True,
    made_of: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, float]:
    code = Path(__file__).parents[1]
    sources = [*(code / room for room in _ROOMS), paths.configs, *(item for item in inputs if item is not None)]
    meaning = {key: value for key, value in overrides.items() if not key.endswith(".num_workers")}
    key = fingerprint({"overrides": meaning, "seed": params.seed}, sources)
    with work_folder(stage or kind, key, paths.work) as folder:
        config = load_config(paths.configs / f"{kind}.py", overrides)
        if not validates:
            for part in ("val_dataloader", "val_cfg", "val_evaluator"):
                config.pop(part)
        text = config_text(config)
        runner = build_runner(config, folder, seed=params.seed, threads=params.threads)
        _run(runner, kind)
        state, metrics = _outcome(runner, folder)
        if not is_main_process():
            return metrics
        info = _model_info(kind, params, paths, config.model.to_dict(), metrics) | made_of
        save_model(paths.out, state=state, info=info, config_text=text, card=model_card(info))
        with atomic_path(paths.curves) as temporary:
            shutil.copyfile(folder / "curves.csv", temporary)
    return metrics


def _run(runner: Any, kind: Kind) -> None:
    """Train; SIGTERM ends it behind a checkpoint.

    Raises:
        Terminated: the process got SIGTERM.
        InputError: a data-loader worker was killed, which is what a system does that has no memory left.
    """
    (saving,) = (hook for hook in runner.hooks if isinstance(hook, ResumableCheckpointHook))
    try:
        with quiet_libraries(), saving.ending_on_sigterm():
            runner.train()
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        if saving.asked_to_end:  # the workers were asked to end too, and were faster
            raise Terminated from error
        loader = runner.cfg.train_dataloader
        raise InputError(
            f"params.yaml: a data-loader worker was killed, probably for want of memory; lower workers (now "
            f"{loader.num_workers}) or {kind}.batch_size (now {loader.batch_size})"
        ) from error


def _outcome(runner: Any, folder: Path) -> tuple[Mapping[str, torch.Tensor], dict[str, float]]:
    """The weights to keep and their validation metrics: the best where a metric decides, else the last."""
    best = runner.message_hub.get_info("best_metrics")
    if best and is_main_process():
        return read_state_dict(folder / runner.message_hub.get_info("best_file")), dict(best)
    last = best or runner.message_hub.get_info("last_metrics") or {}
    return network(runner).state_dict(), dict(last)


def _model_info(
    kind: Kind, params: Params, paths: Paths, model: dict[str, Any], metrics: Mapping[str, float]
) -> dict[str, Any]:
    """model.json: what rebuilds the model without params.yaml, and what it was made from."""
    settings = params.classifier if kind == "classifier" else params.segmenter
    vocabulary = get_vocabulary(params.cohort.vocabulary)
    frame = read_manifest(paths.patches, vocabulary)
    return {
        "kind": kind,
        **vocabulary.to_json(),
        "mpp": float(frame["mpp"].median()),
        "size": int(np.median(frame["size"])),
        "width": settings.width,
        "model": model,
        "cohort": params.cohort.name,
        "seed": params.seed,
        "params": settings.model_dump(mode="json"),
        "patches": digest(paths.patches / "manifest.parquet"),
        "train_patches": int((frame["split"] == "train").sum()),
        "valid": dict(metrics),
    }


def _text(path: Path | None) -> str | None:
    return None if path is None else path.as_posix()
