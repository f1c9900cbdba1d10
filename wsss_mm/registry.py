"""Child registries of mmengine's, scope `wsss_mm`: mmseg configs say `type='wsss_mm.NoiseSuppressedCrossEntropyLoss'`.

`locations` are imported when a type is first looked up, so that naming a type in a config is enough to register it.
"""

from mmengine import registry as _root

_SCOPE = "wsss_mm"

MODELS = _root.Registry("model", parent=_root.MODELS, scope=_SCOPE, locations=["wsss_mm.models"])
DATASETS = _root.Registry("dataset", parent=_root.DATASETS, scope=_SCOPE, locations=["wsss_mm.datasets"])
DATA_SAMPLERS = _root.Registry("data sampler", parent=_root.DATA_SAMPLERS, scope=_SCOPE, locations=["wsss_mm.datasets"])
TRANSFORMS = _root.Registry("transform", parent=_root.TRANSFORMS, scope=_SCOPE, locations=["wsss_mm.datasets"])
HOOKS = _root.Registry("hook", parent=_root.HOOKS, scope=_SCOPE, locations=["wsss_mm.engine", "wsss_mm.cam"])
LOOPS = _root.Registry("loop", parent=_root.LOOPS, scope=_SCOPE, locations=["wsss_mm.engine"])
METRICS = _root.Registry("metric", parent=_root.METRICS, scope=_SCOPE, locations=["wsss_mm.engine"])
MODEL_WRAPPERS = _root.Registry(
    "model wrapper", parent=_root.MODEL_WRAPPERS, scope=_SCOPE, locations=["wsss_mm.engine"]
)
OPTIM_WRAPPERS = _root.Registry(
    "optimizer wrapper", parent=_root.OPTIM_WRAPPERS, scope=_SCOPE, locations=["wsss_mm.engine"]
)
PARAM_SCHEDULERS = _root.Registry(
    "parameter scheduler", parent=_root.PARAM_SCHEDULERS, scope=_SCOPE, locations=["wsss_mm.engine"]
)
VISBACKENDS = _root.Registry("vis_backend", parent=_root.VISBACKENDS, scope=_SCOPE, locations=["wsss_mm.engine"])
