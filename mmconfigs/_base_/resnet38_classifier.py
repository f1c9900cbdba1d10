# ruff: noqa: C408  configs are written as calls, as everywhere in mmengine
# METHOD: ResNet38 -> progressive dropout attention -> channel dropout -> global average pool -> 1x1 convolution.
model = dict(
    type="wsss_mm.PatchClassifier",
    data_preprocessor=dict(
        type="mmengine.ImgDataPreprocessor", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
    ),
    backbone=dict(type="wsss_mm.ResNet38", out_indices=(5,)),
    attention=dict(type="wsss_mm.ProgressiveDropoutAttention"),
)
