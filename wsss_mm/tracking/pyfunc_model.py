"""The segmenter as an MLflow model: MLflow runs this file when the model is logged and when it is loaded.

Input (N, H, W, 3) uint8 RGB at the model's mpp, of 32 px or more; N may be 0. Output, by the parameter `output`:
"labels", (N, H, W) uint8 class indices, or "probabilities", (N, C, H, W) float32 that sum to 1 over the classes.
A model that slides are recoloured for takes the images of one call for one slide's.

What is wrong with an input is an MLflow error of the kind INVALID_PARAMETER_VALUE, which a server answers with 400.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.models import Model

ARTIFACT = "segmenter"
_BATCH = 16
_OUTPUTS = ("labels", "probabilities")
_LEAST = 32  # px: four features of ResNet38


class SegmenterModel(mlflow.pyfunc.PythonModel):
    """Loads a model folder with `wsss_mm.models.load_model` and runs it in batches."""

    def load_context(self, context: Any) -> None:
        """Rebuild the network, if it is the one that was logged: the digest is in MLmodel, two folders up."""
        from wsss_mm.errors import InputError
        from wsss_mm.models import load_model
        from wsss_mm.models.store import stain_of

        folder = Path(context.artifacts[ARTIFACT])
        self._model, info = load_model(folder)
        self._stain = stain_of(info)
        logged = folder.parents[1] / "MLmodel"
        wanted = (Model.load(logged).metadata or {}).get("digest") if logged.is_file() else None
        if wanted and info["digest"] != wanted:
            raise InputError(
                f"{folder}: model.json: changed where it is stored, digest {info['digest'][:12]} "
                f"instead of {str(wanted)[:12]}; register it again (dvc repro -s -f register), or restore a backup"
            )

    # MLflow reads the hint of model_input: of all that are true, np.ndarray alone does not make it warn.
    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """Segment a batch of images."""
        import torch

        from wsss_mm.slides.stain import fit_stain, recolour

        output = (params or {}).get("output", _OUTPUTS[0])
        if output not in _OUTPUTS:
            raise _refused(f"output is {output!r}: choose from {', '.join(_OUTPUTS)}")
        images = np.ascontiguousarray(model_input)
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
            raise _refused(f"images are {images.shape} {images.dtype}: give (N, height, width, 3) uint8, RGB")
        if min(images.shape[1:3]) < _LEAST:
            raise _refused(f"images are {images.shape[2]} x {images.shape[1]} px: give at least {_LEAST} x {_LEAST}")
        if not len(images):
            of_all = (0, self._model.classes, *images.shape[1:3])
            shape: tuple[int, ...] = images.shape[:3] if output == "labels" else of_all
            return np.zeros(shape, np.uint8 if output == "labels" else np.float32)
        if self._stain is not None and (source := fit_stain(images, self._stain.method)) is not None:
            images = recolour(source, self._stain)(images)
        results = []
        for start in range(0, len(images), _BATCH):
            batch = torch.from_numpy(images[start : start + _BATCH]).permute(0, 3, 1, 2)
            probabilities = self._model.predict_probabilities(batch)
            results.append(probabilities if output == "probabilities" else probabilities.argmax(1).to(torch.uint8))
        return torch.cat(results).cpu().numpy()


def _refused(message: str) -> mlflow.exceptions.MlflowException:
    return mlflow.exceptions.MlflowException.invalid_parameter_value(message)


mlflow.models.set_model(SegmenterModel())
