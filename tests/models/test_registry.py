"""Types are found by name from mmseg's configs, without a custom import."""

import subprocess

from tests import warm

CODE = """
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, HOOKS, MODELS, TRANSFORMS
init_default_scope("mmseg")
loss = MODELS.build(dict(type="wsss_mm.NoiseSuppressedCrossEntropyLoss", variant="ce"))
head = MODELS.build(dict(type="FCNHead", in_channels=4, channels=4, num_classes=3,
                         loss_decode=dict(type="wsss_mm.NoiseSuppressedCrossEntropyLoss")))
assert type(head.loss_decode) is type(loss)
for registry, name in ((MODELS, "ResNet38"), (MODELS, "PatchClassifier"), (MODELS, "ProgressiveDropoutAttention"),
                       (DATASETS, "PatchLabelDataset"), (DATASETS, "PseudoLabelDataset"), (TRANSFORMS, "StainJitter"),
                       (HOOKS, "CurvesHook")):
    assert registry.get("wsss_mm." + name).__name__ == name
    assert registry.get(name) is None, name  # no leak into mmseg's own names
print("found")
"""


def test_types_are_found_from_mmseg():
    result = subprocess.run([warm.python(), "-c", CODE], capture_output=True, text=True, check=False)
    assert result.stdout.strip().endswith("found"), result.stderr
