# ruff: noqa: C408  configs are written as calls, as everywhere in mmengine
# METHOD: PSPHead on ReLU(bn7), auxiliary FCNHead on b5's BN-ReLU'd output, both with the noise-suppressing loss.
# Channel counts are those of width 1; they are scaled together with the backbone.
norm_cfg = dict(type="BN", requires_grad=True)
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="mmseg.SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],  # images are RGB throughout: no conversion
        std=[58.395, 57.12, 57.375],
        size_divisor=1,
        pad_val=255,
        seg_pad_val=255,
    ),
    backbone=dict(type="wsss_mm.ResNet38", out_indices=(3, 5)),
    decode_head=dict(
        type="PSPHead",
        in_channels=4096,
        in_index=1,
        channels=512,
        pool_scales=(1, 2, 3, 6),
        dropout_ratio=0.1,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="wsss_mm.NoiseSuppressedCrossEntropyLoss"),
    ),
    auxiliary_head=dict(
        type="FCNHead",
        in_channels=1024,
        in_index=0,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="wsss_mm.NoiseSuppressedCrossEntropyLoss"),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
