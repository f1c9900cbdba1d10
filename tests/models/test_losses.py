import numpy as np
import pytest
import torch
from torch.nn import functional

from wsss_mm.models import NoiseSuppressedCrossEntropyLoss, noise_suppression_weights

VARIANTS = ("onss", "onss_margin", "ce")


def reference(logits, target, variant, ignore=255):
    """METHOD section 4 in float64, pixel by pixel: weights and loss."""
    weights, losses = np.zeros(target.shape), np.zeros(target.shape)
    for n in range(len(target)):
        valid = target[n] != ignore
        if not valid.any():
            continue
        z = logits[n].astype(np.float64)
        log_p = z - z.max(0) - np.log(np.exp(z - z.max(0)).sum(0))
        labels = np.where(valid, target[n], 0)
        losses[n] = np.where(valid, -np.take_along_axis(log_p, labels[None], 0)[0], 0)
        w = np.zeros(target[n].shape)
        kept = losses[n][valid]
        soft = np.exp(-(kept - kept.min()))
        w[valid] = soft / soft.mean()
        if variant == "onss_margin":
            p = np.exp(log_p)
            w *= p.max(0) - p.min(0)
        if variant == "ce" or len(np.unique(target[n][valid])) == 1:
            w = np.ones(target[n].shape)
        weights[n] = np.where(valid, w, 0)
    count = (target != ignore).sum()
    return weights, (weights * losses).sum() / max(count, 1)


@pytest.fixture
def batch():
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 3, (4, 5, 9, 7))
    target = rng.integers(0, 5, (4, 9, 7))
    target[rng.random(target.shape) < 0.3] = 255
    target[1] = np.where(target[1] == 255, 255, 2)  # a single class
    target[2] = 255  # nothing valid
    return logits, target


@pytest.mark.parametrize("variant", VARIANTS)
def test_against_numpy(batch, variant):
    logits, target = batch
    weights, loss = reference(logits, target, variant)
    tensors = torch.from_numpy(logits), torch.from_numpy(target)
    np.testing.assert_allclose(noise_suppression_weights(*tensors, variant=variant).numpy(), weights, rtol=1e-9)
    np.testing.assert_allclose(NoiseSuppressedCrossEntropyLoss(variant)(*tensors).item(), loss, rtol=1e-9)


def test_ce_is_cross_entropy(batch):
    logits, target = map(torch.from_numpy, batch)
    loss = NoiseSuppressedCrossEntropyLoss("ce")(logits, target)
    torch.testing.assert_close(loss, functional.cross_entropy(logits, target, ignore_index=255))


def test_mean_weight_over_valid_pixels_is_one(batch):
    logits, target = map(torch.from_numpy, batch)
    weights = noise_suppression_weights(logits, target)
    for w, t in zip(weights, target, strict=True):
        if (t != 255).any():
            assert w[t != 255].mean().item() == pytest.approx(1)
        assert (w[t == 255] == 0).all()


def test_ignored_pixels_change_nothing(batch):
    """In an unmasked softmax they would have the largest weight and drain the others."""
    logits, target = map(torch.from_numpy, batch)
    changed = torch.where((target == 255)[:, None], torch.randn_like(logits) * 50, logits)
    for variant in VARIANTS:
        loss = NoiseSuppressedCrossEntropyLoss(variant)
        torch.testing.assert_close(loss(logits, target), loss(changed, target))


def test_a_label_against_a_confident_prediction_weighs_less():
    logits = torch.zeros(1, 2, 1, 4)
    logits[0, 0] = 4.0  # sure of class 0 everywhere
    target = torch.tensor([[[0, 0, 0, 1]]])
    weights = noise_suppression_weights(logits, target)[0, 0]
    assert weights[3] < 0.05 < 1 < weights[0]


def test_images_do_not_touch_each_other(batch):
    logits, target = map(torch.from_numpy, batch)
    alone = torch.cat([noise_suppression_weights(logits[i : i + 1], target[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(noise_suppression_weights(logits, target), alone)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("variant", VARIANTS)
def test_extreme_logits_stay_finite(dtype, variant):
    generator = torch.Generator().manual_seed(0)
    logits = torch.where(torch.rand(2, 4, 8, 8, generator=generator) < 0.5, 1e4, -1e4).to(dtype).requires_grad_()
    target = torch.randint(0, 4, (2, 8, 8), generator=generator)
    loss = NoiseSuppressedCrossEntropyLoss(variant)(logits, target)
    loss.backward()
    assert torch.isfinite(loss)
    assert loss.dtype == torch.float32
    assert torch.isfinite(logits.grad).all()
    assert torch.isfinite(noise_suppression_weights(logits, target, variant=variant)).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_valid_gives_zero_and_no_gradient(variant):
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = NoiseSuppressedCrossEntropyLoss(variant)(logits, torch.full((2, 4, 4), 255))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient_is_that_of_constant_weights(batch, variant):
    """The weights are detached: d(loss) = mean of w d(L)."""
    logits, target = torch.from_numpy(batch[0]).requires_grad_(), torch.from_numpy(batch[1])
    NoiseSuppressedCrossEntropyLoss(variant)(logits, target).backward()
    weights = torch.from_numpy(reference(*batch, variant)[0])
    probabilities = logits.detach().softmax(1)
    hot = functional.one_hot(target.where(target != 255, 0), 5).movedim(-1, 1)
    expected = weights[:, None] * (probabilities - hot) / (target != 255).sum()
    torch.testing.assert_close(logits.grad, expected)


@pytest.mark.parametrize("variant", VARIANTS)
def test_class_weights(batch, variant):
    """Against the reference, and `ce` against torch's own weighted mean."""
    factors = np.array([0.5, 2, 0, 1, 3])
    logits, target = batch
    weights, _ = reference(logits, target, variant)
    losses = functional.cross_entropy(*map(torch.from_numpy, batch), reduction="none", ignore_index=255).numpy()
    labels = np.where(target == 255, 0, target)
    expected = (weights * losses * factors[labels]).sum() / factors[labels][target != 255].sum()
    tensors = torch.from_numpy(logits), torch.from_numpy(target)
    loss = NoiseSuppressedCrossEntropyLoss(variant, class_weight=factors.tolist())(*tensors)
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-6)
    if variant == "ce":
        peer = functional.cross_entropy(*tensors, weight=torch.from_numpy(factors), ignore_index=255)
        torch.testing.assert_close(loss, peer)


def test_weights_fall_as_losses_rise(batch):
    """Within an image, the order of the weights is opposite to that of the losses."""
    logits, target = map(torch.from_numpy, batch)
    losses = functional.cross_entropy(logits, target, reduction="none", ignore_index=255)
    weights = noise_suppression_weights(logits, target)
    for n in (0, 3):
        valid = target[n] != 255
        order = losses[n][valid].argsort()
        assert (weights[n][valid][order].diff() <= 0).all()
        assert weights[n][valid].std() > 0.1


def test_which_label_means_ignore_does_not_matter(batch):
    """Pixels that are cut off weigh as pixels that are ignored: not at all."""
    logits, target = map(torch.from_numpy, batch)
    ignored = target.clone()
    ignored[:, 5:] = 255
    for variant in VARIANTS:
        whole = noise_suppression_weights(logits, ignored, variant=variant)
        cut = noise_suppression_weights(logits[:, :, :5], target[:, :5], variant=variant)
        torch.testing.assert_close(whole[:, :5], cut)
        assert (whole[:, 5:] == 0).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_ignored_image_among_others_has_no_gradient(batch, variant):
    logits, target = torch.from_numpy(batch[0]).requires_grad_(), torch.from_numpy(batch[1])
    NoiseSuppressedCrossEntropyLoss(variant)(logits, target).backward()
    assert (logits.grad[2] == 0).all()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_torch_compile_gives_the_same(batch, variant):
    """One graph, no break; loss and gradient are those of the plain loss."""
    found = []
    loss = NoiseSuppressedCrossEntropyLoss(variant, class_weight=[1, 2, 3, 4, 5])
    torch._dynamo.reset()
    for function in (loss, torch.compile(loss, backend="aot_eager", fullgraph=True)):
        logits = torch.from_numpy(batch[0]).float().requires_grad_()
        value = function(logits, torch.from_numpy(batch[1]))
        value.backward()
        found.append((value.detach(), logits.grad))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("variant", VARIANTS)
def test_half_precision_logits_are_judged_in_float32(batch, dtype, variant):
    """The loss of rounded logits is that of the reference on the very same rounded logits."""
    logits, target = torch.from_numpy(batch[0]).to(dtype), torch.from_numpy(batch[1])
    _, expected = reference(logits.double().numpy(), batch[1], variant)
    found = NoiseSuppressedCrossEntropyLoss(variant)(logits, target)
    np.testing.assert_allclose(found.item(), expected, rtol=1e-5)


def test_mmseg_signature(batch):
    logits, target = map(torch.from_numpy, batch)
    loss = NoiseSuppressedCrossEntropyLoss(loss_weight=0.4)
    none = loss(logits, target, reduction_override="none")
    assert none.shape == target.shape
    torch.testing.assert_close(loss(logits, target), none.sum() / (target != 255).sum())
    torch.testing.assert_close(loss(logits, target, reduction_override="sum"), none.sum())
    torch.testing.assert_close(loss(logits, target, avg_factor=10), none.sum() / 10)
    halved = loss(logits, target, weight=torch.full(target.shape, 0.5))
    torch.testing.assert_close(halved, loss(logits, target) / 2)
    other = target.where(target != 255, 7)
    torch.testing.assert_close(loss(logits, other, ignore_index=7), loss(logits, target))
    assert loss.loss_name.startswith("loss_")


def test_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="onss_margin"):
        NoiseSuppressedCrossEntropyLoss("onnss")
