"""Networks that are measured: of the files in mmconfigs/, with random weights, which their speed does not depend on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.rows import ROOT
from wsss_mm.engine import load_config
from wsss_mm.engine.runner import quiet_libraries
from wsss_mm.models import build_network, save_model
from wsss_mm.models.losses import NoiseSuppressedCrossEntropyLoss
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.wsi import SlideModel

CONFIGS = ROOT / "mmconfigs"
CLASSES = get_vocabulary("lung").classes
CODES = [item.code for item in CLASSES]
ATTENTIVE = 10  # an epoch in which the classifier's attention works; it rests in the first ones


def build(kind: str, **values: Any) -> nn.Module:
    """A classifier or segmenter with random weights, by its file of mmconfigs/, in training mode."""
    torch.manual_seed(0)
    config = load_config(CONFIGS / f"{kind}.py", {"codes": CODES, **values})
    network: Any = build_network(config.model.to_dict(), CONFIGS / f"{kind}.py")
    with quiet_libraries():
        network.init_weights()
    if kind == "classifier":
        network.attention.epoch = ATTENTIVE
    return network.train()


def batch_of(kind: str, count: int, size: int, device: str) -> tuple[torch.Tensor, list[Any]]:
    """Normalised images and what is to be learnt of them, on the device."""
    from mmengine.structures import BaseDataElement, PixelData
    from mmseg.structures import SegDataSample

    torch.manual_seed(1)
    images = torch.randn(count, 3, size, size, device=device)
    samples: list[Any] = []
    for _ in range(count):
        if kind == "classifier":
            sample: Any = BaseDataElement()
            sample.set_field(torch.randint(0, 2, (len(CODES),), device=device).float(), "label")
        else:
            sample = SegDataSample(metainfo={"img_shape": (size, size), "ori_shape": (size, size)})
            coarse = torch.randint(0, len(CODES), (1, size // 16, size // 16), device=device)
            labels = coarse.repeat_interleave(16, 1).repeat_interleave(16, 2)
            sample.gt_sem_seg = PixelData(data=labels.contiguous())
        samples.append(sample)
    return images, samples


def step_of(network: Any, images: torch.Tensor, samples: list[Any], *, bf16: bool) -> Callable[[], None]:
    """An optimisation step: forward, loss, backward, AdamW."""
    optimizer = torch.optim.AdamW([item for item in network.parameters() if item.requires_grad], lr=1e-5)
    kind = images.device.type

    def step() -> None:
        with torch.autocast(kind, torch.bfloat16, enabled=bf16):
            loss, _ = network.parse_losses(network(images, samples, mode="loss"))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def switched(network: Any, step: Callable[[], None], on: bool) -> None:
    """A step with the noise suppression of a segmenter's loss, or a classifier's attention, on or off."""
    losses = [item for item in network.modules() if isinstance(item, NoiseSuppressedCrossEntropyLoss)]
    for item in losses:
        item.suppressing = on
    if not losses:
        network.attention.epoch = ATTENTIVE if on else 0
    step()


def random_model(folder: Path, width: float) -> SlideModel:
    """A segmenter of a width with random weights, from its folder."""
    torch.manual_seed(0)
    structure = load_config(
        CONFIGS / "segmenter.py", {"width": width, "codes": [item.code for item in CLASSES]}
    ).model.to_dict()
    classes = [{"code": item.code, "name": item.name, "color": list(item.color)} for item in CLASSES]
    info = {"kind": "segmenter", "classes": classes, "mpp": 1.0, "size": 224, "width": width, "model": structure}
    save_model(folder, state=build_network(structure).state_dict(), info=info, config_text="", card="")
    return SlideModel.from_folder(folder)
