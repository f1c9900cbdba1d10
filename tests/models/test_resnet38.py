"""The architecture against METHOD's table, the state-dict names against the published conversions."""

import pytest
import torch

from wsss_mm.models import ResNet38
from wsss_mm.models.backbones.resnet38 import BN_EPS, LEVELS, meta_state_dict


@pytest.fixture(scope="module")
def full() -> ResNet38:
    with torch.device("meta"):
        return ResNet38(1.0, out_indices=(0, 1, 2, 3, 4, 5)).eval()


def test_parameters_at_width_1(full):
    assert sum(p.numel() for p in full.parameters()) / 1e6 == pytest.approx(105.1, abs=0.05)


def test_parameters_at_an_eighth():
    assert sum(p.numel() for p in ResNet38(1 / 8).parameters()) / 1e6 == pytest.approx(1.6, abs=0.1)


def test_feature_maps_of_a_patch(full):
    shapes = [tuple(x.shape[1:]) for x in full(torch.empty(1, 3, 224, 224, device="meta"))]
    assert shapes == [(128, 112, 112), (256, 56, 56), (512, 28, 28), (1024, 28, 28), (2048, 28, 28), (4096, 28, 28)]


CONVS = {  # in, out, kernel, stride, dilation
    "conv1a": (3, 64, 3, 1, 1),
    "b2.conv_branch2a": (64, 128, 3, 2, 1),
    "b2.conv_branch1": (64, 128, 1, 2, 1),
    "b2_2.conv_branch2b1": (128, 128, 3, 1, 1),
    "b3.conv_branch2a": (128, 256, 3, 2, 1),
    "b4.conv_branch2a": (256, 512, 3, 2, 1),
    "b4_5.conv_branch2b1": (512, 512, 3, 1, 1),
    "b5.conv_branch2a": (512, 512, 3, 1, 1),
    "b5.conv_branch2b1": (512, 1024, 3, 1, 2),
    "b5.conv_branch1": (512, 1024, 1, 1, 1),
    "b5_1.conv_branch2a": (1024, 512, 3, 1, 2),
    "b5_2.conv_branch2b1": (512, 1024, 3, 1, 2),
    "b6.conv_branch2a": (1024, 512, 1, 1, 1),
    "b6.conv_branch2b1": (512, 1024, 3, 1, 4),
    "b6.conv_branch2b2": (1024, 2048, 1, 1, 1),
    "b6.conv_branch1": (1024, 2048, 1, 1, 1),
    "b7.conv_branch2a": (2048, 1024, 1, 1, 1),
    "b7.conv_branch2b1": (1024, 2048, 3, 1, 4),
    "b7.conv_branch2b2": (2048, 4096, 1, 1, 1),
}


@pytest.mark.parametrize(("name", "expected"), CONVS.items())
def test_convolution(full, name, expected):
    conv = full.get_submodule(name)
    found = (conv.in_channels, conv.out_channels, conv.kernel_size[0], conv.stride[0], conv.dilation[0])
    assert found == expected
    assert conv.bias is None


def test_identity_units_have_no_projection(full):
    projections = {name for name, _ in full.named_modules() if name.endswith("conv_branch1")}
    assert {name for name in projections if full.get_submodule(name) is not None} == {
        f"b{level}.conv_branch1" for level in range(2, 8)
    }


def test_units_and_keys():
    keys = set(meta_state_dict())
    units = {key.split(".")[0] for key in keys}
    assert units == {
        *("conv1a", "bn7", "b2", "b2_1", "b2_2", "b3", "b3_1", "b3_2", "b4", "b4_1", "b4_2", "b4_3", "b4_4", "b4_5"),
        *("b5", "b5_1", "b5_2", "b6", "b7"),
    }
    assert {"b7.bn_branch2b2.running_var", "b6.conv_branch2b2.weight", "b4_5.bn_branch2a.running_mean"} <= keys


def test_batch_normalisation_epsilon_and_dropout(full):
    norms = [m for m in full.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {m.eps for m in norms} == {BN_EPS} == {1.001e-5}
    assert (full.b6.dropout.p, full.b7.dropout.p) == (0.3, 0.5)


def _reference_unit(unit, x):
    """METHOD: pre-activation; the projection acts on the activated input, an identity adds the raw one."""
    active = torch.relu(unit.bn_branch2a(x))
    y = unit.conv_branch2b1(torch.relu(unit.bn_branch2b1(unit.conv_branch2a(active))))
    return y + (x if unit.conv_branch1 is None else unit.conv_branch1(active))


@torch.no_grad()
def test_forward_follows_the_formula():
    torch.manual_seed(0)
    net = ResNet38(1 / 32, out_indices=(3, 5)).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(0, 0.1)
    image = torch.randn(2, 3, 40, 48)
    x = net.conv1a(image)
    for name in (name for level in LEVELS[:4] for name in level.unit_names()):
        x = _reference_unit(getattr(net, name), x)
    b5 = torch.relu(net.b6.bn_branch2a(x))
    for unit in (net.b6, net.b7):
        active = torch.relu(unit.bn_branch2a(x))
        y = unit.conv_branch2b1(torch.relu(unit.bn_branch2b1(unit.conv_branch2a(active))))
        x = unit.conv_branch2b2(torch.relu(unit.bn_branch2b2(y))) + unit.conv_branch1(active)
    auxiliary, last = net(image)
    torch.testing.assert_close(auxiliary, b5)
    torch.testing.assert_close(last, torch.relu(net.bn7(x)))


def test_unknown_level_is_refused():
    with pytest.raises(ValueError, match="out_indices"):
        ResNet38(1 / 32, out_indices=(6,))


def test_from_scratch_it_begins_as_its_shortcuts():
    """Units add little at first: the raw output of a level is close to that of its projection alone."""
    torch.manual_seed(0)
    net = ResNet38(1 / 8).train()
    net.init_weights()
    for name, channels in (("b3", 16), ("b7", 256)):
        unit = getattr(net, name)
        output, active = unit(torch.randn(2, channels, 16, 16))
        shortcut = unit.conv_branch1(active)
        assert 0 < (output - shortcut).std() < 0.2 * shortcut.std()
