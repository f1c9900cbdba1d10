# ruff: noqa: C408  configs are written as calls, as everywhere in mmengine
# What both trainings share: quiet logging, keyed sampling, one checkpoint to resume from. Values come from params.yaml.
default_scope = "mmseg"
log_level = "ERROR"
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0))
log_processor = dict(by_epoch=False)
visualizer = dict(type="mmengine.Visualizer", vis_backends=[dict(type="wsss_mm.MLflowBackend")])

default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    sampler_seed=None,  # draws are keyed
    checkpoint=None,  # wsss_mm.ResumableCheckpointHook saves after the validation
)

train_cfg = dict(type="wsss_mm.PiecewiseTrainLoop")
val_cfg = dict(type="ValLoop")
optim_wrapper = dict()
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0),
    dict(type="PolyLR", eta_min=0.0, by_epoch=False, begin=0),
]
