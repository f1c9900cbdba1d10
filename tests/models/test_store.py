"""Model folders: rebuilt without params.yaml or config.py, nothing foreign is built or executed."""

import json
import sys
import time

import pytest
import torch
from mmengine.registry import DefaultScope

from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.models import build_network, load_model, save_model, save_weights

NORMALISATION = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
CLASSIFIER = {
    "type": "wsss_mm.PatchClassifier",
    "classes": 4,
    "backbone": {"type": "wsss_mm.ResNet38", "width": 1 / 32},
    "attention": {"type": "wsss_mm.ProgressiveDropoutAttention"},
    "data_preprocessor": {"type": "mmengine.ImgDataPreprocessor", **NORMALISATION},
}


def head(kind, index, channels, **extra):
    return {
        "type": kind,
        "in_channels": channels,
        "in_index": index,
        "channels": 8,
        "num_classes": 4,
        "norm_cfg": {"type": "BN"},
        "loss_decode": {"type": "wsss_mm.NoiseSuppressedCrossEntropyLoss"},
        **extra,
    }


SEGMENTER = {
    "type": "EncoderDecoder",
    "data_preprocessor": {"type": "mmseg.SegDataPreProcessor", **NORMALISATION},
    "backbone": {"type": "wsss_mm.ResNet38", "width": 1 / 32, "out_indices": [3, 5]},
    "decode_head": head("PSPHead", 1, 128),
    "auxiliary_head": head("FCNHead", 0, 32),
    "test_cfg": {"mode": "whole"},
}


def info(kind, model):
    classes = [{"code": code, "name": code.title(), "color": [1, 2, 3]} for code in ("TE", "NEC", "LYM", "TAS")]
    return {"kind": kind, "classes": classes, "mpp": 1.0, "size": 64, "model": model}


@pytest.fixture(params=["classifier", "segmenter"])
def kind(request):
    return request.param


@pytest.fixture
def folder(tmp_path, kind):
    torch.manual_seed(0)
    config = CLASSIFIER if kind == "classifier" else SEGMENTER
    state = build_network(config).state_dict()
    # config.py is never executed: this one would fail
    save_model(tmp_path / kind, state=state, info=info(kind, config), config_text="raise SystemExit", card="# Card")
    return tmp_path / kind


@pytest.mark.parametrize("scope", ["mmengine", "mmseg"])
def test_the_scope_of_an_earlier_runner_does_not_matter(folder, scope):
    with DefaultScope.overwrite_default_scope(scope):
        load_model(folder)


def test_round_trip(folder, kind):
    model, found = load_model(folder)
    assert not model.training
    assert found["kind"] == kind
    images = torch.randint(0, 256, (2, 3, 64, 48), dtype=torch.uint8)
    if kind == "classifier":
        assert model.predict(images).shape == (2, 4)
        return
    probabilities = model.predict_probabilities(images)
    assert probabilities.shape == (2, 4, 64, 48)
    assert probabilities.dtype == torch.float32
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 64, 48))


def test_the_compiler_is_not_imported_to_look_at_shapes(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)  # whoever imports it fails
    load_model(folder)


def test_segmenter_equals_mmsegs_own_inference(tmp_path):
    torch.manual_seed(0)
    network = build_network(SEGMENTER).eval()
    save_model(tmp_path, state=network.state_dict(), info=info("segmenter", SEGMENTER), config_text="", card="")
    images = torch.randint(0, 256, (2, 3, 64, 48), dtype=torch.uint8)
    with torch.no_grad():
        batch = network.data_preprocessor({"inputs": list(images)})["inputs"]
        expected = torch.stack([sample.seg_logits.data for sample in network(batch, mode="predict")]).softmax(1)
    torch.testing.assert_close(load_model(tmp_path)[0].predict_probabilities(images), expected)


def test_equal_tensors_give_equal_bytes(tmp_path):
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}
    save_weights(state, tmp_path / "one.pth")
    time.sleep(0.01)
    save_weights({key: value.clone() for key, value in state.items()}, tmp_path / "deep" / "two.pth")
    assert digest(tmp_path / "one.pth", "md5") == digest(tmp_path / "deep" / "two.pth", "md5")
    assert torch.equal(torch.load(tmp_path / "one.pth", weights_only=True)["a"], state["a"])


@pytest.mark.parametrize("evil", ["os.system", "subprocess.Popen", "builtins.eval", "mmengine.Config.fromfile", "Foo"])
@pytest.mark.parametrize("place", ["model", "backbone", "norm"])
def test_foreign_types_are_never_built(tmp_path, evil, place):
    config = json.loads(json.dumps(SEGMENTER))
    if place == "model":
        config = {"type": evil}
    elif place == "backbone":
        config["backbone"]["type"] = evil
    else:
        config["decode_head"]["norm_cfg"]["type"] = evil
    (tmp_path / "model.json").write_text(json.dumps(info("segmenter", config)))
    with pytest.raises(InputError, match="not a part of a wsss_mm model"):
        load_model(tmp_path)


HEADS = {
    "PSPHead": {},
    "FCNHead": {"num_convs": 2},
    "ASPPHead": {"dilations": [1, 6, 12]},
    "DepthwiseSeparableASPPHead": {"c1_in_channels": 32, "c1_channels": 4},
    "DepthwiseSeparableFCNHead": {"num_convs": 2},
    "UPerHead": {"in_channels": [32, 128], "in_index": [0, 1]},
    "SegformerHead": {"in_channels": [32, 128], "in_index": [0, 1], "interpolate_mode": "bilinear"},
    "NLHead": {"mode": "embedded_gaussian"},
    "GCHead": {"pooling_type": "att", "fusion_types": ["channel_add"]},
    "ISAHead": {"isa_channels": 8, "down_factor": [2, 2]},
}
LOSSES = [
    {"type": "CrossEntropyLoss", "class_weight": [1.0, 2.0, 3.0, 4.0]},
    {"type": "DiceLoss", "loss_name": "loss_mine"},
    {"type": "FocalLoss", "reduction": "mean"},
    {"type": "mmseg.LovaszLoss", "reduction": "none", "classes": "present"},
    {"type": "TverskyLoss", "alpha": 0.3},
    [{"type": "wsss_mm.NoiseSuppressedCrossEntropyLoss", "variant": "onss"}, {"type": "DiceLoss"}],
]


@pytest.mark.parametrize("kind", HEADS)
def test_heads_that_are_read_again(tmp_path, kind):
    config = {**SEGMENTER, "decode_head": head(kind, 1, 128) | HEADS[kind]}
    state = build_network(config).state_dict()
    save_model(tmp_path, state=state, info=info("segmenter", config), config_text="", card="")
    images = torch.randint(0, 256, (1, 3, 64, 48), dtype=torch.uint8)
    assert load_model(tmp_path)[0].predict_probabilities(images).shape == (1, 4, 64, 48)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_that_are_read_again(loss):
    build_network({**SEGMENTER, "decode_head": {**SEGMENTER["decode_head"], "loss_decode": loss}})


@pytest.mark.parametrize(
    ("loss", "named"),
    [
        ({"type": "CrossEntropyLoss", "class_weight": "mean"}, "class_weight 'mean'"),
        ({"type": "LovaszLoss", "class_weight": "weights_npy"}, "class_weight 'weights_npy'"),
        ({"type": "DiceLoss", "loss_name": "loss_/etc/passwd"}, "loss_name 'loss_/etc/passwd'"),
        ({"type": "DiceLoss", "loss_name": "loss_x.pkl"}, "loss_name 'loss_x.pkl'"),
        ({"type": "FocalLoss", "reduction": "http://example.com/x.npy"}, "reduction 'http"),
    ],
)
def test_no_word_is_a_file(loss, named):
    with pytest.raises(InputError, match=rf"model\.json: {named}.* is not a part of a wsss_mm model; export"):
        build_network({**SEGMENTER, "decode_head": {**SEGMENTER["decode_head"], "loss_decode": loss}})


def test_a_type_of_others_names_its_module_and_how_to_trust_it(tmp_path, monkeypatch):
    """Whatever model.json says, nothing is imported; what it says it needs is repeated if it is a module's name."""
    monkeypatch.chdir(tmp_path)
    config = {**SEGMENTER, "decode_head": head("lab.LabHead", 1, 128)}
    for needs, shown in ((["lab.heads", "x; import os"], '["lab.heads"]'), ("lab", '["PACKAGE.MODULE"]')):
        content = info("segmenter", config) | {"custom_imports": needs}
        (tmp_path / "model.json").write_text(json.dumps(content))
        with pytest.raises(InputError) as caught:
            load_model(tmp_path)
        assert str(caught.value).endswith(
            "model.json: type 'lab.LabHead' is not a part of a wsss_mm model, and nothing is imported for it; to trust "
            f"the code that has it, here, say so in mmconfigs/segmenter.py: custom_imports = dict(imports={shown})"
        )


def test_trusted_code_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mmconfigs").mkdir()
    (tmp_path / "mmconfigs/segmenter.py").write_text('custom_imports = dict(imports=["no_such_lab"])\n')
    config = {**SEGMENTER, "decode_head": head("LabHead", 1, 128)}
    (tmp_path / "model.json").write_text(json.dumps(info("segmenter", config)))
    with pytest.raises(InputError, match=r"^mmconfigs/segmenter\.py: custom_imports: no_such_lab cannot be imported"):
        load_model(tmp_path)


def test_trust_is_of_modules_not_of_names_that_begin_alike(tmp_path, monkeypatch):
    from wsss_mm.models.trust import Trust

    config = tmp_path / "segmenter.py"
    config.write_text('custom_imports = dict(imports=["mmseg.models.decode_heads.fcn_head"])\n')
    trust = Trust(config)
    assert trust.holds("FCNHead")
    assert trust.holds("mmseg.FCNHead")
    for name in ("FPNHead", "mmdet.FCNHead", "mmseg.models.decode_heads.fcn_head.FCNHead", "os.system", ""):
        assert not trust.holds(name)


@pytest.mark.parametrize("size", [10**400, float("nan"), float("inf"), -float("inf"), 1 << 17])
def test_numbers_without_bound_are_refused(size):
    with pytest.raises(InputError, match=r"model\.json: dropout .* is not a part of a wsss_mm model"):
        build_network({**CLASSIFIER, "dropout": size})


@pytest.mark.parametrize("key", ["pretrained", "init_cfg"])
def test_pretrained_files_are_never_fetched(key):
    config = {**CLASSIFIER, "backbone": {**CLASSIFIER["backbone"], key: {"checkpoint": "http://example.com/x.pth"}}}
    with pytest.raises(InputError, match="not a part"):
        build_network(config)


class TestFaultyFolders:
    def test_missing(self, tmp_path):
        with pytest.raises(InputError, match=r"model\.json: not found"):
            load_model(tmp_path)

    @pytest.mark.parametrize("text", ["{", "[]", "{}", '{"kind": "other"}'])
    def test_wrong_json(self, tmp_path, text):
        (tmp_path / "model.json").write_text(text)
        with pytest.raises(InputError, match=r"model\.json: [^\n]+$"):
            load_model(tmp_path)

    @pytest.mark.parametrize(("key", "value"), [("mpp", "1_000"), ("mpp", -1.0), ("size", "64"), ("size", 2.5)])
    def test_text_is_no_number(self, folder, key, value):
        path = folder / "model.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
        with pytest.raises(InputError, match=rf"model\.json: {key}: [^\n]+; export the model again"):
            load_model(folder)

    def test_other_classes_than_wanted(self, folder):
        with pytest.raises(InputError, match=r"has classes .*, not TE, NEC; train it again"):
            load_model(folder, codes=("TE", "NEC"))

    def test_weights_of_another_model(self, folder):
        save_weights({"x": torch.ones(1)}, folder / "weights.pth")
        with pytest.raises(InputError, match=r"weights\.pth: not the weights that .*model\.json describes"):
            load_model(folder)
        changed(folder, without=("digest", "weights_sha256"))
        with pytest.raises(InputError, match=r"weights\.pth: does not fit"):
            load_model(folder)


def changed(folder, change=lambda info: None, without=()):
    """Edit model.json as a text editor would."""
    info = json.loads((folder / "model.json").read_text())
    change(info)
    text = json.dumps({key: value for key, value in info.items() if key not in without})
    (folder / "model.json").write_text(text)


class TestDigest:
    """A model is its bytes and its meaning."""

    @pytest.mark.parametrize(
        "change",
        [
            lambda info: info["classes"].reverse(),
            lambda info: info["classes"][0].update(color=[3, 2, 1]),
            lambda info: info["classes"][0].update(name="Stroma"),
            lambda info: info.update(mpp=0.5),
            lambda info: info.update(size=224),
            lambda info: info["model"]["data_preprocessor"].update(mean=[0, 0, 0]),
            lambda info: info["model"]["backbone"].update(out_indices=[3, 5], width=1 / 32),
            lambda info: info.update(note="mine"),
            lambda info: info.pop("weights_sha256"),
            lambda info: info.pop("digest"),
            lambda info: info.update(weights_sha256=None),
            lambda info: info.update(digest=["0" * 64]),
        ],
    )
    def test_an_edited_description_is_refused(self, tmp_path, change):
        state = build_network(CLASSIFIER).state_dict()
        save_model(tmp_path, state=state, info=info("classifier", CLASSIFIER), config_text="", card="")
        changed(tmp_path, change)
        with pytest.raises(
            InputError, match=r"^[^\n]*(model\.json|weights\.pth): not [^\n]+; bring both files from one place"
        ):
            load_model(tmp_path)

    def test_weights_of_another_training_with_this_description_are_refused(self, folder, kind):
        torch.manual_seed(1)
        other = build_network(CLASSIFIER if kind == "classifier" else SEGMENTER).state_dict()
        save_weights(other, folder / "weights.pth")
        with pytest.raises(InputError, match=r"weights\.pth: not the weights that .*model\.json describes"):
            load_model(folder)

    def test_how_the_description_is_written_does_not_matter(self, folder):
        digest_then = load_model(folder)[1]["digest"]
        path = folder / "model.json"
        path.write_text(json.dumps(dict(reversed(json.loads(path.read_text()).items())), ensure_ascii=False) + "\n\n")
        assert load_model(folder)[1]["digest"] == digest_then

    def test_an_older_model_is_loaded_with_one_line(self, folder, caplog):
        digest_then = load_model(folder)[1]["digest"]
        assert not caplog.records
        changed(folder, without=("digest", "weights_sha256"))
        assert load_model(folder)[1]["digest"] == digest_then
        (record,) = caplog.records
        assert "older model without a digest" in record.message

    def test_parameters_are_kept_to_the_last_digit(self, tmp_path):
        config = CLASSIFIER | {"backbone": {"type": "wsss_mm.ResNet38", "width": 0.0312500001}}
        content = info("classifier", config) | {
            "params": {"lr": 5e-7, "eps": 1e-8, "weight_decay": 0.000123456789},
            "valid": {"miou": 0.123456789},
        }
        save_model(tmp_path, state={"a": torch.ones(1)}, info=content, config_text="", card="")
        found = json.loads((tmp_path / "model.json").read_text())
        assert (found["params"], found["model"]) == (content["params"], config)
        assert found["valid"] == {"miou": 0.123457}


def test_a_model_takes_the_place_of_another_whole_or_not_at_all(folder, kind, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    config = CLASSIFIER if kind == "classifier" else SEGMENTER
    written = {"state": build_network(config).state_dict(), "info": info(kind, config), "config_text": "new"}
    with pytest.raises(TypeError):
        save_model(folder, card=None, **written)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "of_an_older_version.txt").touch()
    save_model(folder, card="# New", **written)
    assert {path.name for path in folder.iterdir()} == before.keys()
    assert [path.name for path in folder.parent.iterdir()] == [kind]
    load_model(folder)
