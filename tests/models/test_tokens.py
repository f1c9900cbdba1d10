"""Encoders of transformers: tiny ones with random weights, in folders as their owners publish them."""

import json

import pytest
import torch

from wsss_mm.encoders import encoders
from wsss_mm.errors import InputError
from wsss_mm.models.foreign import fit_maps, pad_to, quarters
from wsss_mm.models.tokens import ARCHITECTURES, TokenBackbone, as_map

transformers = pytest.importorskip("transformers", reason="the extra wsss-mm[encoders] is not installed")

SMALL = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 56, "patch_size": 14}
CONVS = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}
TINY = {
    "dinov2": SMALL,
    "dinov2_with_registers": {**SMALL, "num_register_tokens": 3},
    "dinov3_vit": {
        **{key: SMALL[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads")},
        **{"intermediate_size": 64, "patch_size": 16, "num_register_tokens": 3},
    },
    "dinov3_convnext": CONVS,
    "convnext": CONVS,
    "convnextv2": CONVS,
    "swin": {"embed_dim": 8, "depths": [1, 1, 2, 1], "num_heads": [1, 1, 2, 2], "window_size": 3},
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
}
HEADS = {
    "convnext": "ConvNextForImageClassification",
    "convnextv2": "ConvNextV2ForImageClassification",
    "swin": "SwinForImageClassification",
    "resnet": "ResNetForImageClassification",
}
"""What is published of these has a head."""


def published(architecture, folder, seed=1, **changed):
    """A model with random weights, saved as its owner would."""
    torch.manual_seed(seed)
    config = transformers.AutoConfig.for_model(architecture, **{**TINY[architecture], **changed})
    if architecture in HEADS:
        model = getattr(transformers, HEADS[architecture])(config)
    else:
        model = transformers.AutoModel.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)
    return folder


def reference(backbone, folder, images):
    """The feature maps of transformers' own backbone, from the same folder."""
    config = transformers.AutoConfig.from_pretrained(folder)
    config.out_features = list(backbone.stages)
    kind = type(transformers.AutoBackbone.from_config(config))
    own = kind.from_pretrained(folder, config=config).eval()
    with torch.no_grad():
        return own(images).feature_maps


def test_all_that_are_known_are_tried():
    assert set(TINY) == set(ARCHITECTURES)
    assert {row.architecture for row in encoders().values() if row.loader == "transformers"} <= set(TINY)


@pytest.mark.parametrize("architecture", TINY)
def test_maps_are_those_of_transformers_own_backbone(architecture, tmp_path):
    folder = published(architecture, tmp_path)
    backbone = TokenBackbone(architecture, TINY[architecture], activate=False).eval()
    backbone.load_pretrained(folder)
    activated = TokenBackbone(architecture, TINY[architecture]).eval()
    activated.load_state_dict(backbone.state_dict())
    for size in ((3, 3), (4, 2)):  # of the size it was made for, and of another: positions are interpolated
        torch.manual_seed(0)
        images = torch.randn(2, 3, *(side * backbone.size_multiple for side in size))
        with torch.no_grad():
            found, (last,) = backbone.features(images), activated(images)
        wanted = reference(backbone, folder, images)
        assert list(found) == list(backbone.stages)
        for (name, (channels, stride)), item in zip(backbone.stages.items(), wanted, strict=True):
            height, width = (side // stride for side in images.shape[-2:])
            assert found[name].shape == item.shape == (2, channels, height, width)
            assert torch.equal(found[name], item), name
        assert torch.equal(last, wanted[-1].relu())  # CAMs have a closed form over what is not negative


@pytest.mark.parametrize("architecture", ["dinov2_with_registers", "swin"])
def test_it_trains_saves_and_begins_with_its_own_weights(architecture, tmp_path):
    torch.manual_seed(0)
    first = TokenBackbone(architecture, TINY[architecture], freeze="stem", with_checkpointing=True)
    first.init_weights()
    images = torch.randn(2, 3, 2 * first.size_multiple + 5, 3 * first.size_multiple)
    (maps,) = first(images)
    assert maps.shape == (2, first.out_channels[0], 3, 3)
    maps.square().mean().backward()
    learning = [parameter for parameter in first.parameters() if parameter.requires_grad]
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in learning)
    assert all(not parameter.requires_grad for part in first._stem() for parameter in part.parameters())
    path = tmp_path / "weights.pth"
    torch.save({f"backbone.{name}": value for name, value in first.state_dict().items()}, path)
    second = TokenBackbone(architecture, TINY[architecture])
    second.load_pretrained(path)
    for name, value in second.state_dict().items():
        assert torch.equal(value, first.state_dict()[name]), name


def test_checkpointing_changes_no_gradient():
    found = []
    for with_checkpointing in (False, True):
        torch.manual_seed(0)
        backbone = TokenBackbone("dinov2", SMALL, with_checkpointing=with_checkpointing).train()
        backbone(torch.randn(1, 3, 28, 28))[0].square().mean().backward()
        found.append([parameter.grad for parameter in backbone.parameters() if parameter.grad is not None])
    assert len(found[0]) == len(found[1])
    assert all(torch.allclose(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("name", [row.name for row in encoders().values() if row.loader == "transformers"])
def test_rows_of_the_catalogue_say_what_the_networks_have(name):
    row = encoders()[name]
    with torch.device("meta"):
        backbone = TokenBackbone(row.architecture, row.arguments)
    assert backbone.stages == row.stages
    assert backbone.prefix_tokens == row.prefix_tokens
    assert backbone.size_multiple == row.sizes.multiple


def test_arguments_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="dinov2 has no argument 'depths'"):
        TokenBackbone("dinov2", {"depths": [1]})
    with pytest.raises(ValueError, match="no architecture 'bert'; choose from dinov2"):
        TokenBackbone("bert")


@pytest.fixture
def dinov2(tmp_path):
    return published("dinov2", tmp_path) / "model.safetensors"


def test_weights_of_another_architecture_are_refused(tmp_path, dinov2):
    with pytest.raises(InputError, match=r"model\.safetensors: no weights of resnet, \d+ of \d+ arrays are missing"):
        TokenBackbone("resnet", TINY["resnet"]).load_pretrained(dinov2)
    with pytest.raises(
        InputError, match=r"weights of another dinov2: .* is \(.*32.*\), not \(.*64.*\), and \d+ arrays"
    ):
        TokenBackbone("dinov2", {**SMALL, "hidden_size": 64}).load_pretrained(dinov2)
    with pytest.raises(InputError, match="no weights of dinov2, "):
        TokenBackbone("dinov2", {**SMALL, "num_hidden_layers": 5}).load_pretrained(dinov2)


def test_damaged_files_are_refused(tmp_path, dinov2):
    backbone, whole = TokenBackbone("dinov2", SMALL), dinov2.read_bytes()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    larger = {name: dict(item) if isinstance(item, dict) else item for name, item in header.items()}
    last = max((item["data_offsets"][1], name) for name, item in larger.items() if name != "__metadata__")[1]
    larger[last] |= {"shape": [10 * 2**30], "data_offsets": [larger[last]["data_offsets"][0], 10 * 2**30 * 4]}
    claims = json.dumps(larger).encode()
    for content in (
        whole[:-7],  # ends early
        whole[:100],
        b"",
        (2**40).to_bytes(8, "little") + whole[8:],  # a header of a terabyte
        len(claims).to_bytes(8, "little") + claims + whole[8 + length :],  # an array of 40 GB
        whole + b"\0" * 64,  # more than it says
        whole[:8] + b"\xff" * length + whole[8 + length :],
    ):
        dinov2.write_bytes(content)
        with pytest.raises(InputError, match=r"model\.safetensors: ends early, is damaged or is no"):
            backbone.load_pretrained(dinov2)
    with pytest.raises(InputError, match=r"none\.safetensors: not found"):
        backbone.load_pretrained(tmp_path / "none.safetensors")
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_of_10_gb_is_not_read(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    with path.open("wb") as stream:
        stream.truncate(10 * 10**9)  # a hole, which takes no space
    with pytest.raises(InputError, match=r"10000 MB, but the weights of dinov2 and a head have \d+ MB at most"):
        TokenBackbone("dinov2", SMALL).load_pretrained(path)


def test_the_sha256_is_compared(dinov2):
    with pytest.raises(InputError, match="sha256"):
        TokenBackbone("dinov2", SMALL).load_pretrained(dinov2, "0" * 64)


def test_numbers_that_are_none_are_refused(tmp_path):
    backbone = TokenBackbone("dinov2", SMALL)
    state = backbone.state_dict()
    state["net.layernorm.weight"] = torch.full_like(state["net.layernorm.weight"], torch.nan)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"1 arrays hold what is no number, such as layernorm\.weight"):
        backbone.load_pretrained(tmp_path / "x.pth")


def test_tokens_lie_row_by_row_without_their_prefix():
    tokens = torch.arange(8.0).reshape(1, 8, 1)
    assert as_map(tokens, 2, 2, 3).tolist() == [[[[2, 3, 4], [5, 6, 7]]]]


def test_stages_are_quarters():
    assert [index + 1 for index in quarters(12)] == [3, 6, 9, 12]
    assert [index + 1 for index in quarters(40)] == [10, 20, 30, 40]
    assert quarters(1) == [0]


def test_maps_of_padded_images_lie_over_the_image():
    ramp = torch.arange(20.0).expand(1, 1, 20, 20)
    padded, shares = pad_to(ramp, 16)
    assert padded.shape == (1, 1, 32, 32)
    assert shares == (20 / 32, 20 / 32)
    assert torch.equal(padded[..., 20:], torch.full((1, 1, 32, 12), 19.0))
    over = fit_maps(torch.arange(32.0).expand(1, 1, 32, 32), shares)[
        0, 0, 0
    ]  # feature i of 32 lies i + 0.5 of 32 along
    assert torch.allclose(over, ((torch.arange(32.0) + 0.5) * 20 / 32 - 0.5).clamp(min=0), atol=1e-4)
    assert fit_maps(ramp, (1.0, 1.0)) is ramp


def test_maps_of_padded_images_are_resampled_in_reduced_precision_too():
    maps = torch.arange(32.0).expand(1, 1, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        found = fit_maps(maps, (20 / 32, 20 / 32))
    assert torch.equal(found, fit_maps(maps, (20 / 32, 20 / 32)))
