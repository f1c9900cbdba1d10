# ruff: noqa: C408  configs are written as calls, as everywhere in mmengine
# What both trainings share, and no parameter changes: quiet logging, keyed sampling, a checkpoint to resume from.
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

wrappers = dict(  # by precision
    fp32=dict(type="OptimWrapper"),
    bf16=dict(type="wsss_mm.BFloat16OptimWrapper"),
    fp16=dict(type="AmpOptimWrapper", dtype="float16"),
)
