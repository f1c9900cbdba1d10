from types import SimpleNamespace

import numpy as np
import pytest
import torch

from wsss_mm.engine.examples import ExamplesHook
from wsss_mm.patches import VOCABULARIES
from wsss_mm.pictures import SheetRow, contact_sheet, overlays
from wsss_mm.vocabulary import IGNORE

LUNG = VOCABULARIES["lung"]


class Everything(torch.nn.Module):
    """A segmenter that sees the second class everywhere."""

    def data_preprocessor(self, batch):
        return batch

    def forward(self, inputs, data_samples, mode):
        labels = torch.ones((1, *inputs[0].shape[1:]), dtype=torch.int64)
        return [SimpleNamespace(pred_sem_seg=SimpleNamespace(data=labels))]


class Half:
    """A patch whose right half is glass, with a speck of it in the tissue."""

    vocabulary = LUNG
    pipeline = SimpleNamespace(transforms=[lambda record: {"data_samples": None}])

    def __init__(self, mpp):
        self.image = np.full((60, 60, 3), 120, np.uint8)
        self.image[:, 30:] = self.image[10:15, 10:15] = 245
        self.labels, self.mpp = np.zeros((60, 60), np.uint8), mpp

    def __len__(self):
        return 1

    def decoded(self, index):
        return {"patch_id": "p", "img": self.image, "gt_seg_map": self.labels, "mpp": self.mpp}


@pytest.mark.parametrize(("mpp", "speck"), [(1.0, 1), (4.0, IGNORE)])
def test_a_prediction_has_no_class_on_glass_as_in_a_map(mpp, speck):
    logged, half = [], Half(mpp)
    loader = SimpleNamespace(dataset=half)
    visualizer = SimpleNamespace(add_image=lambda name, image, step: logged.append((name, image, step)))
    ExamplesHook().after_val_epoch(
        SimpleNamespace(
            model=Everything(), val_dataloader=loader, train_dataloader=loader, visualizer=visualizer, iter=7
        )
    )
    assert [(name, step) for name, _, step in logged] == [("examples.valid.p", 7), ("examples.train.p", 7)]
    shown = np.ones((60, 60), np.uint8)
    shown[:, 30:] = IGNORE
    shown[10:15, 10:15] = speck
    row = SheetRow(overlays(half.image, (half.labels, shown), LUNG))
    sheet = contact_sheet([row], ["Patch", "Truth", "Prediction"], legend=LUNG)
    np.testing.assert_array_equal(logged[0][1], np.asarray(sheet))
