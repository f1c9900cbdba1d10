# ruff: noqa: C408  configs are written as calls, as everywhere in mmengine
# The patch classifier, trained from label sets alone: a config of mmengine, complete as it stands. METHOD: encoder ->
# progressive dropout attention -> channel dropout -> global average pool -> 1x1 convolution.
_base_ = ["_base_/runtime.py"]

import math

from wsss_mm.models.backbones import backbone_config, normalisation

# What params.yaml sets, by the same names and as the default profile has it. A training puts the values of params.yaml
# in their place, so change them there; below, everything is yours.
seed = 0
workers = 0
vocabulary = "lung"
encoder = "resnet38"
width = 0.125
weights = None
freeze = "none"
encoder_lr = 1.0
attention = "published"
dropout = 0.5
epochs = 12
batch_size = 8
accumulate = 1
precision = "fp32"
optimizer = "adamw"
lr = 0.0007
momentum = 0.9
weight_decay = 0.0005
warmup = 0.15
poly_power = 0.9
averaging = 0.98
rotate = True
scale_jitter = [1.0, 1.0]
color_jitter = 0.2
elastic = 0.0
focus_jitter = [1.0, 1.0]

# What a training finds out, as it is of the default cohort.
codes = ["TE", "NEC", "LYM", "TAS"]
patches = "data/patches"
train_patches = 385
one_size = True  # of the patches that validate
processes = 1  # as torchrun starts them

epoch_length = math.ceil(train_patches / batch_size)
iterations = epochs * epoch_length
model = dict(
    type="wsss_mm.PatchClassifier",
    classes=len(codes),
    dropout=dropout,
    data_preprocessor=dict(type="mmengine.ImgDataPreprocessor", **normalisation(encoder)),
    backbone=backbone_config(encoder, width=width, freeze=freeze),
    attention=dict(type="wsss_mm.ProgressiveDropoutAttention", variant=attention),
)

train_dataloader = dict(
    batch_size=batch_size // processes,
    num_workers=workers,
    sampler=dict(type="wsss_mm.SeededSampler", seed=seed),
    dataset=dict(
        type="wsss_mm.PatchLabelDataset",
        root=patches,
        vocabulary=vocabulary,
        split="train",
        seed=seed,
        pipeline=[
            dict(type="wsss_mm.FlipAndRotate", horizontal=0.5, vertical=0.5, rotate=rotate),
            dict(type="wsss_mm.RandomDeformation", scale=scale_jitter, elastic=elastic),
            dict(type="wsss_mm.StainJitter", strength=color_jitter),
            dict(type="wsss_mm.FocusJitter", factor=focus_jitter),
            dict(type="wsss_mm.PackPatch"),
        ],
    ),
)
val_dataloader = dict(
    batch_size=batch_size if one_size else 1,
    num_workers=workers,
    sampler=dict(type="mmengine.DefaultSampler", shuffle=False),
    dataset=dict(
        type="wsss_mm.PatchLabelDataset",
        root=patches,
        vocabulary=vocabulary,
        split="valid",
        seed=seed,
        pipeline=[dict(type="wsss_mm.PackPatch")],
    ),
)
val_evaluator = dict(type="wsss_mm.MultiLabelAP", collect_device="gpu")  # by messages, not by files

optimizers = dict(
    adamw=dict(type="AdamW", lr=lr, weight_decay=weight_decay),
    sgd=dict(type="SGD", lr=lr, weight_decay=weight_decay, momentum=momentum),
)
optim_wrapper = dict(
    **_base_.wrappers[precision],
    optimizer=optimizers[optimizer],
    accumulative_counts=accumulate,
    **({} if encoder_lr == 1 else dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=encoder_lr))))),
)
param_scheduler = [
    dict(
        type="LinearLR",
        start_factor=0.1 if warmup else 1.0,
        by_epoch=False,
        begin=0,
        end=max(1, round(warmup * iterations)),
    ),
    dict(type="PolyLR", eta_min=0.0, power=poly_power, by_epoch=False, begin=0, end=iterations),
]
train_cfg = dict(
    type="wsss_mm.PiecewiseTrainLoop",
    max_iters=iterations,
    val_interval=epoch_length * math.ceil(epochs / 5),  # at most five validations
    pieces=accumulate,
)
val_cfg = dict(type="ValLoop")

custom_hooks = [
    dict(type="wsss_mm.KeyedRandomnessHook", seed=seed),
    dict(type="wsss_mm.DivergenceHook", section="classifier"),
    dict(type="wsss_mm.InitialWeightsHook", weights=weights and f"pretrained/{weights}", encoder=encoder),
    dict(type="wsss_mm.AttentionScheduleHook", epoch_length=epoch_length),
    dict(type="wsss_mm.WeightAveragingHook", decay=averaging),
    dict(
        type="wsss_mm.CurvesHook",
        epoch_length=epoch_length,
        interval=max(1, iterations // 200),  # rows of the curves
        metrics=["mean_ap"],
    ),
    dict(type="wsss_mm.CamExamplesHook"),
    dict(type="wsss_mm.ResumableCheckpointHook", interval=epoch_length),
    dict(type="wsss_mm.ProgressHook", label="classifier"),
]

randomness = dict(seed=seed)
work_dir = "work_dirs/mmconfigs/classifier"  # of mmengine's Runner alone; stage train_classifier has its own
