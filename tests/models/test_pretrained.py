"""The MXNet reader on files made here, in each layout MXNet has written, and on damaged ones."""

import struct
import tracemalloc

import numpy as np
import pytest
import torch

from wsss_mm.errors import InputError
from wsss_mm.models import ResNet38
from wsss_mm.models.backbones.resnet38 import meta_state_dict
from wsss_mm.models.pretrained import load_backbone_weights, read_mxnet_params, resnet38_state_dict

DTYPES = {"f4": 0, "f8": 1, "f2": 2, "u1": 3, "i4": 4}


def pack_array(array, layout):
    dims = array.shape
    if layout == "v2":
        head = struct.pack("<Ii", 0xF993FAC9, 0) + struct.pack(f"<I{len(dims)}q", len(dims), *dims)
    elif layout == "v1":
        head = struct.pack(f"<II{len(dims)}q", 0xF993FAC8, len(dims), *dims)
    else:
        head = struct.pack(f"<I{len(dims)}I", len(dims), *dims)
    return head + struct.pack("<iii", 1, 0, DTYPES[array.dtype.str[1:]]) + array.tobytes()


def pack(arrays, layout="v2"):
    data = struct.pack("<QQQ", 0x112, 0, len(arrays)) + b"".join(pack_array(a, layout) for a in arrays.values())
    data += struct.pack("<Q", len(arrays))
    for name in arrays:
        data += struct.pack("<Q", len(name)) + name.encode()
    return data


def sample(kind="f4"):
    rng = np.random.default_rng(0)
    return {
        "arg:a_weight": (rng.random((2, 3, 4, 4)) * 100).astype(kind),
        "aux:b_moving_mean": (rng.random(5) * 100).astype(kind),
    }


@pytest.mark.parametrize("layout", ["v2", "v1", "v0"])
@pytest.mark.parametrize("kind", DTYPES)
def test_every_layout_and_type(tmp_path, layout, kind):
    path = tmp_path / "x.params"
    path.write_bytes(pack(sample(kind), layout))
    found = read_mxnet_params(path)
    assert list(found) == ["a_weight", "b_moving_mean"]
    for array, expected in zip(found.values(), sample(kind).values(), strict=True):
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == expected.dtype


def test_every_truncation_is_one_line_naming_the_file(tmp_path):
    data = pack(sample())
    path = tmp_path / "cut.params"
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"cut\.params: [^\n]+$"):
            read_mxnet_params(path)


HUGE = 2**60
MALICIOUS = {
    "arrays": struct.pack("<QQQ", 0x112, 0, HUGE),
    "names": struct.pack("<QQQQ", 0x112, 0, 0, HUGE),
    "name length": pack(sample())[:-25] + struct.pack("<Q", HUGE) + b"x" * 17,
    "dimension": struct.pack("<QQQ", 0x112, 0, 1) + struct.pack("<IiIqiii", 0xF993FAC9, 0, 1, HUGE, 1, 0, 0),
    "product": struct.pack("<QQQ", 0x112, 0, 1) + struct.pack("<IiIqqiii", 0xF993FAC9, 0, 2, 2**40, 2**40, 1, 0, 0),
    "negative": struct.pack("<QQQ", 0x112, 0, 1) + struct.pack("<IiIqqiii", 0xF993FAC9, 0, 2, -4, -4, 1, 0, 0),
    "empty": struct.pack("<QQQ", 0x112, 0, 1) + struct.pack("<IiIqqiii", 0xF993FAC9, 0, 2, 0, 2**62, 1, 0, 0),
    "ndim": struct.pack("<QQQ", 0x112, 0, 1) + struct.pack("<III", 0xF993FAC8, 2**31, 1),
    "sparse": struct.pack("<QQQ", 0x112, 0, 1) + struct.pack("<IiI", 0xF993FAC9, 1, 1) + b"\0" * 40,
    "type": struct.pack("<QQQ", 0x112, 0, 1) + struct.pack("<IiIqiii", 0xF993FAC9, 0, 1, 1, 1, 0, 99) + b"\0" * 8,
    "magic": b"PK\x03\x04" + b"\0" * 40,
}


@pytest.mark.parametrize("case", MALICIOUS)
def test_lies_about_sizes_allocate_nothing(tmp_path, case):
    path = tmp_path / "bad.params"
    path.write_bytes(MALICIOUS[case])
    tracemalloc.start()
    with pytest.raises(InputError, match=r"bad\.params: [^\n]+$"):
        read_mxnet_params(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def mxnet_name(key):
    """The inverse of METHOD's naming rule."""
    kinds = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_var"}
    unit, *rest = key.split(".")
    if unit == "conv1a":
        return "conv1a_weight"
    if unit == "bn7":
        return f"bn7_{kinds[rest[0]]}"
    level, _, index = unit[1:].partition("_")
    place = f"{level}b{index}" if index else f"{level}a"
    layer, _, branch = rest[0].partition("_")
    return f"res{place}_{branch}_weight" if layer == "conv" else f"bn{place}_{branch}_{kinds[rest[1]]}"


@pytest.fixture
def narrow():
    torch.manual_seed(0)
    net = ResNet38(1 / 64).eval()
    for buffer in net.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 2)
    return net


def as_mxnet(net):
    arrays = {mxnet_name(k): v.numpy() for k, v in net.state_dict().items() if not k.endswith("tracked")}
    return {**arrays, "linear1000_weight": np.zeros((10, 4), "f4"), "linear1000_bias": np.zeros(10, "f4")}


def test_names_of_the_rule():
    assert mxnet_name("b2.conv_branch2b1.weight") == "res2a_branch2b1_weight"
    assert mxnet_name("b4_5.bn_branch2a.running_var") == "bn4b5_branch2a_moving_var"
    keys = [key for key in meta_state_dict() if not key.endswith("tracked")]
    assert len({mxnet_name(key) for key in keys}) == len(keys)


def test_round_trip_gives_the_same_network(tmp_path, narrow):
    path = tmp_path / "net.params"
    path.write_bytes(pack(as_mxnet(narrow)))
    other = ResNet38(1 / 64).eval()
    other.load_state_dict(resnet38_state_dict(read_mxnet_params(path)), strict=False)
    image = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(other(image)[0], narrow(image)[0], rtol=0, atol=0)


@pytest.mark.parametrize("change", ["missing", "foreign", "extra unit"])
def test_other_networks_are_refused(narrow, change):
    arrays = as_mxnet(narrow)
    if change == "missing":
        del arrays["bn7_gamma"]
    else:
        arrays["fc6_weight" if change == "foreign" else "res4b9_branch2a_weight"] = np.zeros(3, "f4")
    with pytest.raises(InputError, match="ResNet38"):
        resnet38_state_dict(arrays)


def test_every_name_that_does_not_fit_is_reported(narrow):
    arrays = as_mxnet(narrow)
    for name in ("bn7_gamma", "res2a_branch1_weight", "bn5b1_branch2a_beta", "res6a_branch2b2_weight"):
        del arrays[name]
    arrays |= {name: np.zeros(3, "f4") for name in ("fc6_weight", "res4b9_branch2a_weight")}
    arrays["conv1a_weight"] = np.zeros((7, 3, 3, 3), "f4")
    with pytest.raises(InputError) as caught:
        resnet38_state_dict(arrays, width=1 / 64)
    message = str(caught.value)
    for part in (
        "4 missing: b2.conv_branch1.weight, b5_1.bn_branch2a.bias, b6.conv_branch2b2.weight, bn7.weight",
        "2 unexpected: fc6_weight, res4b9_branch2a_weight",
        "1 of another shape: conv1a.weight (7, 3, 3, 3) for (1, 3, 3, 3)",
    ):
        assert part in message
    assert "\n" not in message


def test_big_files_are_mapped(tmp_path):
    """100 MB of zeros, a sparse file: nothing of it is copied before it is used."""
    path, count = tmp_path / "big.params", 25_000_000
    head = struct.pack("<QQQ", 0x112, 0, 1) + struct.pack("<IiIqiii", 0xF993FAC9, 0, 1, count, 1, 0, 0)
    with path.open("wb") as stream:
        stream.write(head)
        stream.seek(4 * count, 1)
        stream.write(struct.pack("<QQ", 1, 1) + b"a")
    tracemalloc.start()
    assert read_mxnet_params(path)["a"].shape == (count,)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


class TestLoadBackboneWeights:
    def test_plain_and_wrapped(self, tmp_path, narrow):
        expected = narrow.state_dict()
        forms = {
            "plain": expected,
            "wrapped": {"state_dict": {f"module.{k}": v for k, v in expected.items()}},
            "classifier": {
                **{f"backbone.{k}": v for k, v in expected.items()},
                "head.weight": torch.zeros(4, 64, 1, 1),
            },
        }
        for name, form in forms.items():
            torch.save(form, tmp_path / f"{name}.pth")
            found = load_backbone_weights(tmp_path / f"{name}.pth", 1 / 64)
            assert all(torch.equal(found[key], expected[key]) for key in found)
            assert len(found) == sum(not key.endswith("tracked") for key in expected)

    def test_another_width_names_file_and_remedy(self, tmp_path, narrow):
        (tmp_path / "net.params").write_bytes(pack(as_mxnet(narrow)))
        with pytest.raises(InputError, match=r"net\.params: weights of another width .*set the width"):
            load_backbone_weights(tmp_path / "net.params", 1 / 8)

    def test_pickles_are_not_executed(self, tmp_path):
        class Harmful:
            def __reduce__(self):
                return (print, ("executed",))

        torch.save({"weights": Harmful()}, tmp_path / "bad.pth")
        with pytest.raises(InputError, match=r"bad\.pth: not a plain state dict"):
            load_backbone_weights(tmp_path / "bad.pth", 1.0)

    @pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04rest"])
    def test_damaged(self, tmp_path, content):
        (tmp_path / "bad.pth").write_bytes(content)
        with pytest.raises(InputError, match=r"bad\.pth: "):
            load_backbone_weights(tmp_path / "bad.pth", 1.0)

    def test_missing(self, tmp_path):
        for name in ("none.pth", "none.params"):
            with pytest.raises(InputError, match=name):
                load_backbone_weights(tmp_path / name, 1.0)
