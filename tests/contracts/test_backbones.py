"""What a backbone must be; every registered one is asked."""

import inspect

import pytest
import torch

from tests.contracts.registered import backbones
from wsss_mm.cam import activations_and_logits, grad_cam_plus_plus, grad_cam_plus_plus_autograd
from wsss_mm.cam.layers import is_last, unit_names
from wsss_mm.models import Backbone, PatchClassifier, load_model, save_model
from wsss_mm.models.backbones import IMAGE, channels_of, load_initial_weights, out_channels
from wsss_mm.models.store import save_weights

pytestmark = pytest.mark.parametrize("name", backbones())


def config(name, **more):
    known = inspect.signature(backbones()[name]).parameters
    return {"type": f"wsss_mm.{name}"} | ({"width": 1 / 32} if "width" in known else {}) | more


def build(name, seed=0, **more):
    torch.manual_seed(seed)
    options = config(name, **more)
    options.pop("type")
    backbone = backbones()[name](**options)
    if hasattr(backbone, "init_weights"):
        backbone.init_weights()
    return backbone.eval()


def images(side=64, count=2):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)) * 4 - 2


def test_its_channels_are_those_of_its_maps(name):
    backbone = build(name)
    maps = backbone(images())
    assert isinstance(maps, tuple)
    assert channels_of(backbone) == out_channels(config(name)) == tuple(item.shape[1] for item in maps)
    assert all(item.shape[0] == 2 and torch.isfinite(item).all() for item in maps)


def test_a_larger_image_has_larger_maps_by_one_stride(name):
    for small, large in zip(build(name)(images(64)), build(name)(images(128)), strict=True):
        assert small.shape[-1] == small.shape[-2] >= 1
        assert (large.shape[-2], large.shape[-1]) == (2 * small.shape[-2], 2 * small.shape[-1])
        assert 64 % small.shape[-1] == 0


def test_it_gives_the_maps_that_are_asked_for_in_their_order(name):
    """By number or by name: the last two are what each alone is, from fine to coarse."""
    if issubclass(backbones()[name], Backbone):
        key, wanted = "out_stages", tuple(build(name).stages)[-2:]
    elif "out_indices" in inspect.signature(backbones()[name]).parameters:
        (last,) = build(name).out_indices
        key, wanted = "out_indices", (last - 1, last)
    else:
        pytest.skip("has no out_indices")
    both = build(name, **{key: wanted})(images())
    alone = [build(name, **{key: (index,)})(images())[0] for index in wanted]
    for one, other in zip(both, alone, strict=True):
        torch.testing.assert_close(one, other)
    assert both[0].shape[-1] >= both[1].shape[-1]


def test_its_last_map_is_activated(name):
    """CAMs have a closed form only over what is not negative."""
    assert (build(name)(images())[-1] >= 0).all()


def test_it_is_a_function_of_its_weights_and_the_image(name):
    one, two, other = build(name), build(name, seed=9), build(name, seed=10)
    two.load_state_dict(one.state_dict())
    first = one(images())
    for found, again, same, different in zip(first, one(images()), two(images()), other(images()), strict=True):
        assert torch.equal(found, again)
        assert torch.equal(found, same)
        assert not torch.equal(found, different)


def test_images_do_not_depend_on_each_other(name):
    backbone = build(name)
    for both, alone in zip(backbone(images()), backbone(images()[1:]), strict=True):
        torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-5)


def test_gradients(name):
    """All weights that learn get one; frozen ones none, and what is before them still does."""
    backbone = build(name).train()
    sum(item.square().mean() for item in backbone(images())).backward()
    learning = {key: value.grad for key, value in backbone.named_parameters() if value.requires_grad}
    assert learning
    assert [key for key, value in learning.items() if value is None or not torch.isfinite(value).all()] == []
    frozen = build(name).requires_grad_(False)
    image = images().requires_grad_()
    frozen(image)[-1].sum().backward()
    assert torch.isfinite(image.grad).all()
    assert all(value.grad is None for value in frozen.parameters())


def test_weights_to_begin_with(name, tmp_path):
    one, two = build(name), build(name, seed=9)
    save_weights({f"backbone.{key}": value for key, value in one.state_dict().items()}, tmp_path / "weights.pth")
    load_initial_weights(two, tmp_path / "weights.pth")
    assert all(torch.equal(value, two.state_dict()[key]) for key, value in one.state_dict().items())


def classifier_of(name):
    return {
        "type": "wsss_mm.PatchClassifier",
        "backbone": config(name),
        "classes": 3,
        "data_preprocessor": {"type": "mmengine.ImgDataPreprocessor", "mean": [120.0] * 3, "std": [60.0] * 3},
    }


def test_every_layer_that_it_names_has_cams(name):
    torch.manual_seed(0)
    parts = {key: value for key, value in classifier_of(name).items() if key != "type"}
    model = PatchClassifier(**parts).eval()
    assert is_last(model, unit_names(model)[-1])
    for layer in unit_names(model)[:-1]:
        features, logits = activations_and_logits(model, images(32), layer)
        assert features.dim() == 4
        torch.testing.assert_close(logits, model.logits(images(32)))
        (gradient,) = torch.autograd.grad(logits.sum(), features)
        assert torch.isfinite(gradient).all()


def test_a_classifier_of_it_is_stored_and_loaded(name, tmp_path, project_root):
    torch.manual_seed(0)
    parts = classifier_of(name)
    model = PatchClassifier(**{key: value for key, value in parts.items() if key != "type"}).eval()
    classes = [{"code": code, "name": code, "color": [40 * i, 0, 0]} for i, code in enumerate("abc")]
    info = {"kind": "classifier", "classes": classes, "mpp": 1.0, "size": 64, "model": parts}
    save_model(tmp_path / "model", state=model.state_dict(), info=info, config_text="", card="")
    loaded, _ = load_model(tmp_path / "model", configs=project_root / "mmconfigs")
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    assert torch.equal(loaded.predict(image), model.predict(image))


# -- those that follow the protocol


def protocol(name, **more):
    if not issubclass(backbones()[name], Backbone):
        pytest.skip("says nothing of its stages")
    return build(name, **more)


@torch.no_grad()
def test_its_stages_are_what_it_says_of_them(name):
    backbone = protocol(name)
    found = backbone.features(images())
    assert list(found) == list(backbone.stages)
    for stage, (channels, stride) in backbone.stages.items():
        assert tuple(found[stage].shape) == (2, channels, 64 // stride, 64 // stride)
    assert torch.equal(found[backbone.last], backbone(images())[0])
    assert len(backbone.mean) == len(backbone.std) == 3 and min(backbone.std) > 1
    (image,) = protocol(name, out_stages=(IMAGE,))(images())
    assert torch.equal(image, images())
    with pytest.raises(ValueError, match="no stage 'nowhere'"):
        protocol(name, out_stages=("nowhere",))


@pytest.mark.parametrize("which", ["none", "stem", "all"])
def test_what_is_frozen_neither_learns_nor_counts(name, which):
    backbone = protocol(name, freeze=which).train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    learning = [value for value in backbone.parameters() if value.requires_grad]
    if learning:
        torch.manual_seed(0)
        (backbone(images())[-1] - 1).square().mean().backward()
        torch.optim.SGD(learning, lr=0.1).step()
    else:
        backbone(images())
    changed = {key for key, value in backbone.state_dict().items() if not torch.equal(value, before[key])}
    resting = {
        "none": set(),
        "stem": {
            f"{part}.{key}"
            for part, module in backbone.named_modules()
            if any(module is item for item in backbone._stem())
            for key in module.state_dict()
        },
        "all": set(before),
    }[which]
    assert not changed & resting
    assert bool(changed) == (which != "all")
    assert which != "stem" or resting


def test_forgotten_activations_change_nothing(name):
    def trained(**more):
        backbone = protocol(name, **more).train()
        torch.manual_seed(0)
        backbone(images())[-1].square().mean().backward()
        return backbone

    kept, forgotten = trained(), trained(with_checkpointing=True)
    assert all(torch.equal(value, forgotten.state_dict()[key]) for key, value in kept.state_dict().items())
    for (key, one), other in zip(kept.named_parameters(), forgotten.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=key)


def test_its_last_layer_has_grad_cam_plus_plus_in_closed_form(name):
    torch.manual_seed(0)
    parts = {key: value for key, value in classifier_of(name).items() if key != "type"}
    model = PatchClassifier(**parts).eval().double()
    model.init_weights()
    with torch.no_grad():
        features = model.features(images().double())
    leaf = features.requires_grad_()
    by_autograd = grad_cam_plus_plus_autograd(leaf, model._logits_of(leaf))
    torch.testing.assert_close(grad_cam_plus_plus(features.detach(), model.head_weight.detach()), by_autograd)
