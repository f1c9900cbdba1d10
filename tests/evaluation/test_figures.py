import numpy as np
import pytest

from wsss_mm.evaluation import segmentation_metrics
from wsss_mm.evaluation.figures import confusion_figure, iou_figure, precision_recall_figure
from wsss_mm.patches import VOCABULARIES

LUNG = VOCABULARIES["lung"]


@pytest.fixture
def confusion():
    confusion = np.diag([80, 0, 60, 100])
    confusion[0, 1] = 20
    return confusion


def test_bars_have_the_classes_colours_and_absent_classes_none(confusion):
    metrics = segmentation_metrics(confusion, LUNG.codes)
    axes = iou_figure(metrics, {"iou.TE": [0.6, 0.9]}, LUNG).axes[0]
    colors = [tuple(round(255 * value) for value in bar.get_facecolor()[:3]) for bar in axes.patches]
    assert colors == [LUNG.colors[index] for index in (0, 2, 3)]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.8, 1, 1])
    assert list(axes.lines[0].get_xdata()) == [0.6, 0.9]


def test_confusion_shows_shares_of_the_actual_class(confusion):
    axes = confusion_figure(confusion, LUNG).axes[0]
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert (texts[0, 0], texts[1, 0]) == ("0.80", "0.20")
    assert (1, 1) not in texts  # necrosis has no pixel of truth


def test_precision_over_recall_of_the_classes_that_patches_have():
    """By hand for TE: scores rank a miss between two hits, so AP = 1/2 * 1 + 1/2 * 2/3."""
    truth = np.array([[1, 0, 0, 1], [0, 0, 0, 1], [1, 0, 0, 0]], dtype=bool)
    scores = np.array([[0.9, 0.5, 0.5, 0.8], [0.8, 0.5, 0.5, 0.7], [0.7, 0.5, 0.5, 0.1]])
    axes = precision_recall_figure(truth, scores, LUNG).axes[0]
    assert [line.get_label() for line in axes.lines] == [
        "Tumour epithelium, AP 0.833",
        "Tumour-associated stroma, AP 1.000",
    ]
    assert list(axes.lines[0].get_xdata()) == [1, 0.5, 0.5, 0]
    assert list(axes.lines[0].get_ydata()) == pytest.approx([2 / 3, 0.5, 1, 1])


def test_without_a_positive_patch_there_is_no_curve():
    assert not precision_recall_figure(np.zeros((2, 4), bool), np.zeros((2, 4)), LUNG).axes[0].lines
