# ruff: noqa: C408  configs are written as calls, as everywhere in mmengine
# The segmenter, trained on pseudo-labels.
_base_ = ["_base_/runtime.py", "_base_/pspnet_resnet38.py"]

pack = dict(type="PackSegInputs", meta_keys=("patch_id", "img_path", "ori_shape", "img_shape"))
train_dataloader = dict(
    sampler=dict(type="wsss_mm.SeededSampler"),
    dataset=dict(
        type="wsss_mm.PseudoLabelDataset",
        split="train",
        target="pseudo",
        pipeline=[
            dict(type="wsss_mm.FlipAndRotate", horizontal=0.5, vertical=0.5, rotate=True),
            dict(type="wsss_mm.RandomDeformation"),
            dict(type="wsss_mm.RandomCrop"),
            dict(type="wsss_mm.StainJitter"),
            pack,
        ],
    ),
)
val_dataloader = dict(
    sampler=dict(type="mmengine.DefaultSampler", shuffle=False),
    dataset=dict(type="wsss_mm.PseudoLabelDataset", split="valid", target="masks", pipeline=[pack]),
)
val_evaluator = dict(type="wsss_mm.TissueIoU", collect_device="gpu")  # by messages, not by files

custom_hooks = [
    dict(type="wsss_mm.KeyedRandomnessHook"),
    dict(type="wsss_mm.DivergenceHook"),
    dict(type="wsss_mm.InitialWeightsHook"),
    dict(type="wsss_mm.WeightAveragingHook"),
    dict(type="wsss_mm.CurvesHook"),
    dict(type="wsss_mm.ExamplesHook"),
    dict(type="wsss_mm.ResumableCheckpointHook"),
    dict(type="wsss_mm.ProgressHook", label="segmenter"),
]
