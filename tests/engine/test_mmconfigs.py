"""mmconfigs/ as a user of mmseg takes it: run as it stands, and edited: another head, loss, optimizer, augmentation."""

import logging
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from mmengine.config import Config

from tests import warm
from tests.engine.test_training import TRAIN, changed, paths
from wsss_mm.engine import training
from wsss_mm.errors import InputError
from wsss_mm.models import load_model
from wsss_mm.wsi import SlideModel, segment_slide

ALONE = """
import sys
from mmengine.config import Config
from mmengine.runner import Runner
for kind in sys.argv[1:]:
    config = Config.fromfile(f"mmconfigs/{kind}.py")
    config.train_cfg.update(max_iters=2, val_interval=2)
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.batch_size = 2
    runner = Runner.from_cfg(config)
    runner.train()
    print(kind, runner.iter, sorted(runner.message_hub.get_info("last_metrics")))
"""


@pytest.fixture(autouse=True)
def project(tmp_path, project_root, monkeypatch):
    """A project of its own, whose config files may be edited."""
    monkeypatch.setenv("TQDM_DISABLE", "1")
    shutil.copytree(project_root / "mmconfigs", tmp_path / "mmconfigs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def small(params):
    """Two iterations."""
    params = changed(params, "segmenter", iterations=2, val_interval=2)
    return changed(params, "classifier", epochs=1)


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.WARNING, "wsss_mm")
    return lambda: [record.getMessage() for record in caplog.records if "has no effect" in record.getMessage()]


def edit(kind, *changes):
    path = Path("mmconfigs") / f"{kind}.py"
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)


def part(kind, start, end):
    """The text of a config file from one phrase up to, not with, another."""
    text = (Path("mmconfigs") / f"{kind}.py").read_text()
    first = text.index(start)
    return text[first : text.index(end, first)]


def test_they_run_as_they_stand(project, cohort, project_root):
    from wsss_mm.models import build_network, save_weights

    (project / "data").mkdir()
    for name in ("patches", "pseudo_labels"):
        (project / "data" / name).symlink_to(cohort / name)
    network = build_network(Config.fromfile("mmconfigs/classifier.py").model.to_dict())
    save_weights(network.state_dict(), Path("models/classifier/weights.pth"))
    environment = {**os.environ, "PYTHONPATH": str(project_root), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [warm.python(), "-c", ALONE, "classifier", "segmenter"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    one, two = result.stdout.strip().splitlines()[-2:]
    assert one.startswith("classifier 2 ['ap.LYM', 'ap.NEC', 'ap.TAS', 'ap.TE', 'mean_ap']")
    assert two.startswith("segmenter 2 ['iou.LYM', 'iou.NEC', 'iou.TAS', 'iou.TE', 'miou']")


HEADS = {
    "ASPPHead": [('type="PSPHead"', 'type="ASPPHead"'), ("pool_scales=(1, 2, 3, 6)", "dilations=(1, 2, 4)")],
    "FCNHead": [
        (
            'type="PSPHead",',
            'type="FCNHead",\n        init_cfg=dict(type="Normal", std=0.02, override=dict(name="conv_seg")),',
        ),
        ("pool_scales=(1, 2, 3, 6)", "num_convs=2"),
    ],
    "UPerHead": [
        ('type="PSPHead"', 'type="UPerHead"'),
        ("in_channels=last,\n        in_index=1", "in_channels=[earlier, last],\n        in_index=[0, 1]"),
    ],
    "333 channels": [("channels=max(1, round(512 * width))", "channels=333")],
    "no auxiliary head": None,
    "dice and cross-entropy": [
        (
            'loss_decode=dict(type="wsss_mm.NoiseSuppressedCrossEntropyLoss", variant=loss)',
            'loss_decode=[dict(type="CrossEntropyLoss", class_weight=[1.0, 2.0, 1.0, 0.5]), '
            'dict(type="DiceLoss", loss_weight=0.5)]',
        )
    ],
    "Lovasz loss": [
        (
            'loss_decode=dict(type="wsss_mm.NoiseSuppressedCrossEntropyLoss", variant=loss)',
            'loss_decode=dict(type="LovaszLoss", reduction="none", loss_name="loss_mine")',
        )
    ],
}


@pytest.mark.parametrize("name", HEADS)
def test_another_head_or_loss(name, project, cohort, small, tissue):
    """Trained, saved, loaded, used on patches and on a slide."""
    changes = HEADS[name]
    if changes is None:
        changes = [(part("segmenter", "    auxiliary_head=dict(", "    train_cfg=dict()"), "")]
    edit("segmenter", *changes)
    where = paths(cohort, project)
    metrics = training.train_segmenter(small, where)
    assert set(metrics) == {"miou", "iou.TE", "iou.NEC", "iou.LYM", "iou.TAS"}
    model, info = load_model(where.out)
    kind = info["model"]["decode_head"]["type"]
    assert kind == (name if name.endswith("Head") else "PSPHead")
    assert f"{kind} on ResNet38" in (where.out / "README.md").read_text()
    if name == "333 channels":
        assert model.network.decode_head.channels == 333
    images = torch.randint(0, 256, (2, 3, 48, 40), dtype=torch.uint8)
    assert model.predict_probabilities(images).shape == (2, 4, 48, 40)
    tifffile.imwrite(project / "slide.tiff", tissue(96, 128), tile=(64, 64), photometric="rgb", metadata=None)
    segmenter = SlideModel.from_folder(where.out, "cpu", "fp32")
    segment_slide(project / "slide.tiff", segmenter, project / "slide", window=64, mpp_override=1.0, progress=False)
    assert (project / "slide" / "segmentation.tif").is_file()


@pytest.fixture
def tissue():
    def make(height, width):
        return np.random.default_rng(0).integers(60, 190, (height, width, 3), np.uint8)

    return make


def test_another_optimizer(kind, project, cohort, small, lines):
    edit(kind, ("optimizer=optimizers[optimizer]", 'optimizer=dict(type="RMSprop", lr=lr)'))
    where = paths(cohort, project)
    TRAIN[kind](small, where)
    assert Config.fromfile(where.out / "config.py").optim_wrapper.optimizer == {
        "type": "RMSprop",
        "lr": getattr(small, kind).lr,
    }
    table, *given = sorted(lines())
    assert table.endswith("optimizers has no effect: nothing uses it")
    assert given == [
        f"params.yaml: {kind}.{name} has no effect: mmconfigs/{kind}.py does not use it"
        for name in ("momentum", "optimizer", "weight_decay")
    ]


@pytest.fixture(params=["classifier", "segmenter"])
def kind(request):
    return request.param


STAIN = '            dict(type="wsss_mm.StainJitter", strength=color_jitter),\n'


@pytest.mark.parametrize("way", ["removed", "twice", "of mmcv"])
def test_augmentations(kind, way, project, cohort, small, lines):
    new = {"removed": "", "twice": STAIN + STAIN, "of mmcv": STAIN + '            dict(type="RandomFlip", prob=0.5),\n'}
    edit(kind, (STAIN, new[way]))
    where = paths(cohort, project)
    TRAIN[kind](small, where)
    pipeline = Config.fromfile(where.out / "config.py").train_dataloader.dataset.pipeline
    count = sum(item["type"] == "wsss_mm.StainJitter" for item in pipeline)
    assert count == {"removed": 0, "twice": 2, "of mmcv": 1}[way]
    lost = [f"params.yaml: {kind}.color_jitter has no effect: mmconfigs/{kind}.py does not use it"]
    assert lines() == (lost if way == "removed" else [])


def of_the_page(root):
    """The changes that the documentation shows: of each block, what stood there and what comes in its place."""
    text = (root / "docs/changing-networks.md").read_text()
    for block in re.findall(r"^```diff\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        lines = block.splitlines(keepends=True)
        yield tuple("".join(line[1:] for line in lines if line[0] in kept) for kept in (" -", " +"))


def test_the_documented_change(project, project_root, cohort, small, lines):
    edit("segmenter", *of_the_page(project_root))
    where = paths(cohort, project)
    training.train_segmenter(small, where)
    head = load_model(where.out)[1]["model"]["decode_head"]
    assert head["type"] == "ASPPHead"
    assert [loss["type"] for loss in head["loss_decode"]] == ["wsss_mm.NoiseSuppressedCrossEntropyLoss", "DiceLoss"]
    pipeline = Config.fromfile(where.out / "config.py").train_dataloader.dataset.pipeline
    assert [item["type"].rpartition(".")[2] for item in pipeline][-3:] == ["RandomCrop", "RandomFlip", "PackSegInputs"]
    (line,) = lines()
    assert f"`{line}`" in (project_root / "docs/changing-networks.md").read_text()


class TestBeforeTheFirstIteration:
    """A model that later stages would refuse is refused at once, and the config file is named."""

    @pytest.fixture(autouse=True)
    def _no_training(self, monkeypatch):
        def built(*_, **__):
            raise AssertionError("the training began")

        monkeypatch.setattr(training, "build_runner", built)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                [('type="PSPHead"', 'type="FPNHead"')],
                r"type 'FPNHead' is not a part of a wsss_mm model, .*; to trust the code that has it, here, say so in "
                r"this file: custom_imports = dict\(imports=\[\"mmseg\.models\.decode_heads\.fpn_head\"\]\)",
            ),
            ([('type="PSPHead"', 'type="PSPhead"')], r"type 'PSPhead' is not a part of a wsss_mm model"),
            (
                [("num_classes=len(codes)", "num_classes=7")],
                r"could not be used again \(.* names 4 classes for 7 outputs",
            ),
            ([("pool_scales=", "pool_scale=")], r"no network can be built of it \(.*pool_scale.*\); change it there"),
            ([("in_channels=last,", "in_channels=earlier,")], r"could not be used again \("),
            ([("dropout_ratio=0.1", "dropout_ratio='/x.pkl'")], r"dropout_ratio '/x\.pkl' is not a part"),
            (
                [('type="EncoderDecoder"', 'type="SegTTAModel"')],
                r"unless its type is EncoderDecoder; .*change it there",
            ),
            (
                [('dict(type="wsss_mm.ResumableCheckpointHook"', 'dict(type="CheckpointHook"')],
                "must have one wsss_mm.ResumableCheckpointHook",
            ),
            (
                [("norm_cfg = ", 'load_from = "x.pth"\nnorm_cfg = ')],
                r"load_from would be lost; give the backbone's weights",
            ),
            (
                [("crop = 192", "crop = 256")],
                r"line \d+: crop = 256 would be lost: params\.yaml: segmenter\.crop sets it",
            ),
        ],
    )
    def test_refused(self, changes, message, project, cohort, small):
        edit("segmenter", *changes)
        with pytest.raises(
            InputError, match=rf"^mmconfigs/segmenter\.py[:,] {message}|^mmconfigs/segmenter\.py: [^\n]*{message}"
        ) as caught:
            training.train_segmenter(small, paths(cohort, project))
        assert "\n" not in str(caught.value)
        assert "export" not in str(caught.value)
        assert not (project / "work").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("strength=color_jitter", "strenght=color_jitter"), "train_dataloader or train_cfg .*'strenght'"),
        (("wsss_mm.RandomCrop", "wsss_mm.RandomCropp"), "train_dataloader or train_cfg .*RandomCropp is not in the"),
        (("num_workers=workers", "num_worker=workers"), "train_dataloader or train_cfg .*'num_worker'"),
        (("pieces=accumulate", "piece=accumulate"), "train_dataloader or train_cfg .*'piece'"),
        (('type="AdamW", lr=lr', 'type="AdamW", learning_rate=lr'), "optim_wrapper .*'learning_rate'"),
        (("lr=lr", "lr=-1"), "optim_wrapper .*Invalid learning rate"),
        (("eta_min=0.0", "etamin=0.0"), "param_scheduler .*'etamin'"),
        (("wsss_mm.TissueIoU", "wsss_mm.TissuIoU"), "val_dataloader, val_cfg or val_evaluator .*TissuIoU"),
        (('label="segmenter"', 'labl="segmenter"'), "it cannot be built .*'labl'"),
        (("val_cfg = dict(", "note = dict("), "it cannot be built .*should be either all None or not None"),
    ],
)
def test_a_part_that_cannot_be_built_is_told_of_its_file(change, message, project, cohort, small):
    edit("segmenter", change)
    with pytest.raises(InputError, match=rf"^mmconfigs/segmenter\.py: {message}.*; correct it there$") as caught:
        training.train_segmenter(small, paths(cohort, project))
    assert "\n" not in str(caught.value)


def test_weights_are_chosen_by_a_metric_that_there_is(project, cohort, small):
    edit("segmenter", ('best="miou"', 'best="mIoU"'))
    with pytest.raises(InputError, match=r"no validation metric is called 'mIoU', .* set best to one of miou, iou\.TE"):
        training.train_segmenter(small, paths(cohort, project))


LAB = """
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS

@MODELS.register_module()
class LabHead(FCNHead):
    def __init__(self, flavour, **kwargs):
        super().__init__(**kwargs)
        self.flavour = flavour
"""


class TestTheProjectsOwnCode:
    @pytest.fixture
    def trained(self, project, cohort, small):
        (project / "lab_of_a_test").mkdir()
        (project / "lab_of_a_test/heads.py").write_text(LAB)
        edit(
            "segmenter",
            ('type="PSPHead"', 'type="LabHead"'),
            ("pool_scales=(1, 2, 3, 6)", 'flavour="vanilla"'),
            ("norm_cfg = ", 'custom_imports = dict(imports=["lab_of_a_test.heads"])\nnorm_cfg = '),
        )
        where = paths(cohort, project)
        training.train_segmenter(small, where)
        return where.out

    def test_is_trusted_where_it_is_imported_and_nowhere_else(self, trained, project, project_root):
        model, info = load_model(trained)
        assert model.network.decode_head.flavour == "vanilla"
        assert info["custom_imports"] == ["lab_of_a_test.heads"]
        elsewhere = project / "elsewhere"
        shutil.copytree(trained, elsewhere / "model")
        (elsewhere / "lab_of_a_test").mkdir()
        (elsewhere / "lab_of_a_test/heads.py").write_text("from pathlib import Path\nPath('executed').touch()\n")
        code = "from wsss_mm.models import load_model; load_model('model')"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(project_root), str(elsewhere)])}
        result = subprocess.run(
            [warm.python(), "-c", code],
            cwd=elsewhere,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        last = result.stderr.strip().splitlines()[-1]
        assert (
            "model/model.json: type 'LabHead' is not a part of a wsss_mm model, and nothing is imported for it" in last
        )
        assert last.endswith(
            "to trust the code that has it, here, say so in mmconfigs/segmenter.py: "
            'custom_imports = dict(imports=["lab_of_a_test.heads"])'
        )
        assert not (elsewhere / "executed").exists()

    def test_a_path_is_no_word_of_it(self, trained):
        from wsss_mm.models.description import check_config, trust_of

        model = load_model(trained)[1]["model"]
        model["decode_head"]["flavour"] = "/etc/passwd"
        with pytest.raises(InputError, match="flavour '/etc/passwd' is not a part"):
            check_config(model, "model.json", trust_of("segmenter"))


def test_a_change_of_the_text_that_changes_nothing_resumes(project, cohort, small, monkeypatch):
    """The work folder follows what is built: not comments, the number of loaders or an unused value."""
    keys = []

    def look(_, key, root):
        keys.append(key)
        raise InterruptedError

    monkeypatch.setattr(training, "work_folder", look)

    def key(params=small):
        with pytest.raises(InterruptedError):
            training.train_segmenter(params, paths(cohort, project))
        return keys[-1]

    first = key()
    edit("segmenter", ("norm_cfg = ", "# a comment\nnorm_cfg = "))
    assert key() == first
    assert key(small.model_copy(update={"workers": 2})) == first
    assert key(changed(small, "segmenter", lr=0.5)) != first
    edit("segmenter", ("dropout_ratio=0.1", "dropout_ratio=0.2"))
    assert key() != first
