"""A trained segmenter as slides need it: pixels in, probabilities out, and what its classes and resolution are."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.inference.runtime import arithmetic, choose_device, choose_precision, is_gpu, reduced
from wsss_mm.models.description import APPEARANCE, ICC, TEMPERATURE
from wsss_mm.patches.likeness import Appearance
from wsss_mm.slides.stain import Stain
from wsss_mm.vocabulary import TissueClass, Vocabulary

if TYPE_CHECKING:
    from wsss_mm.models import Segmenter
    from wsss_mm.settings import Precision

_CPU_BATCH = 16
_CPU_AT_ONCE = 2  # so that no core waits for the last window of a batch
_MAX_BATCH = 256
_MEMORY_SHARE = 0.6  # of the free memory of a GPU


@dataclass(frozen=True)
class SlideModel:
    """What segments windows.

    Attributes:
        predict: RGB windows (N, H, W, 3) uint8 to class probabilities (N, C, H, W) float32.
        vocabulary: the classes in the order of the probabilities; may be given as these alone.
        mpp: um/px the model was trained at.
        weights_md5: of the weights, to tell models apart.
        precision: of the network's arithmetic.
        full_batches: rounding depends on the size of a batch, so batches should be filled up.
        at_once: batches that `predict` may be given at the same time.
        largest_batch: windows that fit into memory at once, for a window of so many px.
        digest: of weights and description, empty if unknown.
        temperature: of the confidence, see `wsss_mm.wsi.certainty`; labels do not depend on it.
        appearance: what the training patches looked like, None if the model does not say.
        stain: what slides are made to look like first; None where they are taken as they are.
        icc: whether slides are read as sRGB, by their embedded colour profiles.
    """

    predict: Callable[[np.ndarray], np.ndarray]
    vocabulary: Vocabulary
    mpp: float
    weights_md5: str
    precision: "Precision" = "fp32"
    full_batches: bool = False
    at_once: int = 1
    largest_batch: Callable[[int], int] = lambda _: _CPU_BATCH
    digest: str = ""
    temperature: float = 1.0
    appearance: Appearance | None = None
    stain: Stain | None = None
    icc: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.vocabulary, Vocabulary):
            object.__setattr__(self, "vocabulary", Vocabulary("", tuple(self.vocabulary)))

    @property
    def classes(self) -> tuple[TissueClass, ...]:
        """In the order of the probabilities."""
        return self.vocabulary.classes

    @classmethod
    def from_folder(
        cls,
        folder: Path | str,
        device: str | None = None,
        precision: "Precision" = "auto",
        *,
        digest: str | None = None,
    ) -> "SlideModel":
        """Load a segmenter from its folder (models/segmenter or a copy).

        Args:
            folder: holds weights.pth and model.json.
            device: of torch; a GPU if there is one by default. On a CPU as many cores are used as torch uses threads.
            precision: of the network; for `auto` see `choose_precision`.
            digest: what it was registered with; None where there is none to compare with.

        Raises:
            InputError: the folder holds no segmenter or one that was changed, or the device lacks the precision.
        """
        import torch

        from wsss_mm.models import load_model
        from wsss_mm.models.store import stain_of

        device = choose_device(device)
        network, info = load_model(Path(folder), device)
        if digest is not None and info["digest"] != digest:
            raise InputError(
                f"{folder}: changed since it was looked at, digest {info['digest'][:12]} instead of {digest[:12]}; "
                "find out who writes there, and run this again"
            )
        if info["kind"] != "segmenter":
            raise InputError(f"{folder}: holds a {info['kind']}; give the folder of a segmenter")
        precision = choose_precision(precision, device, "slides")
        given: dict[str, Any] = {
            "vocabulary": Vocabulary.from_json(info, Path(folder) / places.DESCRIPTION),
            "mpp": float(info["mpp"]),
            "weights_md5": info["weights_md5"],
            "precision": precision,
            "digest": info["digest"],
            "temperature": float(info.get(TEMPERATURE, 1.0)),
            "appearance": Appearance.from_json(info.get(APPEARANCE), Path(folder) / places.DESCRIPTION),
            "stain": stain_of(info, Path(folder) / places.DESCRIPTION),
            "icc": ICC in info,
        }
        if not is_gpu(device):
            from wsss_mm.wsi.cores import predict_by_window

            cores = torch.get_num_threads()
            predict = predict_by_window(network, cores, reduced(precision))
            return cls(predict, at_once=_CPU_AT_ONCE, largest_batch=lambda _: max(_CPU_BATCH, cores), **given)
        forward = _forward(network.to(memory_format=torch.channels_last), device, precision)
        return cls(forward, full_batches=True, largest_batch=partial(_largest_batch, forward, device), **given)


def _forward(network: "Segmenter", device: str, precision: "Precision") -> Callable[[np.ndarray], np.ndarray]:
    import torch

    @torch.inference_mode()
    def forward(images: np.ndarray) -> np.ndarray:
        batch = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2)  # is channels_last
        with arithmetic(device, precision):
            probabilities = network.predict_probabilities(batch)
        return probabilities.float().cpu().numpy()

    return forward


def _largest_batch(forward: Callable[[np.ndarray], np.ndarray], device: str, window: int) -> int:
    """The power of two of windows that fits into the free memory of a GPU, by what two windows take."""
    import torch

    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    forward(np.zeros((2, window, window, 3), np.uint8))
    each = max(1, (torch.cuda.max_memory_allocated(device) - before) // 2)
    fitting = int(_MEMORY_SHARE * torch.cuda.mem_get_info(device)[0] / each)
    return min(_MAX_BATCH, 1 << max(0, fitting.bit_length() - 1))
