"""CAMs of a real ResNet38 at any of its layers."""

import numpy as np
import pytest
import torch

from wsss_mm.cam import (
    PseudoLabeller,
    activations_and_logits,
    grad_cam_plus_plus,
    grad_cam_plus_plus_autograd,
)
from wsss_mm.cam.layers import unit_names
from wsss_mm.cam.pseudo_label import min_max
from wsss_mm.encoders import layers
from wsss_mm.errors import InputError
from wsss_mm.models import PatchClassifier

NORMALISATION = {"type": "mmengine.ImgDataPreprocessor", "mean": [120.0] * 3, "std": [60.0] * 3}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = PatchClassifier({"type": "wsss_mm.ResNet38", "width": 1 / 16}, 4, data_preprocessor=NORMALISATION)
    torch.nn.init.normal_(model.head.weight)
    return model.eval()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 255, (3, 48, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def batch(model, images):
    return model.normalize(torch.tensor(images).permute(0, 3, 1, 2))


def test_settings_know_the_layers_of_the_network(model):
    assert unit_names(model) == list(layers())


def test_closed_form_equals_autograd_at_bn7(model, batch):
    features = model.features(batch).detach().requires_grad_()
    logits = model.head(features.mean(dim=(2, 3), keepdim=True)).flatten(1)
    closed = grad_cam_plus_plus(features.detach(), model.head_weight.detach())
    found = grad_cam_plus_plus_autograd(features, logits)
    assert (found - closed).abs().amax() / closed.abs().amax() < 1e-5


@pytest.mark.parametrize("layer", ["b2", "b4_5", "b5_2", "b7"])
class TestAnyLayer:
    def test_gradients_are_those_of_the_whole_network(self, model, batch, layer):
        """Against a graph through all of the network, class by class and image by image."""
        taken = []
        unit = getattr(model.backbone, layer)
        with unit.register_forward_hook(lambda module, inputs, output: taken.append(output[0])):
            logits = model.logits(batch)
        features, cut = activations_and_logits(model, batch, layer)
        torch.testing.assert_close(features, taken[0])
        torch.testing.assert_close(cut, logits)
        maps = grad_cam_plus_plus_autograd(features, cut)
        for image, c in ((0, 1), (2, 3)):
            g = torch.autograd.grad(logits[image, c], taken[0], retain_graph=True)[0][image].double()
            a = taken[0][image].detach().double()
            alpha = g**2 / (2 * g**2 + a.sum(dim=(1, 2), keepdim=True) * g**3)
            weights = (g.relu() * alpha).nan_to_num().sum(dim=(1, 2))
            expected = (weights[:, None, None] * a).sum(0)
            assert (maps[image, c] - expected).abs().amax() / expected.abs().amax() < 1e-3

    def test_nothing_below_the_layer_is_recorded(self, model, batch, layer):
        features, logits = activations_and_logits(model, batch, layer)
        assert features.is_leaf
        logits.sum().backward()
        assert features.grad is not None
        assert all(parameter.grad is None for parameter in model.parameters())

    @pytest.mark.parametrize("method", ["grad_cam_plus_plus", "grad_cam"])
    def test_labeller(self, model, images, layer, method):
        labeller = PseudoLabeller(model, method=method, layer=layer)
        cams = labeller.cams(images)
        assert cams.shape == (3, 4, 48, 48)
        assert (cams.amin(), cams.amax()) == (0, 1)
        alone = labeller.cams(images[1:2])
        torch.testing.assert_close(alone[0], cams[1], rtol=1e-3, atol=1e-4)


def test_all_classes_in_one_backward_pass(model, batch):
    features, logits = activations_and_logits(model, batch, "b5_2")
    passes = []
    logits.grad_fn.register_hook(lambda *_: passes.append(1))
    grad_cam_plus_plus_autograd(features, logits)
    assert len(passes) == 1


def test_a_layer_that_is_not_there_is_an_error_with_a_list(model, images):
    with pytest.raises(InputError, match=r"pseudo_labels\.layer: no unit 'b4_9'; choose from b2, .*b7, bn7"):
        PseudoLabeller(model, layer="b4_9").cams(images)


def test_cam_needs_the_last_layer(model, images):
    with pytest.raises(InputError, match="bn7 alone"):
        PseudoLabeller(model, method="cam", layer="b5_2").cams(images)


def test_layers_are_fused_as_the_mean_of_their_maps(model, images):
    at = {layer: PseudoLabeller(model, layer=layer).evidence(images, 1.0) for layer in ("bn7", "b4_5")}
    both = PseudoLabeller(model, layer=["bn7", "b4_5"]).evidence(images, 1.0)
    expected = (min_max(at["bn7"].maps) + min_max(at["b4_5"].maps)) / 2
    assert torch.allclose(both.maps, expected)
    assert torch.equal(both.logits, at["bn7"].logits)
    alone = PseudoLabeller(model, layer=["b4_5"]).evidence(images, 1.0)
    assert torch.allclose(alone.maps, min_max(at["b4_5"].maps))
