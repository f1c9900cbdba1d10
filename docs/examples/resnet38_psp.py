# ruff: noqa: C408  configs are written as calls, as everywhere in mmengine
# An mmseg config of your own, with wsss_mm's network and loss: types that begin with wsss_mm. are found by themselves,
# custom_imports is not needed. It trains on data/images/*.png with masks of the same names in data/masks: class numbers
# from 0, and 255 where nobody knows.
default_scope = "mmseg"

classes = ("tumour", "stroma", "normal")
palette = [(200, 30, 30), (30, 160, 60), (40, 80, 200)]
width = 0.125  # of all channels; the published network, and its weights, have 1
crop = (192, 192)

# Channels a stage gives at a width of 1, by the number that out_indices has for it; strides are 2, 4 and then 8.
#   0: b2 128   1: b3 256   2: b4 512   3: b5 1024   4: b6 2048   5: b7 4096
b5, b7 = (max(1, round(channels * width)) for channels in (1024, 4096))

norm_cfg = dict(type="BN", requires_grad=True)
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,  # mmcv reads BGR, the weights are of RGB
        size=crop,
        pad_val=255,
        seg_pad_val=255,
    ),
    backbone=dict(
        type="wsss_mm.ResNet38",
        width=width,
        out_indices=(3, 5),
        freeze="stem",  # none, stem or all
        # the file that `wsss-mm weights convert` wrote, for a width of 1:
        # init_cfg=dict(type="Pretrained", checkpoint="resnet38.pth"),
    ),
    decode_head=dict(
        type="PSPHead",
        in_channels=b7,
        in_index=1,
        channels=max(1, round(512 * width)),
        pool_scales=(1, 2, 3, 6),
        num_classes=len(classes),
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="wsss_mm.NoiseSuppressedCrossEntropyLoss", variant="onss"),
    ),
    auxiliary_head=dict(
        type="FCNHead",
        in_channels=b5,
        in_index=0,
        channels=max(1, round(256 * width)),
        num_convs=1,
        concat_input=False,
        num_classes=len(classes),
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="wsss_mm.NoiseSuppressedCrossEntropyLoss", variant="onss", loss_weight=0.4),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)

dataset = dict(
    type="BaseSegDataset",
    data_root="data",
    data_prefix=dict(img_path="images", seg_map_path="masks"),
    img_suffix=".png",
    seg_map_suffix=".png",
    metainfo=dict(classes=classes, palette=palette),
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(
        **dataset,
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations"),
            dict(type="RandomCrop", crop_size=crop),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PackSegInputs"),
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        **dataset, pipeline=[dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
    ),
)
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])

iterations = 2000
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=0.002, weight_decay=0.0005))
param_scheduler = [dict(type="PolyLR", eta_min=0.0, power=0.9, by_epoch=False, begin=0, end=iterations)]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=iterations, val_interval=500)
val_cfg = dict(type="ValLoop")
default_hooks = dict(checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=500))
log_processor = dict(by_epoch=False)
work_dir = "work_dirs/resnet38_psp"
