"""EfficientNet-Lite0 against a forward pass of its own, written from the paper's table, and its published file."""

import re
import zipfile

import pytest
import torch
from torch.nn import functional

from wsss_mm.errors import InputError
from wsss_mm.models import EfficientNetLite, ResNet38
from wsss_mm.models.backbones.efficientnet_lite import published_names

# kernel, stride, channels, expansion of each block: Tan and Le, table 1, without squeeze-and-excitation
BLOCKS = [
    *[(3, 1, 16, 1)],
    *[(3, 2, 24, 6), (3, 1, 24, 6)],
    *[(5, 2, 40, 6), (5, 1, 40, 6)],
    *[(3, 2, 80, 6), (3, 1, 80, 6), (3, 1, 80, 6)],
    *[(5, 1, 112, 6), (5, 1, 112, 6), (5, 1, 112, 6)],
    *[(5, 2, 192, 6), (5, 1, 192, 6), (5, 1, 192, 6), (5, 1, 192, 6)],
    *[(3, 1, 320, 6)],
]
NORM = ("weight", "bias", "running_mean", "running_var")


def published(seed=0):
    """Weights as they lie in the published file: its names and shapes, other numbers."""
    generator = torch.Generator().manual_seed(seed)

    def norm(name, channels):
        values = [torch.rand(channels, generator=generator) + 0.5 for _ in NORM]
        return {f"{name}.{key}": value for key, value in zip(NORM, values, strict=True)} | {
            f"{name}.num_batches_tracked": torch.tensor(7)
        }

    def conv(name, outputs, inputs, kernel):
        weight = torch.randn(outputs, inputs, kernel, kernel, generator=generator)
        return {f"{name}.weight": weight / (inputs * kernel**2) ** 0.5}

    state = conv("_conv_stem", 32, 3, 3) | norm("_bn0", 32)
    inputs = 32
    for number, (kernel, _, outputs, times) in enumerate(BLOCKS):
        block, wide = f"_blocks.{number}", inputs * times
        if times > 1:
            state |= conv(f"{block}._expand_conv", wide, inputs, 1) | norm(f"{block}._bn0", wide)
        state |= conv(f"{block}._depthwise_conv", wide, 1, kernel) | norm(f"{block}._bn1", wide)
        state |= conv(f"{block}._project_conv", outputs, wide, 1) | norm(f"{block}._bn2", outputs)
        inputs = outputs
    head = {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}
    return state | conv("_conv_head", 1280, 320, 1) | norm("_bn1", 1280) | head


@pytest.fixture(scope="module")
def state():
    return published()


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("pretrained") / "lite0.pth"
    torch.save(state, path)
    return path


def by_hand(state, x):
    """The published network: TensorFlow's padding, batch normalisation with 1e-3, ReLU6."""

    def norm(x, name):
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return functional.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-3)

    def conv(x, name, stride=1, groups=1):
        weight = state[f"{name}.weight"]
        sides = []
        for side in x.shape[-2:]:
            total = max((-(-side // stride) - 1) * stride + weight.shape[-1] - side, 0)
            sides.append((total // 2, total - total // 2))
        return functional.conv2d(functional.pad(x, (*sides[1], *sides[0])), weight, stride=stride, groups=groups)

    x = functional.hardtanh(norm(conv(x, "_conv_stem", 2), "_bn0"), 0, 6)
    for number, (_, stride, outputs, times) in enumerate(BLOCKS):
        block, before = f"_blocks.{number}", x
        if times > 1:
            x = functional.hardtanh(norm(conv(x, f"{block}._expand_conv"), f"{block}._bn0"), 0, 6)
        x = conv(x, f"{block}._depthwise_conv", stride, groups=x.shape[1])
        x = functional.hardtanh(norm(x, f"{block}._bn1"), 0, 6)
        x = norm(conv(x, f"{block}._project_conv"), f"{block}._bn2")
        if stride == 1 and before.shape[1] == outputs:
            x = x + before
    return functional.hardtanh(norm(conv(x, "_conv_head"), "_bn1"), 0, 6)


@torch.no_grad()
@pytest.mark.parametrize("side", [(64, 96), (65, 47)])
def test_it_is_the_published_network(file, state, side):
    network = EfficientNetLite(32).eval()
    network.load_pretrained(file)
    image = torch.randn(1, 3, *side, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(network(image)[0], by_hand(state, image), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_dilated_it_has_the_same_features_and_new_ones_between_them(file):
    """A stride keeps each second feature from the second on, as what is left of the padding goes right and below."""
    plain, dilated = EfficientNetLite(32).eval(), EfficientNetLite(8).eval()
    plain.load_pretrained(file)
    dilated.load_pretrained(file)
    image = torch.randn(1, 3, 96, 128, generator=torch.Generator().manual_seed(1))
    coarse, fine = plain.features(image), dilated.features(image)
    for stage, (_, stride) in plain.stages.items():
        times = stride // dilated.stages[stage][1]
        torch.testing.assert_close(coarse[stage], fine[stage][..., times - 1 :: times, times - 1 :: times])
    assert fine["head"].shape == (1, 1280, 12, 16)
    assert not torch.allclose(fine["head"][..., 0, 0], fine["head"][..., 3, 3])


def test_from_scratch_its_activations_neither_vanish_nor_explode():
    torch.manual_seed(0)
    network = EfficientNetLite().train()
    network.init_weights()
    spread = [float(item.detach().std()) for item in network.features(torch.randn(2, 3, 64, 64)).values()]
    assert 0.3 < min(spread) < max(spread) < 5


def test_its_sizes():
    with torch.device("meta"):
        network = EfficientNetLite()
        alone = EfficientNetLite(16, head=False)
    assert sum(value.numel() for value in network.parameters()) == 3_371_008
    assert network.stages["head"] == (1280, 8)
    assert list(alone.stages.items())[-1] == ("stage7", (320, 16))
    with pytest.raises(ValueError, match="output_stride 4: one of 8, 16, 32"):
        EfficientNetLite(4)


def test_all_of_the_file_but_its_classifier_is_taken(state):
    network = EfficientNetLite()
    assert set(published_names(network).values()) == set(network.state_dict())
    assert set(state) - set(published_names(network)) == {"_fc.weight", "_fc.bias"}


@torch.no_grad()
def test_without_a_head_the_last_stage_is_rectified(file):
    network = EfficientNetLite(head=False, out_stages=("stage7",)).eval()
    network.load_pretrained(file)
    assert network(torch.randn(1, 3, 32, 32))[0].min() == 0


# -- files that are none of it: one line each


def refused(path, says, **more):
    with pytest.raises(InputError, match=says) as caught:
        EfficientNetLite().load_pretrained(path, **more)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_missing_or_another(file, tmp_path):
    refused(tmp_path / "no.pth", "not found; get the file, sha256 aaaa", sha256="a" * 64)
    refused(file, "is not the published file's, aaaaaaaaaaaa.*get it again", sha256="a" * 64)


def test_a_file_that_ends_early(file, tmp_path):
    path = tmp_path / "early.pth"
    path.write_bytes(file.read_bytes()[:100_000])
    refused(path, "not a plain state dict")


def test_a_file_of_another_network(tmp_path):
    path = tmp_path / "resnet38.pth"
    torch.save(ResNet38(1 / 64).state_dict(), path)
    refused(path, r"no weights of EfficientNet-Lite0, \d+ of 294 arrays are missing, such as stem\.conv\.weight")


def test_a_file_of_another_size_of_it(state, tmp_path):
    path = tmp_path / "lite1.pth"
    torch.save(state | {"_conv_head.weight": torch.zeros(1280, 321, 1, 1)}, path)
    refused(path, re.escape("head.conv.weight is (1280, 321, 1, 1), not (1280, 320, 1, 1)"))


def test_a_file_with_what_is_no_number(state, tmp_path):
    path = tmp_path / "nan.pth"
    torch.save(state | {"_bn0.bias": torch.full((32,), torch.nan)}, path)
    refused(path, r"1 arrays hold what is no number, such as stem\.norm\.bias")


def test_a_file_that_is_far_larger_is_not_read(tmp_path):
    path = tmp_path / "large.pth"
    with path.open("wb") as stream:
        stream.truncate(10 << 30)  # sparse
    refused(path, "10737 MB, but EfficientNet-Lite0 and its head have 94 MB at most")


def test_a_file_that_claims_more_than_it_holds(file, tmp_path):
    path = tmp_path / "claims.pth"
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    refused(path, "a compressed archive")


def test_its_weights_may_come_as_safetensors_and_a_damaged_file_of_them_is_one_line(state, file, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch", reason="the extra `encoders` is not installed")
    path, plain, packed = tmp_path / "lite0.safetensors", EfficientNetLite(), EfficientNetLite()
    safetensors.save_file(state, path)
    plain.load_pretrained(file)
    packed.load_pretrained(path)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in packed.state_dict().items())
    path.write_bytes(path.read_bytes()[:1_000_000])
    with pytest.raises(InputError, match=r"lite0\.safetensors: [^\n]*$"):
        packed.load_pretrained(path)
