"""The segmenter as an MLflow model: MLflow runs this file when the model is logged and when it is loaded.

Input (N, H, W, 3) uint8 RGB at the model's mpp. Output, by the parameter `output`: "labels", (N, H, W) uint8 class
indices, or "probabilities", (N, C, H, W) float32 that sum to 1 over the classes.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np

ARTIFACT = "segmenter"
_BATCH = 16
_OUTPUTS = ("labels", "probabilities")


class SegmenterModel(mlflow.pyfunc.PythonModel):
    """Loads a model folder with `wsss_mm.models.load_model` and runs it in batches."""

    def load_context(self, context: Any) -> None:
        """Rebuild the network."""
        from wsss_mm.models import load_model

        self._model, _ = load_model(Path(context.artifacts[ARTIFACT]))

    # MLflow reads the hint of model_input: of all that are true, np.ndarray alone does not make it warn.
    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """Segment a batch of images."""
        import torch

        output = (params or {}).get("output", _OUTPUTS[0])
        if output not in _OUTPUTS:
            raise ValueError(f"output is {output!r}: choose from {', '.join(_OUTPUTS)}")
        images = np.ascontiguousarray(model_input)
        results = []
        for start in range(0, len(images), _BATCH):
            batch = torch.from_numpy(images[start : start + _BATCH]).permute(0, 3, 1, 2)
            probabilities = self._model.predict_probabilities(batch)
            results.append(probabilities if output == "probabilities" else probabilities.argmax(1).to(torch.uint8))
        return torch.cat(results).cpu().numpy()


mlflow.models.set_model(SegmenterModel())
