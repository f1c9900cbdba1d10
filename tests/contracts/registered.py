"""What is registered: the lists that the contract suites run through. A new implementation gets there by itself."""

import importlib
import inspect
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import Registry
from torch import nn

from wsss_mm.models import Backbone
from wsss_mm.models.config_files import trusted_modules
from wsss_mm.models.trust import CONFIGS, register_stock
from wsss_mm.registry import MODELS, TRANSFORMS

ROOT = Path(__file__).parents[2]


def own_modules() -> set[str]:
    """Modules of the project's own parts, which its config files import."""
    register_stock()
    names = {name for kind in ("classifier", "segmenter") for name in trusted_modules(ROOT / CONFIGS / f"{kind}.py")}
    for name in names:
        importlib.import_module(name)
    return names


def classes(registry: Registry) -> dict[str, type]:
    """Classes that this package and the project's own modules register, by name."""
    own = own_modules()
    found = {name: item for name, item in registry.module_dict.items() if inspect.isclass(item)}
    return {
        name: item
        for name, item in found.items()
        if item.__module__.startswith("wsss_mm.") or any(f"{item.__module__}.".startswith(f"{one}.") for one in own)
    }


def backbones() -> dict[str, type[nn.Module]]:
    """Networks that take an image alone: what follows the protocol, says its `out_channels` or takes `out_indices`."""
    return {
        name: item
        for name, item in classes(MODELS).items()
        if issubclass(item, Backbone)
        or "out_indices" in inspect.signature(item).parameters
        or hasattr(item, "out_channels")
    }


def losses() -> dict[str, type[nn.Module]]:
    """Losses by mmseg's name for their kind."""
    return {name: item for name, item in classes(MODELS).items() if name.endswith("Loss")}


def augmentations() -> dict[str, dict]:
    """What the trainings do to an image, by training and name: transforms of this package, but those that pack it."""
    importlib.import_module("wsss_mm.datasets")
    known = classes(TRANSFORMS)
    found = {}
    for kind in ("classifier", "segmenter"):
        for step in Config.fromfile(ROOT / CONFIGS / f"{kind}.py").train_dataloader.dataset.pipeline:
            name = step["type"].rpartition(".")[2]
            if name in known and not name.startswith("Pack"):
                found[f"{kind}: {name}"] = dict(step)
    return found
