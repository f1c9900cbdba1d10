"""Before a training begins: would what it makes be a model that all later stages take?"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from wsss_mm.engine.card import model_card
from wsss_mm.errors import InputError
from wsss_mm.models.backbones import initial_file, load_initial_weights
from wsss_mm.models.description import check_kind, trust_of
from wsss_mm.models.store import build_network, load_model, save_model

_SIDE = 64  # px
_NEEDED = {
    "CurvesHook": "writes the curves",
    "ResumableCheckpointHook": "saves checkpoints and the best weights",
}
_DECIDED = {
    "load_from": "give the backbone's weights to wsss_mm.InitialWeightsHook instead",
    "resume": "an unfinished training goes on by itself",
    "launcher": "torchrun starts several processes, see docs/paper-scale.md",
    "experiment_name": "the run's name in MLflow is the stage's",
}


def begun(file: Path, config: Config, info: Mapping[str, Any]) -> nn.Module:
    """The network with the weights that it begins with: the first look at those, before they are digested or copied.

    Args:
        file: The config file.
        config: What it says, with the values of params.yaml.
        info: `kind` and `model`, as model.json will hold them.

    Raises:
        InputError: it is no network of that kind, or the weights to begin with do not fit.
    """
    kind, trust = info["kind"], trust_of(info["kind"], file.parent)
    check_kind(kind, info["model"], file)
    with torch.random.fork_rng(devices=[]):
        network = build_network(info["model"], file, trust)
        if (weights := initial_weights(config)) is not None:
            load_initial_weights(network.get_submodule("backbone"), *weights)
    return network


def rehearse(file: Path, config: Config, info: Mapping[str, Any], network: nn.Module | None = None) -> None:
    """Save the network, load it as later stages do, and show it an image.

    Args:
        file: The config file.
        config: What it says, with the values of params.yaml.
        info: What model.json will hold, but for the metrics.
        network: What `begun` gave; made here if None.

    Raises:
        InputError: a later stage would refuse the model; or the weights to begin with do not fit.
    """
    for name, what in _NEEDED.items():
        if len(_hooks(config, name)) != 1:
            raise InputError(f"{file}: custom_hooks must have one wsss_mm.{name}, which {what}; put it back")
    for name, instead in _DECIDED.items():
        if config.get(name):
            raise InputError(f"{file}: {name} would be lost; {instead}")
    kind, network = info["kind"], network or begun(file, config, info)
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        try:
            save_model(
                Path(folder) / kind, state=network.state_dict(), info=info, config_text="", card=model_card(info)
            )
            model, _ = load_model(Path(folder) / kind, configs=file.parent)
            _show(model, kind, len(info["classes"]))
        except Exception as error:  # a part's own code runs
            reason = " ".join(str(error).replace(folder, "").split()) or type(error).__name__
            if isinstance(error, InputError):
                reason = reason.rpartition(";")[0] or reason  # its remedy is that of a stored model
            raise InputError(
                f"{file}: a model of it could not be used again ({reason[:300]}); change it there"
            ) from None


def _show(model: Any, kind: str, classes: int) -> None:
    image = torch.zeros(1, 3, _SIDE, _SIDE, dtype=torch.uint8)
    if kind == "classifier":
        with torch.no_grad():
            found, wanted = model.predict(image), (1, classes)
    else:
        found, wanted = model.predict_probabilities(image), (1, classes, _SIDE, _SIDE)
    if tuple(found.shape) != wanted:
        raise ValueError(f"it makes {tuple(found.shape)} of an image, not {wanted}")


def initial_weights(config: Config) -> tuple[Path, str | None] | None:
    """The file whose weights the backbone begins with, if there is one, and the sha256 it must have, if it is known.

    Raises:
        InputError: see `initial_file`.
    """
    hooks = _hooks(config, "InitialWeightsHook")
    if not hooks or not hooks[0].get("weights"):
        return None
    return initial_file(hooks[0]["weights"], hooks[0].get("encoder"))


def _hooks(config: Config, name: str) -> list[Mapping[str, Any]]:
    return [hook for hook in config.get("custom_hooks", []) if hook.get("type") in (name, f"wsss_mm.{name}")]
