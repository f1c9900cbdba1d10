"""A user's plain mmseg config takes the loss by name: stock backbone, stock heads, `custom_imports`."""

import subprocess

import pytest

from tests import warm

CONFIG = """
custom_imports = dict(imports=["wsss_mm.models"], allow_failed_imports=False)
default_scope = "mmseg"
norm_cfg = dict(type="BN", requires_grad=True)
loss = dict(type="wsss_mm.NoiseSuppressedCrossEntropyLoss", variant="{variant}", class_weight=[1.0, 2.0, 0.5])
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(type="SegDataPreProcessor", mean=[0.0] * 3, std=[255.0] * 3, size=(32, 32)),
    backbone=dict(
        type="ResNetV1c", depth=18, base_channels=8, stem_channels=8, out_indices=(2, 3), norm_cfg=norm_cfg
    ),
    decode_head=dict(
        type="{head}", in_channels=64, in_index=1, channels=8, num_classes=3, norm_cfg=norm_cfg, align_corners=False,
        loss_decode=[loss, dict(type="DiceLoss", loss_name="loss_dice")],
    ),
    auxiliary_head=dict(
        type="FCNHead", in_channels=32, in_index=0, channels=8, num_convs=1, num_classes=3, norm_cfg=norm_cfg,
        align_corners=False, loss_decode=loss,
    ),
)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01))
"""

STEP = """
import sys
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.optim import build_optim_wrapper
config = Config.fromfile(sys.argv[1])
init_default_scope(config.default_scope)
import mmseg.models
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmengine.structures import PixelData
torch.manual_seed(0)
model = MODELS.build(config.model).train()
before = model.backbone.layer4[0].conv1.weight.clone()
samples = []
for _ in range(2):
    sample = SegDataSample(metainfo=dict(img_shape=(32, 32), ori_shape=(32, 32)))
    labels = torch.randint(0, 3, (1, 32, 32))
    labels[:, :4] = 255
    sample.gt_sem_seg = PixelData(data=labels)
    samples.append(sample)
data = dict(inputs=[torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8) for _ in range(2)], data_samples=samples)
found = model.train_step(data, build_optim_wrapper(model, config.optim_wrapper))
assert all(torch.isfinite(value).all() for value in found.values())
assert not torch.equal(before, model.backbone.layer4[0].conv1.weight)
print(*sorted(name for name in found if "loss" in name))
"""


@pytest.mark.parametrize(("variant", "head"), [("onss", "PSPHead"), ("onss_margin", "ASPPHead"), ("ce", "FCNHead")])
def test_a_step(tmp_path, variant, head):
    (tmp_path / "user.py").write_text(CONFIG.replace("{variant}", variant).replace("{head}", head))
    command = [warm.python(), "-c", STEP, str(tmp_path / "user.py")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    expected = "aux.loss_noise_suppressed decode.loss_dice decode.loss_noise_suppressed loss"
    assert result.stdout.strip().splitlines()[-1:] == [expected], result.stderr[-2000:]
