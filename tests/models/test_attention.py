import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement
from torch import nn

from wsss_mm.models import PatchClassifier, ProgressiveDropoutAttention
from wsss_mm.models.classifier import soft_margin_loss


def reference(features, weight, gamma):
    """The formula of METHOD section 2, one image and class after another."""
    out = np.empty_like(features)
    for n, x in enumerate(features):
        attention = np.zeros(x.shape[1:])
        for row in weight:
            m = np.maximum(np.tensordot(row, x, axes=1), 0)
            attention += np.where(m <= gamma * m.max(), m, 0)
        out[n] = x * (attention / len(weight))
    return out


@pytest.mark.parametrize("epoch", [3, 10, 40])
def test_against_the_formula(epoch):
    rng = np.random.default_rng(epoch)
    features, weight = rng.random((3, 5, 6, 7)), rng.normal(size=(4, 5))
    module = ProgressiveDropoutAttention().train()
    module.epoch = epoch
    found = module(torch.from_numpy(features), torch.from_numpy(weight))
    expected = reference(features, weight, max(0.98**epoch, 0.65))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_the_peak_is_erased():
    features = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    features[0, 0, 1, 2] = 10
    module = ProgressiveDropoutAttention().train()
    module.epoch = 5
    attended = module(features, torch.ones(1, 1, dtype=torch.float64))
    assert attended[0, 0, 1, 2] == 0
    assert attended.sum() == 15


def test_gamma_is_a_function_of_the_epoch():
    module = ProgressiveDropoutAttention()
    assert [module.gamma(e) for e in range(3)] == [None] * 3
    assert module.gamma(3) == pytest.approx(0.98**3)
    assert module.gamma(50) == 0.65
    module.epoch = 30
    module.gamma(7)
    assert module.gamma(3) == pytest.approx(0.98**3)


@pytest.mark.parametrize("change", ["eval", "off", "warm-up"])
def test_off_where_it_should_be(change):
    module = ProgressiveDropoutAttention("off" if change == "off" else "published").train(change != "eval")
    module.epoch = 0 if change == "warm-up" else 9
    features = torch.rand(1, 2, 3, 3)
    assert module(features, torch.rand(4, 2)) is features


def test_gradient_reaches_features_and_head():
    module = ProgressiveDropoutAttention().train()
    module.epoch = 5
    generator = torch.Generator().manual_seed(1)
    features = torch.rand(2, 3, 4, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, (features, weight))


class TestPatchClassifier:
    @pytest.fixture
    def classifier(self):
        torch.manual_seed(0)
        model = PatchClassifier(
            {"type": "wsss_mm.ResNet38", "width": 1 / 32}, classes=4, data_preprocessor=_normalisation()
        )
        return model.eval()

    def test_scores_are_those_of_pooled_features_times_head(self, classifier):
        images = torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8)
        features = classifier.features(classifier.normalize(images))
        expected = torch.sigmoid(features.mean((2, 3)) @ classifier.head_weight.T)
        torch.testing.assert_close(classifier.predict(images), expected)

    def test_normalisation_is_that_of_training(self, classifier):
        images = torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8)
        trained = classifier.data_preprocessor({"inputs": list(images)})["inputs"]
        torch.testing.assert_close(classifier.normalize(images), trained)
        expected = (images / 255 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
            [0.229, 0.224, 0.225]
        ).view(3, 1, 1)
        torch.testing.assert_close(trained, expected)

    def test_head_has_no_bias(self, classifier):
        assert classifier.head.bias is None


def _normalisation():
    return {"type": "mmengine.ImgDataPreprocessor", "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}


class TestSoftMarginLoss:
    """Classes that nobody is sure of teach nothing."""

    @pytest.fixture
    def batch(self):
        generator = torch.Generator().manual_seed(3)
        logits = torch.randn(5, 4, generator=generator)
        return logits, (torch.rand(5, 4, generator=generator) < 0.5).float()

    def test_all_known_is_the_published_loss_to_the_bit(self, batch):
        wanted = nn.functional.multilabel_soft_margin_loss(*batch)
        assert torch.equal(soft_margin_loss(*batch), wanted)
        assert torch.equal(soft_margin_loss(*batch, torch.ones(5, 4, dtype=torch.bool)), wanted)

    def test_mean_over_the_known_classes_of_a_patch_then_over_patches(self, batch):
        logits, labels = batch
        known = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 0, 1]]).bool()
        of_patches = [
            nn.functional.binary_cross_entropy_with_logits(row[which], said[which])
            for row, said, which in zip(logits, labels, known, strict=True)
            if which.any()
        ]
        found = soft_margin_loss(logits, labels, known)
        assert found.item() == pytest.approx(torch.stack(of_patches).mean().item(), rel=1e-6)
        assert torch.equal(soft_margin_loss(logits, torch.where(known, labels, 1 - labels), known), found)

    def test_no_gradient_where_nothing_is_known(self, batch):
        logits, labels = batch
        logits.requires_grad_()
        known = torch.ones(5, 4, dtype=torch.bool)
        known[1, 2] = known[3] = False
        soft_margin_loss(logits, labels, known).backward()
        assert ((logits.grad == 0) == ~known).all()

    def test_nothing_known_at_all(self, batch):
        logits, labels = batch
        logits.requires_grad_()
        loss = soft_margin_loss(logits, labels, torch.zeros(5, 4, dtype=torch.bool))
        loss.backward()
        assert loss.item() == 0
        assert (logits.grad == 0).all()

    def test_the_classifier_trains_with_it(self):
        torch.manual_seed(0)
        model = PatchClassifier(
            {"type": "wsss_mm.ResNet38", "width": 1 / 32}, classes=4, dropout=0.0, data_preprocessor=_normalisation()
        ).eval()
        images, samples = torch.rand(2, 3, 32, 32), []
        for known in ([True, True, False, True], [True] * 4):
            sample = BaseDataElement()
            sample.set_field(torch.tensor([1.0, 0, 0, 1]), "label")
            sample.set_field(torch.tensor(known), "known")
            samples.append(sample)
        logits, labels = model(images), torch.tensor([[1.0, 0, 0, 1]] * 2)
        known = torch.tensor([[True, True, False, True], [True] * 4])
        assert torch.equal(model(images, samples, "loss")["loss"], soft_margin_loss(logits, labels, known))
