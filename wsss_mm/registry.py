"""Child registries of mmengine's, scope `wsss_mm`: mmseg configs say `type='wsss_mm.NoiseSuppressedCrossEntropyLoss'`.

`locations` are imported when a type is first looked up, so that naming a type in a config is enough to register it.
Without mmengine, which the core does without, nothing is looked up: classes are what they are.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from wsss_mm.extras import has_mmengine

if TYPE_CHECKING:
    from mmengine.registry import Registry

_SCOPE = "wsss_mm"


class _NoRegistry:
    """Takes what is registered, and does nothing with it."""

    def register_module(self) -> Callable[[type], type]:
        return lambda registered: registered


def _child(name: str, parent: str, *locations: str) -> "Registry":
    """A registry below one of mmengine's."""
    if not has_mmengine():
        return cast("Registry", _NoRegistry())
    from mmengine import registry

    return registry.Registry(name, parent=getattr(registry, parent), scope=_SCOPE, locations=list(locations))


MODELS = _child("model", "MODELS", "wsss_mm.models")
DATASETS = _child("dataset", "DATASETS", "wsss_mm.datasets")
DATA_SAMPLERS = _child("data sampler", "DATA_SAMPLERS", "wsss_mm.datasets")
TRANSFORMS = _child("transform", "TRANSFORMS", "wsss_mm.datasets")
HOOKS = _child("hook", "HOOKS", "wsss_mm.engine", "wsss_mm.cam")
LOOPS = _child("loop", "LOOPS", "wsss_mm.engine")
METRICS = _child("metric", "METRICS", "wsss_mm.engine")
MODEL_WRAPPERS = _child("model wrapper", "MODEL_WRAPPERS", "wsss_mm.engine")
OPTIM_WRAPPERS = _child("optimizer wrapper", "OPTIM_WRAPPERS", "wsss_mm.engine")
PARAM_SCHEDULERS = _child("parameter scheduler", "PARAM_SCHEDULERS", "wsss_mm.engine")
VISBACKENDS = _child("vis_backend", "VISBACKENDS", "wsss_mm.engine")
