# ruff: noqa: C408  configs are written as calls, as everywhere in mmengine
# The patch classifier, trained from label sets alone.
_base_ = ["_base_/runtime.py", "_base_/resnet38_classifier.py"]

train_dataloader = dict(
    sampler=dict(type="wsss_mm.SeededSampler"),
    dataset=dict(
        type="wsss_mm.PatchLabelDataset",
        split="train",
        pipeline=[
            dict(type="wsss_mm.FlipAndRotate", horizontal=0.5, vertical=0.5, rotate=True),
            dict(type="wsss_mm.RandomDeformation"),
            dict(type="wsss_mm.StainJitter"),
            dict(type="wsss_mm.PackPatch"),
        ],
    ),
)
val_dataloader = dict(
    sampler=dict(type="mmengine.DefaultSampler", shuffle=False),
    dataset=dict(type="wsss_mm.PatchLabelDataset", split="valid", pipeline=[dict(type="wsss_mm.PackPatch")]),
)
val_evaluator = dict(type="wsss_mm.MultiLabelAP", collect_device="gpu")  # by messages, not by files

custom_hooks = [
    dict(type="wsss_mm.KeyedRandomnessHook"),
    dict(type="wsss_mm.DivergenceHook"),
    dict(type="wsss_mm.InitialWeightsHook"),
    dict(type="wsss_mm.AttentionScheduleHook"),
    dict(type="wsss_mm.WeightAveragingHook"),
    dict(type="wsss_mm.CurvesHook"),
    dict(type="wsss_mm.CamExamplesHook"),
    dict(type="wsss_mm.ResumableCheckpointHook"),
    dict(type="wsss_mm.ProgressHook", label="classifier"),
]
