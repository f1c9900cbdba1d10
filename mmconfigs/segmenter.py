# ruff: noqa: C408  configs are written as calls, as everywhere in mmengine
# The segmenter, trained on pseudo-labels: a config of mmengine, complete as it stands. METHOD: PSPHead on the encoder's
# last stage, auxiliary FCNHead on an earlier one, both with the noise-suppressing loss.
_base_ = ["_base_/runtime.py"]

import math

from wsss_mm.models.backbones import backbone_config, normalisation, out_channels, segmenter_stages

# What params.yaml sets, by the same names and as the default profile has it. A training puts the values of params.yaml
# in their place, so change them there; below, everything is yours.
seed = 0
workers = 0
vocabulary = "lung"
encoder = "resnet38"
width = 0.125
init = "classifier"
weights = None
freeze = "none"
encoder_lr = 1.0
decoder = "psp"
auxiliary_stage = None
loss = "ce"
iterations = 300
batch_size = 16
accumulate = 1
precision = "fp32"
crop = 192
surroundings = False
mosaic = 0.0
optimizer = "adamw"
lr = 0.002
momentum = 0.9
weight_decay = 0.0005
warmup = 0.05
poly_power = 0.9
averaging = 0.0
rotate = True
scale_jitter = [0.8, 1.25]
color_jitter = 0.2
elastic = 4.0
focus_jitter = [1.0, 1.0]
auxiliary_weight = 0.4
val_interval = 100
cycle = None
patience = 1
loss_warmup = 0.0

# What a training finds out, as it is of the default cohort.
codes = ["TE", "NEC", "LYM", "TAS"]
patches = "data/patches"
pseudo_labels = "data/pseudo_labels"
classifier = "models/classifier"
target = "pseudo"  # masks for the upper bound
split = "train"
train_patches = 385
one_size = True  # of the patches that validate; mmseg wants those of a batch alike
processes = 1  # as torchrun starts them

epoch_length = math.ceil(train_patches / batch_size)
norm_cfg = dict(type="BN", requires_grad=True)
backbone = backbone_config(
    encoder, width=width, out_stages=segmenter_stages(encoder, auxiliary_stage, decoder), freeze=freeze
)
earlier, last, *image = out_channels(backbone)
heads = dict(
    psp=dict(
        type="PSPHead",
        in_channels=last,
        in_index=1,
        channels=max(1, round(512 * width)),
        num_classes=len(codes),
        pool_scales=(1, 2, 3, 6),
        dropout_ratio=0.1,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="wsss_mm.NoiseSuppressedCrossEntropyLoss", variant=loss),
    ),
    guided=dict(
        type="wsss_mm.ImageGuidedHead",
        in_channels=[last, *image],
        in_index=[1, 2],
        channels=max(1, round(512 * width)),
        num_classes=len(codes),
        dropout_ratio=0.1,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="wsss_mm.NoiseSuppressedCrossEntropyLoss", variant=loss),
    ),
)
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="mmseg.SegDataPreProcessor",
        **normalisation(encoder),  # images are RGB throughout: no conversion
        size_divisor=1,
        pad_val=255,
        seg_pad_val=255,
    ),
    backbone=backbone,
    decode_head=heads[decoder],
    auxiliary_head=dict(
        type="FCNHead",
        in_channels=earlier,
        in_index=0,
        channels=max(1, round(256 * width)),
        num_classes=len(codes),
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="wsss_mm.NoiseSuppressedCrossEntropyLoss", variant=loss, loss_weight=auxiliary_weight),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)

pack = dict(type="PackSegInputs", meta_keys=("patch_id", "img_path", "ori_shape", "img_shape"))
train_dataloader = dict(
    batch_size=batch_size // processes,
    num_workers=workers,
    sampler=dict(type="wsss_mm.SeededSampler", seed=seed),
    dataset=dict(
        type="wsss_mm.PseudoLabelDataset",
        root=patches,
        vocabulary=vocabulary,
        split=split,
        target=target,
        pseudo_labels=pseudo_labels,
        window=crop if surroundings else 0,
        mosaic=mosaic,
        seed=seed,
        pipeline=[
            dict(type="wsss_mm.FlipAndRotate", horizontal=0.5, vertical=0.5, rotate=rotate),
            dict(type="wsss_mm.RandomDeformation", scale=scale_jitter, elastic=elastic),
            dict(type="wsss_mm.FocusJitter", factor=focus_jitter),
            dict(type="wsss_mm.RandomCrop", size=crop),
            dict(type="wsss_mm.StainJitter", strength=color_jitter),
            pack,
        ],
    ),
)
val_dataloader = dict(
    batch_size=batch_size if one_size else 1,
    num_workers=workers,
    sampler=dict(type="mmengine.DefaultSampler", shuffle=False),
    dataset=dict(
        type="wsss_mm.PseudoLabelDataset",
        root=patches,
        vocabulary=vocabulary,
        split="valid",
        target="masks",
        seed=seed,
        pipeline=[pack],
    ),
)
val_evaluator = dict(type="wsss_mm.TissueIoU", collect_device="gpu")  # by messages, not by files

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
param_scheduler = (
    [dict(type="wsss_mm.CyclicPolyLR", cycle=cycle, warmup=warmup, power=poly_power, by_epoch=False)]
    if cycle
    else [
        dict(
            type="LinearLR",
            start_factor=0.1 if warmup else 1.0,
            by_epoch=False,
            begin=0,
            end=max(1, round(warmup * iterations)),
        ),
        dict(type="PolyLR", eta_min=0.0, power=poly_power, by_epoch=False, begin=0, end=iterations),
    ]
)
train_cfg = dict(type="wsss_mm.PiecewiseTrainLoop", max_iters=iterations, val_interval=val_interval, pieces=accumulate)
val_cfg = dict(type="ValLoop")

custom_hooks = [
    dict(type="wsss_mm.KeyedRandomnessHook", seed=seed),
    dict(type="wsss_mm.DivergenceHook", section="segmenter"),
    dict(
        type="wsss_mm.InitialWeightsHook",
        weights=dict(classifier=f"{classifier}/weights.pth", weights=f"pretrained/{weights}", none=None)[init],
        encoder=encoder,
    ),
    dict(type="wsss_mm.WeightAveragingHook", decay=averaging),
    dict(type="wsss_mm.SuppressionScheduleHook", begin=round(loss_warmup * (cycle or iterations))),
    dict(
        type="wsss_mm.CurvesHook",
        epoch_length=epoch_length,
        interval=max(1, iterations // 200),  # rows of the curves
        metrics=["miou", *(f"iou.{code}" for code in codes)],
    ),
    dict(type="wsss_mm.ExamplesHook"),
    dict(type="wsss_mm.ResumableCheckpointHook", interval=epoch_length, best="miou"),
    dict(type="wsss_mm.CycleHook", cycle=cycle, patience=patience),
    dict(type="wsss_mm.ProgressHook", label="segmenter"),
]

randomness = dict(seed=seed)
work_dir = "work_dirs/mmconfigs/segmenter"  # of mmengine's Runner alone; stage train_segmenter has its own
