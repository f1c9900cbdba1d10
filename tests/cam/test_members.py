"""Pseudo-labels of several classifiers: the mean of their maps, each scaled first, and of their logits."""

import numpy as np
import pytest
import torch

from wsss_mm.cam import PseudoLabeller, grad_cam_plus_plus
from wsss_mm.models import PatchClassifier


class Maps:
    """A classifier that shows two given maps (2, h, w), whatever the image."""

    head_weight = torch.eye(2)

    def __init__(self, *maps):
        self.maps = torch.tensor(maps, dtype=torch.float32)

    def normalize(self, images):
        return images

    def features(self, images):
        return self.maps[None].expand(len(images), -1, -1, -1)


IMAGE = np.zeros((1, 4, 4, 3), np.uint8)
FIRST = Maps([[0, 4], [8, 2]], [[2, 2], [0, 6]])
SECOND = Maps([[10, 0], [0, 0]], [[0, 0], [20, 10]])


def _labeller(*classifiers, **options):
    return PseudoLabeller(classifiers[0], others=classifiers[1:], method="cam", scales=(1.0,), **options)


def test_the_mean_by_hand_over_classes_together():
    """The first is divided by its maximum, 8, the second by 20; then the mean."""
    found = _labeller(FIRST, SECOND).evidence(IMAGE, 1.0)
    expected = [[[0 + 0.5, 0.5 + 0], [1 + 0, 0.25 + 0]], [[0.25 + 0, 0.25 + 0], [0 + 1, 0.75 + 0.5]]]
    assert torch.allclose(found.maps[0], torch.tensor(expected) / 2)
    assert torch.allclose(found.logits[0], torch.tensor([(3.5 + 2.5) / 2, (2.5 + 7.5) / 2]))


def test_the_mean_by_hand_of_each_class_by_itself():
    found = _labeller(FIRST, SECOND, normalization="class").evidence(IMAGE, 1.0)
    expected = [[[0 + 1, 0.5 + 0], [1 + 0, 0.25 + 0]], [[1 / 3 + 0, 1 / 3 + 0], [0 + 1, 1 + 0.5]]]
    assert torch.allclose(found.maps[0], torch.tensor(expected) / 2)


def test_the_mean_is_at_the_size_of_the_finest():
    fine = Maps(np.eye(4).tolist(), np.eye(4)[::-1].tolist())
    assert _labeller(FIRST, fine).evidence(IMAGE, 1.0).maps.shape == (1, 2, 4, 4)


@pytest.fixture(scope="module")
def networks():
    """Three tiny classifiers of other seeds, and pictures."""
    torch.manual_seed(0)
    scale = {"type": "mmengine.ImgDataPreprocessor", "mean": [128.0] * 3, "std": [64.0] * 3}
    backbone = {"type": "wsss_mm.ResNet38", "width": 1 / 64}
    models = [PatchClassifier(backbone, 3, data_preprocessor=scale).eval() for _ in range(3)]
    for model in models:
        model.requires_grad_(False)
        model.head_weight.normal_()
    return models, np.random.default_rng(0).integers(0, 200, (2, 48, 48, 3)).astype(np.uint8)


PRESENT = np.ones((2, 3), bool)


@pytest.mark.parametrize("layer", ["last", "b5_2", ("last", "b5_2")])
@pytest.mark.parametrize("method", ["grad_cam_plus_plus", "grad_cam"])
def test_the_order_does_not_matter_and_of_equal_ones_the_mean_is_that_of_one(networks, layer, method):
    (one, two, three), images = networks
    how = {"layer": layer, "method": method, "flips": True, "scales": (0.75, 1.0), "temperatures": (1.0, 0.8, 1.2)}
    found = PseudoLabeller(one, others=(two, three), **how)
    turned = PseudoLabeller(three, others=(one, two), **how)
    assert torch.allclose(found.cams(images), turned.cams(images), atol=1e-5)
    assert (found(images, PRESENT).labels == turned(images, PRESENT).labels).mean() > 0.999
    alone, thrice = PseudoLabeller(one, **how), PseudoLabeller(one, others=(one, one), **how)
    assert torch.allclose(alone.cams(images), thrice.cams(images), atol=1e-5)
    assert not torch.allclose(alone.cams(images), found.cams(images), atol=1e-2)


def test_one_alone_is_asked_as_ever(networks):
    """Without further classifiers not a bit of what is shown is touched: no scaling before that of the labels."""
    (one, *_), images = networks
    labeller = PseudoLabeller(one, others=())
    with torch.no_grad():
        features = one.features(one.normalize(torch.tensor(images).permute(0, 3, 1, 2).float()))
    expected = grad_cam_plus_plus(features, one.head_weight.flatten(1))
    assert torch.equal(labeller.evidence(images, 1.0).maps, expected)


def test_methods_that_are_asked_for_together_are_those_asked_for_alone(networks):
    models, images = networks
    labeller = PseudoLabeller(models[0], others=models[1:])
    both = labeller.evidence_by_method(images, 1.0, ("grad_cam_plus_plus", "cam"))
    for method, found in both.items():
        alone = PseudoLabeller(models[0], others=models[1:], method=method).evidence(images, 1.0)
        assert torch.equal(found.maps, alone.maps)
        assert torch.equal(found.logits, alone.logits)
