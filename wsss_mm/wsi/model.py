"""A trained segmenter as slides need it: pixels in, probabilities out, and what its classes and resolution are."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.patches.vocabulary import TissueClass


@dataclass(frozen=True)
class SlideModel:
    """What segments windows.

    Attributes:
        predict: RGB windows (N, H, W, 3) uint8 to class probabilities (N, C, H, W) float32.
        classes: in the order of the probabilities.
        mpp: um/px the model was trained at.
        weights_md5: of the weights, to tell models apart.
    """

    predict: Callable[[np.ndarray], np.ndarray]
    classes: tuple[TissueClass, ...]
    mpp: float
    weights_md5: str

    @classmethod
    def from_folder(cls, folder: Path | str, device: str | None = None) -> "SlideModel":
        """Load a segmenter from its folder (models/segmenter or a copy).

        Args:
            folder: holds weights.pth and model.json.
            device: of torch; a GPU if there is one by default.

        Raises:
            InputError: the folder holds no segmenter.
        """
        import torch

        from wsss_mm.models import load_model

        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        network, info = load_model(Path(folder), device)
        if info["kind"] != "segmenter":
            raise InputError(f"{folder}: holds a {info['kind']}; give the folder of a segmenter")

        @torch.inference_mode()
        def predict(images: np.ndarray) -> np.ndarray:
            batch = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2)
            return network.predict_probabilities(batch).float().cpu().numpy()

        classes = tuple(TissueClass(item["code"], item["name"], tuple(item["color"])) for item in info["classes"])
        return cls(predict, classes, float(info["mpp"]), digest(Path(folder) / "weights.pth", "md5"))
