"""Training of the two networks: a config file with values from params.yaml, the Runner, the model folder."""

import importlib.util
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import get_world_size, is_main_process

from wsss_mm import places
from wsss_mm.engine.beginning import beginning, encoder_said
from wsss_mm.engine.card import MADE_BY, model_card
from wsss_mm.engine.checkpoints import ResumableCheckpointHook
from wsss_mm.engine.configs import ConfigValue, load_config
from wsss_mm.engine.limits import limits
from wsss_mm.engine.mlflow_backend import MLflowBackend
from wsss_mm.engine.precision import training_precision
from wsss_mm.engine.processes import batch_per_process
from wsss_mm.engine.rehearsal import begun, initial_weights, rehearse
from wsss_mm.engine.runner import build_runner, config_text, is_killed_worker, quiet_libraries
from wsss_mm.engine.workdir import fingerprint, work_folder
from wsss_mm.errors import InputError, Terminated
from wsss_mm.files import atomic_path, digest, write_text
from wsss_mm.formats import read_rows
from wsss_mm.inference.runtime import network
from wsss_mm.models.config_files import trusted_modules
from wsss_mm.models.description import ICC, NEEDS, RESOLUTION, STAIN, described, foreign_modules, without_initialisation
from wsss_mm.models.segmenter import Segmenter
from wsss_mm.models.store import Kind, save_model
from wsss_mm.models.trust import CONFIGS
from wsss_mm.models.weight_files import read_state_dict
from wsss_mm.patches import read_manifest
from wsss_mm.patches.manifest import FILE_NAME
from wsss_mm.patches.stains import target_of
from wsss_mm.places import PSEUDO_LABEL_MANIFEST
from wsss_mm.slides.icc import SRGB, icc_noted
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.yaml_places import parse

if TYPE_CHECKING:
    from wsss_mm.settings import Params

logger = logging.getLogger(__name__)

_ROOMS = ("models", "datasets", "engine", "evaluation", "inference")  # code that decides what a checkpoint means

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

    patches: Path = places.PATCHES
    out: Path = places.CLASSIFIER
    curves: Path = places.CLASSIFIER_CURVES
    pseudo_labels: Path = places.PSEUDO_LABELS
    classifier: Path = places.CLASSIFIER
    configs: Path = CONFIGS
    work: Path = places.WORK


def train_classifier(
    params: "Params", paths: Paths, *, kept: Path | None = None, tracked: bool = True
) -> dict[str, float]:
    """Train one patch classifier and write its model folder and curves; see `train_classifiers` for several.

    Args:
        params: All of params.yaml.
        paths: Where to read and write.
        kept: File that says which training `paths.out` is of, where that outlives it: the same one is not done again.
        tracked: Whether curves and pictures go to the active MLflow run.

    Returns:
        Metrics of the last validation: `mean_ap`, `ap.<code>`.

    Raises:
        InputError: the patches, the weights or the config are missing or wrong.
    """
    frame = read_manifest(paths.patches, get_vocabulary(params.cohort.vocabulary))
    judged = frame.loc[frame["split"] == "valid", "size"]
    found = {"train_patches": int((frame["split"] == "train").sum()), "one_size": len(set(judged)) == 1}
    found |= _shared(params, paths)
    return _train("classifier", params, paths, found, inputs=[], kept=kept, tracked=tracked)


def train_segmenter(
    params: "Params", paths: Paths, *, target: Target = "pseudo", split: str = "train", stage: str = "segmenter"
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
        InputError: patches, pseudo-labels, weights or the config are missing or wrong.
    """
    frame = read_manifest(paths.patches, get_vocabulary(params.cohort.vocabulary))
    judged = frame.loc[(frame["split"] == "valid") & frame["mask_path"].notna(), "size"]
    found = {
        **_shared(params, paths),
        "train_patches": int((frame["split"] == split).sum()),
        "one_size": len(set(judged)) == 1,
        "target": target,
        "split": split,
        "pseudo_labels": paths.pseudo_labels.as_posix(),
        "classifier": paths.classifier.as_posix(),
    }
    learnt = paths.pseudo_labels / FILE_NAME
    made_of = _made_of(learnt) if target == "pseudo" and learnt.is_file() else {}
    inputs = [paths.pseudo_labels] if target == "pseudo" else []
    return _train(
        "segmenter", params, paths, found, inputs=inputs, stage=stage, validates=len(judged) > 0, made_of=made_of
    )


def _made_of(pseudo_labels: Path) -> dict[str, Any]:
    """What model.json says of the manifest of pseudo-labels: its digest, and how many classifiers made them."""
    said = {"pseudo_labels": digest(pseudo_labels)}
    frame = read_rows(pseudo_labels, PSEUDO_LABEL_MANIFEST)
    return said | ({MADE_BY: int(frame[places.MEMBERS].max())} if places.MEMBERS in frame and len(frame) else {})


def _shared(params: "Params", paths: Paths) -> dict[str, Any]:
    """What both trainings find out, by the names that the config files have for it."""
    return {
        "codes": list(get_vocabulary(params.cohort.vocabulary).codes),
        "patches": paths.patches.as_posix(),
        "processes": get_world_size(),
    }


_DEFAULT = Path(__file__).parents[1] / "profiles/phantom.yaml"
"""What the config files say of params.yaml."""

_USUAL: dict[str, Any] = {  # of the default cohort, as stages train on it
    "codes": ["TE", "NEC", "LYM", "TAS"],
    "patches": Paths.patches.as_posix(),
    "pseudo_labels": Paths.pseudo_labels.as_posix(),
    "classifier": Paths.classifier.as_posix(),
    "processes": 1,
    "train_patches": 385,
    "one_size": True,
    "target": "pseudo",
    "split": "train",
}


def given_values(kind: Kind, params: "Params", found: Mapping[str, Any]) -> dict[str, ConfigValue]:
    """What a config file is given: the values of params.yaml by their own names, and what a training finds out.

    Args:
        kind: Which training; its section gives the names.
        params: All of params.yaml.
        found: What the training finds out.
    """
    usual = parse(_DEFAULT.read_text(encoding="utf-8")).content
    plain = params.model_dump(mode="json", by_alias=True)
    given = {name: ConfigValue(value, _USUAL[name], "the training") for name, value in found.items()}
    for path in ("seed", "workers", "cohort.vocabulary", *(f"{kind}.{name}" for name in _settings(kind, params))):
        given[path.rpartition(".")[2]] = ConfigValue(_at(plain, path), _at(usual, path), f"params.yaml: {path}")
    section = _settings(kind, params)
    given["precision"] = replace(given["precision"], value=training_precision(section["precision"], kind))
    return given


def _settings(kind: Kind, params: "Params") -> dict[str, Any]:
    """What decides a training; how many there are does not."""
    section = params.classifier if kind == "classifier" else params.segmenter
    return section.model_dump(mode="json", exclude={"members"})


def _at(content: Any, path: str) -> Any:
    for part in path.split("."):
        content = content[part]
    return content


def _train(
    kind: Kind,
    params: "Params",
    paths: Paths,
    found: Mapping[str, Any],
    *,
    inputs: Sequence[Path],
    stage: str | None = None,
    validates: bool = True,
    made_of: Mapping[str, Any] = MappingProxyType({}),
    kept: Path | None = None,
    tracked: bool = True,
) -> dict[str, float]:
    settings = params.classifier if kind == "classifier" else params.segmenter
    batch_per_process(settings.batch_size, settings.accumulate, kind)
    file = paths.configs / f"{kind}.py"
    config = load_config(file, given_values(kind, params, found))
    if not validates:
        for part in ("val_dataloader", "val_cfg", "val_evaluator"):
            config.pop(part, None)
    text = config_text(config)
    if not tracked and "visualizer" in config:
        config.visualizer.vis_backends = []
    weights, _ = initial_weights(config) or (None, None)
    info = {**_model_info(kind, params, paths, config), **made_of}
    network = begun(file, config, info) if initial_weights(config) else None  # what is far too large is never digested
    info |= beginning(weights)
    info |= encoder_said(settings.encoder, info)
    if RESOLUTION in info and is_main_process():
        logger.warning("%s: %s", paths.patches / places.MANIFEST, info[RESOLUTION])
    rehearse(file, config, info, network)
    sources = [
        paths.patches / places.MANIFEST,
        *_stains(paths.patches),
        *([] if weights is None else [weights]),
        *inputs,
    ]
    key = _key(config, file, sources)
    if kept is not None and kept.is_file() and kept.read_text(encoding="utf-8").strip() == key:
        logger.info("%s: seed %d is trained already", paths.out, params.seed)
        metrics = dict(described(paths.out)["valid"])
        if tracked:  # of a run that was broken off later: this one shall have them, too
            MLflowBackend().add_scalars(metrics, step=config.train_cfg.max_iters)
        return metrics
    with work_folder(stage or kind, key, paths.work) as folder:
        runner = build_runner(config, folder, file, seed=params.seed, threads=params.threads)
        _run(runner, kind)
        state, metrics = _outcome(runner, folder)
        if not is_main_process():
            return metrics
        info["valid"] = dict(metrics)
        if kind == "segmenter":
            info |= _limits(runner, state, params, paths, found["split"])
        save_model(paths.out, state=state, info=info, config_text=text, card=model_card(info))
        with atomic_path(paths.curves) as temporary:
            shutil.copyfile(folder / places.CURVES, temporary)
        if kept is not None:
            write_text(kept, f"{key}\n")
    return metrics


def _stains(patches: Path) -> list[Path]:
    """The files that say how slides are stained and read, where networks are shown what that makes of them."""
    return [path for path in (patches / places.STAIN, patches / places.ICC) if path.is_file()]


def _key(config: Config, file: Path, inputs: Sequence[Path]) -> str:
    """Which training this is: what is built, the code it is built of and what it reads, not how many load the data."""
    content = config.to_dict()
    for loader in ("train_dataloader", "val_dataloader"):
        content.get(loader, {}).pop("num_workers", None)
    code = Path(__file__).parents[1]
    own = [source for module in trusted_modules(file) for source in _code_of(module)]
    return fingerprint({"config": content}, [*(code / room for room in _ROOMS), *own, *inputs])


def _code_of(module: str) -> list[Path]:
    """A module's file, or all of a package; it has been imported with the config."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None or not Path(found.origin).is_file():
        return []
    return [Path(found.origin).parent] if found.submodule_search_locations else [Path(found.origin)]


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
        if not is_killed_worker(error):
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


def _limits(
    runner: Any, state: Mapping[str, torch.Tensor], params: "Params", paths: Paths, split: str
) -> dict[str, Any]:
    """See `wsss_mm.engine.limits`, of the weights that are kept."""
    trained = network(runner)
    trained.load_state_dict(state)
    frame = read_manifest(paths.patches, get_vocabulary(params.cohort.vocabulary))
    segmenter = Segmenter(trained).eval()
    return limits(segmenter, frame, paths.patches, split=split, size=int(np.median(frame["size"])))


def _model_info(kind: Kind, params: "Params", paths: Paths, config: Config) -> dict[str, Any]:
    """model.json: what rebuilds the model without params.yaml, and what it was made from."""
    vocabulary = get_vocabulary(params.cohort.vocabulary)
    frame = read_manifest(paths.patches, vocabulary)
    model = without_initialisation(config.model.to_dict())
    own, target = foreign_modules(model), target_of(paths.patches)
    return {
        "kind": kind,
        **vocabulary.to_json(),
        "mpp": float(frame["mpp"].median()),
        "size": int(np.median(frame["size"])),
        "width": float(model["backbone"].get("width", 1)),
        "model": model,
        **({NEEDS: list(own)} if own else {}),
        **({} if target is None else {STAIN: target.to_json()}),
        **({ICC: SRGB} if icc_noted(paths.patches) else {}),
        "cohort": params.cohort.name,
        "seed": params.seed,
        "params": _settings(kind, params),
        "patches": digest(paths.patches / places.MANIFEST),
        "train_patches": int((frame["split"] == "train").sum()),
        "valid": {},
    }
