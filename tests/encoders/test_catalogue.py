"""`encoders.yaml`: what is shipped, what a project adds, and what is said of a row that is wrong."""

from dataclasses import replace

import pytest

from wsss_mm.encoders import (
    LAST,
    LAYERS,
    LEVELS,
    STRIDE,
    Sizes,
    encoders,
    get_encoder,
    hardly_moves,
    layers,
    unknown_encoder,
)
from wsss_mm.errors import InputError

ROW = """mine:
  loader: transformers
  architecture: dinov2
  stages: {stage1: [32, 14]}
  licence: MIT
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes the project's own file, and tells what is said of it."""
    monkeypatch.chdir(tmp_path)

    def write(text):
        (tmp_path / "encoders.yaml").write_text(text)

    return write


def test_resnet38_is_what_its_levels_say():
    encoder = get_encoder("resnet38")
    stride, stages = 1, {}
    for level in LEVELS:
        stride *= level.stride
        stages[level.name] = (level.out, stride)
    assert encoder.stages == stages
    assert encoder.stride == STRIDE == 8
    assert encoder.dimension == 4096
    assert layers() == layers("resnet38") == encoder.layers == LAYERS
    assert encoder.last == LAST == "bn7"


def test_a_project_adds_and_overrules(own):
    shipped = encoders()
    own(ROW + ROW.replace("mine", "resnet38"))
    assert encoders().keys() == shipped.keys() | {"mine"}
    assert get_encoder("mine").stages == {"stage1": (32, 14)}
    assert get_encoder("resnet38").licence == "MIT"
    own("# nothing yet\n")
    assert encoders() == shipped


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("loader: transformers", "loader: torchhub", "line 2: mine.loader: Input should be 'wsss_mm', 'mmseg', 'tr"),
        ("  licence: MIT\n", "", "line 1: mine.licence: is missing"),
        ("licence: MIT", "license: MIT", "line 5: mine.license: is nothing of an encoder; did you mean licence?"),
        ("[32, 14]", "[32, x]", "line 4: mine.stages.stage1.1: Input should be a valid integer, but it is x"),
        ("[32, 14]", "[32, 0]", "line 4: mine.stages.stage1: [32, 0] are no channels and stride"),
        ("{stage1: [32, 14]}", "{}", "line 4: mine.stages: is empty"),
        ("licence: MIT", "licence: MIT\n  std: [0.2, 0.2, 0.2]", "line 6: mine.std: [0.2, 0.2, 0.2] is of RGB in 0..1"),
        ("licence: MIT", "licence: MIT\n  sha256: abc", "line 6: mine.sha256: 'abc' is no SHA-256"),
        ("licence: MIT", "licence: MIT\n  file: ../x.pth", "line 6: mine.file: '../x.pth' is no name"),
        ("licence: MIT", "licence: MIT\n  gated: 'yes'", "line 6: mine.gated: Input should be a valid boolean"),
        ("licence: MIT", "licence: MIT\n  sizes: {multiple: 1.5}", "line 6: mine.sizes.multiple: Input should be"),
        (
            "licence: MIT",
            "licence: MIT\n  cam_layers: [a]",
            "line 6: mine.cam_layers: are those of no network of trans",
        ),
        ("licence: MIT", "licence: MIT\n  name: other", "line 6: mine.name: stands above the row already"),
        ("mine:", "'a/b':", "line 1: a/b: is no encoder's name"),
        (ROW, "- mine\n", "encoders.yaml: describes no encoders"),
        (ROW, "mine: 3\n", "line 1: mine: says nothing of the encoder"),
        (ROW, "mine: [\n", "encoders.yaml: not valid YAML"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(own, old, new, says):
    assert old in ROW
    own(ROW.replace(old, new))
    with pytest.raises(InputError) as error:
        encoders()
    assert says in str(error.value)
    assert "encoders.yaml" in str(error.value)


def test_a_name_that_is_none_is_said_with_one_that_is_near():
    assert "did you mean resnet38?" in unknown_encoder("resnet-38")
    with pytest.raises(InputError, match=r"no encoder 'zzz'; choose from .*efficientnet_lite0.* encoders\.yaml"):
        get_encoder("zzz")


def test_own_rows_overrule_key_by_key(own):
    shipped = get_encoder("uni")
    own("uni: {licence: agreed with the owner, commercial: true}\n")
    assert get_encoder("uni") == replace(shipped, licence="agreed with the owner", commercial=True)
    own("uni: {mean: [1, 2]}\n")
    with pytest.raises(InputError, match=r"encoders\.yaml: line 1: uni\.mean"):
        encoders()


def test_what_is_shipped_is_whole():
    for name, row in encoders().items():
        assert row.file and row.citation and (row.hub or row.source or row.pypi), name
        assert row.layers[-1] == row.last
        assert all(stride <= row.stride for _, stride in row.stages.values()), name
        assert row.config["type"].startswith("wsss_mm.")
    assert len({row.file for row in encoders().values()}) == len(encoders())


def test_layers_are_those_that_the_networks_have(own):
    """A network of another package gives CAMs at its last stage alone; a row of one's own class says its layers."""
    assert get_encoder("dinov2_small").layers == ("stage12",)
    assert get_encoder("efficientnet_lite0").layers == tuple(get_encoder("efficientnet_lite0").stages)
    row = ROW.replace("transformers", "wsss_mm").replace("{stage1: [32, 14]}", "{a: [8, 2], b: [16, 4]}")
    own(row)
    assert get_encoder("mine").layers == ("a", "b")
    own(row + "  cam_layers: [a.conv]\n")
    assert (get_encoder("mine").layers, get_encoder("mine").last) == (("a.conv", "b"), "b")


def test_a_resolution_that_is_far_off_is_told():
    row = get_encoder("uni")
    assert row.mpp_note(0.5) is row.mpp_note(0.75) is row.mpp_note(0.34) is None
    assert row.mpp_note(1.0) == "1 um/px is off by more than 1.5 times from the 0.5 um/px that uni knows"
    assert row.mpp_note(0.25) is not None
    assert get_encoder("virchow2").mpp_note(1.0) is get_encoder("dinov2_small").mpp_note(8.0) is None


def test_sizes_that_are_not_taken():
    assert Sizes(fixed=224).fault(112) == "takes images of 224 px alone, not of 112 px"
    assert Sizes(least=64).fault(32) == "takes images of 64 px and more, not of 32 px"
    assert Sizes(multiple=14).fault(100) is None  # padded


def test_windows_move_by_more_than_a_feature():
    assert hardly_moves(224, 0.5) is None
    assert "by 2 px, less than the 8 px" in hardly_moves(224, 0.99)
    assert hardly_moves(224, 0.95, 14) is not None
    assert hardly_moves(224, 0.95) is None
