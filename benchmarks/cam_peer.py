"""Grad-CAM++ of all classes against pytorch-grad-cam's GradCAMPlusPlus: same network, same patches, equal maps.

Its maps come from a backward pass a class, the project's from the closed form that there is under global average
pooling. Both end in maps as large as a patch, each scaled to 0..1; the patches of a scale are made before the peer's
clock runs. Its epsilon of 1e-6 is given to both, and maps that differ by more than 1e-4 end the benchmark.

    bash benchmarks/peers/install.sh grad_cam
    OMP_NUM_THREADS=1 GOMP_SPINCOUNT=1000 python -m benchmarks.cam_peer
"""

import sys
import types
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.cam_cost import CLASSES, SIZE, build
from benchmarks.command import Missing, Option, by_turns, run
from benchmarks.rows import ROOT, Measurement
from wsss_mm.cam import PseudoLabeller

OPTIONS = {
    "width": Option(0.125, 1 / 16, "of ResNet38; 1 is the published network"),
    "batch": Option(4, 2, "patches"),
    "peer": Option(ROOT / ".venv-grad-cam", ROOT / ".venv-grad-cam", "folder of pytorch-grad-cam", kind=Path),
}
EPSILON, TOLERANCE = 1e-6, 1e-4
TORCHVISION = {  # what it imports of torchvision, and no CAM uses; torchvision may not fit this torch
    "torchvision": (),
    "torchvision.transforms": ("Compose", "Normalize", "ToTensor"),
    "torchvision.transforms.functional": ("resize",),
}


class Last(nn.Module):
    """A classifier's last feature map, as a module: what pytorch-grad-cam looks at."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.backbone = model.backbone

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone(images)[-1]


class Scores(nn.Module):
    """The logits of a classifier without attention, of normalised images: what pytorch-grad-cam calls."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.last, self.head = Last(model), model.head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(functional.adaptive_avg_pool2d(self.last(images), 1)).flatten(1)


def imported(folder: Path) -> Any:
    """The package pytorch_grad_cam, installed or in a folder, with or without torchvision.

    Raises:
        Missing: it is not there.
    """
    stubs = {}
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):  # not there, or of another torch
        stubs = {name: types.ModuleType(name) for name in TORCHVISION}
        for name, module in stubs.items():
            for attribute in TORCHVISION[name]:
                setattr(module, attribute, None)
    sys.modules.update(stubs)
    sys.path.append(str(folder))
    try:
        import pytorch_grad_cam
    except ImportError as error:
        raise Missing(f"no pytorch-grad-cam ({error}); bash benchmarks/peers/install.sh grad_cam, or --peer") from None
    finally:
        for name in stubs:
            del sys.modules[name]
    return pytorch_grad_cam


def shown_at(model: Any, images: np.ndarray, scale: float) -> Tensor:
    """Normalised patches of a scale."""
    size = round(SIZE * scale)
    batch = torch.tensor(images).permute(0, 3, 1, 2).float().contiguous()  # channels last, torch's backward crashes
    return model.normalize(functional.interpolate(batch, size=(size, size), mode="bilinear", align_corners=False))


def measure(arguments) -> Iterator[Measurement]:
    peer = imported(arguments.peer)
    target = sys.modules["pytorch_grad_cam.utils.model_targets"].ClassifierOutputTarget
    model = build(arguments.width)
    scores, labeller = Scores(model), PseudoLabeller(model, layer="bn7", eps=EPSILON, normalization="class")
    images = np.random.default_rng(0).integers(0, 255, (arguments.batch, SIZE, SIZE, 3), dtype=np.uint8)
    with peer.GradCAMPlusPlus(model=scores, target_layers=[scores.last]) as cams:
        for scale in labeller.scales:
            batch = shown_at(model, images, scale)

            def of_peer(batch: Tensor = batch) -> np.ndarray:
                return np.stack([cams(batch, [target(index)] * len(batch)) for index in range(CLASSES)], axis=1)

            maps = labeller.normalised(labeller.evidence(images, scale).maps, batch.shape[2:])
            if (far := float(np.abs(maps.numpy() - of_peer()).max())) > TOLERANCE:
                sys.exit(f"maps at scale {scale:g} differ by {far:.1e}, more than {TOLERANCE:g}")
            own, others = by_turns(lambda scale=scale: labeller.cams(images, scale), of_peer, repeats=arguments.repeats)
            yield Measurement(
                f"Grad-CAM++ of {CLASSES} classes, ResNet38 of width {arguments.width:g}, scale {scale:g}",
                [arguments.batch / seconds for seconds in own],
                "patches/s",
                over=[arguments.batch / seconds for seconds in others],
                over_what=f"pytorch-grad-cam {version('grad-cam')}, maps equal to {TOLERANCE:g}",
                at_least=4,
            )


if __name__ == "__main__":
    sys.exit(run(measure, OPTIONS))
