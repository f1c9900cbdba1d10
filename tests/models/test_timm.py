"""Encoders of timm: its layout as recorded, against which files are held without it; and itself where it can be had."""

import importlib
import json
from pathlib import Path

import pytest
import torch

from wsss_mm.encoders import encoders
from wsss_mm.errors import InputError
from wsss_mm.models.timm_backbone import TimmBackbone
from wsss_mm.models.timm_layouts import has_layout, layout
from wsss_mm.models.weight_files import check_shapes, check_size

ROWS = {row.name: row for row in encoders().values() if row.loader == "timm"}
SMALL = {"img_size": 64, "depth": 4, "embed_dim": 48, "num_heads": 2, "reg_tokens": 3, "no_embed_class": True}
SMALL |= {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU", "init_values": 1e-5}


def recorded():
    """Names and shapes as timm 1.0.31 made them of the arguments in encoders.yaml, by encoder."""
    found = {}
    for name, item in json.loads(Path(__file__).with_name("timm_layouts.json").read_text(encoding="utf-8")).items():
        blocks = {
            f"blocks.{index}.{key}": shape
            for index in range(item["blocks"])
            for key, shape in item["of_each_block"].items()
        }
        found[name] = {key: tuple(shape) for key, shape in (item["others"] | blocks).items()}
    return found


RECORDED = recorded()


def test_all_rows_are_recorded():
    assert RECORDED.keys() == ROWS.keys()
    assert all(has_layout(row.architecture) for row in ROWS.values())


@pytest.mark.parametrize("name", ROWS)
def test_the_layout_is_timms(name):
    assert layout(ROWS[name].architecture, ROWS[name].arguments) == RECORDED[name]


@pytest.mark.parametrize(
    ("name", "millions"), [("uni", 303), ("uni2_h", 681), ("virchow2", 631), ("h_optimus_0", 1134)]
)
def test_there_are_as_many_numbers_as_their_owners_say(name, millions):
    assert sum(torch.Size(shape).numel() for shape in RECORDED[name].values()) // 10**6 == millions


@pytest.mark.parametrize("name", ROWS)
def test_rows_say_what_the_layout_shows(name):
    row, shapes = ROWS[name], RECORDED[name]
    side = shapes["patch_embed.proj.weight"][-1]
    registers = shapes.get("reg_token", (1, 0))[1]
    assert row.prefix_tokens == 1 + registers
    assert row.sizes.multiple == row.stride == side
    assert row.dimension == shapes["norm.weight"][0]
    blocks = 1 + max(int(key.split(".")[1]) for key in shapes if key.startswith("blocks."))
    assert row.last == f"stage{blocks}"


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("other", ["uni", "uni2_h", "kaiko_vit_small_8"])
def test_files_of_others_are_told_apart(name, other):
    state = {key: torch.empty(shape, device="meta") for key, shape in RECORDED[other].items()}
    state["head.weight"] = torch.empty((1000, 8), device="meta")  # what they hold besides does not matter
    found = {key: tuple(value.shape) for key, value in state.items()}
    wanted = layout(ROWS[name].architecture, ROWS[name].arguments)
    if RECORDED[name] == RECORDED[other]:
        check_shapes("x.bin", found, wanted, name)
        return
    with pytest.raises(InputError, match=rf"x\.bin: (no weights of|weights of another) {name}"):
        check_shapes("x.bin", found, wanted, name)


def test_what_is_far_too_large_is_not_read(tmp_path):
    path = tmp_path / "uni.bin"
    with path.open("wb") as stream:
        stream.truncate(10 * 10**9)
    with pytest.raises(InputError, match=r"10000 MB, but the weights of uni and a head have \d+ MB at most"):
        check_size(path, RECORDED["uni"], "the weights of uni and a head")


def timm_is_here():
    try:
        importlib.import_module("timm")
    except Exception:  # torchvision of another build than torch raises what it likes
        return False
    return True


def test_without_timm_an_error_says_what_is_missing():
    if timm_is_here():
        pytest.skip("timm is installed")
    with pytest.raises(InputError, match=r"vit_small_patch16_224: timm builds it.*torchvision.*wsss-mm\[timm\]"):
        TimmBackbone("vit_small_patch16_224")


@pytest.mark.skipif(not timm_is_here(), reason="timm needs torchvision of the same build as torch")
class TestWithTimm:
    """What cannot run beside a CPU build of torch without torchvision."""

    def test_maps_are_its_tokens_without_their_prefix(self, tmp_path):
        torch.manual_seed(0)
        options = {"out_stages": ("stage2", "stage4"), "activate": False}
        backbone = TimmBackbone("vit_small_patch16_224", SMALL, **options).eval()
        images = torch.randn(2, 3, 64, 96)
        with torch.no_grad():
            _, last = backbone(images)
            tokens = backbone.net.forward_features(images)
        assert torch.equal(last, tokens[:, 4:].transpose(1, 2).reshape(2, 48, 4, 6))
        torch.save(backbone.net.state_dict(), tmp_path / "x.pth")
        other = TimmBackbone("vit_small_patch16_224", SMALL).eval()
        other.load_pretrained(tmp_path / "x.pth")
        assert torch.equal(other(images)[0], last.relu())

    @pytest.mark.parametrize("name", ROWS)
    def test_rows_build(self, name):
        row = ROWS[name]
        with torch.device("meta"):
            backbone = TimmBackbone(row.architecture, row.arguments)
        assert backbone.stages == row.stages
        assert backbone.prefix_tokens == row.prefix_tokens
        assert {key: tuple(value.shape) for key, value in backbone.net.state_dict().items()} == RECORDED[name]

    def test_arguments_that_fetch_or_name_nothing_are_refused(self):
        for arguments, says in (({"pretrained": True}, "none of a backbone's"), ({"act_layer": "os"}, "is none of")):
            with pytest.raises(ValueError, match=says):
                TimmBackbone("vit_small_patch16_224", arguments)
        with pytest.raises(ValueError, match="timm has no architecture"):
            TimmBackbone("hf-hub:a/b")
