"""The published network, all 105 M parameters of it, on a CPU: one training step and one CAM."""

import subprocess
import sys

import pytest

from tests import warm

CODE = """
import resource, time
import torch
from wsss_mm.cam import grad_cam_plus_plus
from wsss_mm.models import PatchClassifier
normalize = dict(type="mmengine.ImgDataPreprocessor", mean=[123.7, 116.3, 103.5], std=[58.4, 57.1, 57.4])
model = PatchClassifier(
    dict(type="wsss_mm.ResNet38", width=1.0), classes=4, data_preprocessor=normalize,
    attention=dict(type="wsss_mm.ProgressiveDropoutAttention"),
)
model.attention.epoch = 5
assert abs(sum(p.numel() for p in model.backbone.parameters()) - 105.1e6) < 5e4
images = torch.randint(0, 256, (1, 3, 96, 96), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
head = model.head.weight.detach().clone()
start = time.perf_counter()
loss = torch.nn.functional.multilabel_soft_margin_loss(
    model.train().logits(model.normalize(images)), torch.tensor([[1.0, 0, 0, 1]])
)
loss.backward()
assert all(torch.isfinite(p.grad).all() for p in model.parameters())
optimizer.step()
step = time.perf_counter() - start
assert torch.isfinite(loss) and not torch.equal(head, model.head.weight)
start = time.perf_counter()
with torch.no_grad():
    features = model.eval().features(model.normalize(images))
    cams = grad_cam_plus_plus(features, model.head_weight)
assert features.shape == (1, 4096, 12, 12) and cams.shape == (1, 4, 12, 12)
assert torch.isfinite(cams).all()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(f"full width at 96 px: step {step:.1f} s, CAM {time.perf_counter() - start:.1f} s, peak {peak:.2f} GiB")
"""


@pytest.mark.slow
def test_a_step_and_a_cam(capsys):
    result = subprocess.run([warm.python(), "-c", CODE], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    report = result.stdout.strip().splitlines()[-1]
    with capsys.disabled():
        sys.stdout.write(f"\n{report}\n")
    assert float(report.split("peak ")[1].split()[0]) < 6  # GiB
