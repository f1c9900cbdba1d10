"""What a kind of class activation maps must be; every one in METHODS is asked."""

import pytest
import torch

from tests.settings import content_of
from wsss_mm.cam import PseudoLabeller
from wsss_mm.cam.grad_cam import function
from wsss_mm.cam_methods import METHODS
from wsss_mm.models import PatchClassifier
from wsss_mm.settings import Params

pytestmark = pytest.mark.parametrize("name", METHODS)


@pytest.fixture
def case():
    """Activations (2, 5, 4, 6) and a head (3, 5)."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 5, 4, 6, generator=generator), torch.randn(3, 5, generator=generator)


def at_any_layer(name, features, head):
    leaf = features.clone().requires_grad_()
    return function(METHODS[name].any_layer)(leaf, leaf.mean(dim=(-2, -1)) @ head.T)


def test_settings_offer_it(name):
    content = content_of("phantom")
    content["pseudo_labels"]["method"] = name
    assert Params.model_validate(content).pseudo_labels.method == name


def test_a_map_for_each_class(name, case):
    maps = function(METHODS[name].closed_form)(*case)
    assert maps.shape == (2, 3, 4, 6)
    assert torch.isfinite(maps).all()
    assert not maps.requires_grad


def test_no_activation_is_no_evidence(name, case):
    maps = function(METHODS[name].closed_form)(torch.zeros_like(case[0]), case[1])
    assert not maps.any()


def test_images_and_classes_do_not_depend_on_each_other(name, case):
    features, head = case
    closed = function(METHODS[name].closed_form)
    maps = closed(features, head)
    torch.testing.assert_close(closed(features[1:], head), maps[1:])
    torch.testing.assert_close(closed(features, head[[2, 0]]), maps[:, [2, 0]])
    torch.testing.assert_close(closed(features.flip(-1), head), maps.flip(-1))
    torch.testing.assert_close(closed(features, head[..., None, None]), maps)


def test_closed_form_equals_autograd(name, case):
    if METHODS[name].any_layer is None:
        pytest.skip("has a closed form alone")
    features, head = (item.double() for item in case)
    found = at_any_layer(name, features, head)
    assert not found.requires_grad
    torch.testing.assert_close(found, function(METHODS[name].closed_form)(features, head))


def test_pseudo_labels_are_made_of_it(name):
    torch.manual_seed(0)
    normalised = {"type": "mmengine.ImgDataPreprocessor", "mean": [120.0] * 3, "std": [60.0] * 3}
    backbone = {"type": "wsss_mm.ResNet38", "width": 1 / 64}
    model = PatchClassifier(backbone, 3, data_preprocessor=normalised).eval()
    images = torch.randint(0, 200, (2, 32, 32, 3), dtype=torch.uint8).numpy()
    for layer in ("bn7", "b5_2") if METHODS[name].any_layer else ("bn7",):
        labeller = PseudoLabeller(model, method=name, layer=layer, background=False)
        maps = labeller.cams(images)
        assert maps.shape == (2, 3, 32, 32)
        assert maps.min() >= 0
        assert maps.max() <= 1
        present = torch.tensor([[True, False, True], [False, True, False]]).numpy()
        labels = labeller(images, present).labels
        assert set(labels[0].ravel()) <= {0, 2}
        assert set(labels[1].ravel()) == {1}
