"""Whole trainings of tiny networks: reproducible, resumable to the bit, exported as a folder that stands alone."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from wsss_mm.datasets import PseudoLabelDataset
from wsss_mm.engine import Paths, classifier_scores, train_classifier, train_segmenter, training
from wsss_mm.engine.hooks import ProgressHook
from wsss_mm.engine.loop import PiecewiseTrainLoop
from wsss_mm.errors import InputError
from wsss_mm.evaluation import areas, confusion_matrix, segmentation_metrics
from wsss_mm.evaluation.calibration import fit_temperature
from wsss_mm.files import digest
from wsss_mm.models import load_model
from wsss_mm.patches import likeness, write_manifest
from wsss_mm.patches.likeness import Appearance

TRAIN = {"classifier": train_classifier, "segmenter": train_segmenter}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch, project_root):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.chdir(project_root)


@pytest.fixture(params=["classifier", "segmenter"])
def kind(request):
    return request.param


def paths(cohort: Path, out: Path) -> Paths:
    return Paths(
        patches=cohort / "patches",
        pseudo_labels=cohort / "pseudo_labels",
        out=out / "model",
        curves=out / "curves.csv",
        classifier=out / "classifier",
        work=out / "work",
    )


def outs(folder: Path) -> dict[str, str]:
    return {path.name: digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def changed(params, kind, **update):
    return params.model_copy(update={kind: getattr(params, kind).model_copy(update=update)})


class Crash(RuntimeError):
    pass


def crash_after(monkeypatch, iterations):
    original = ProgressHook.after_train_iter

    def hook(self, runner, *args, **kwargs):
        original(self, runner, *args, **kwargs)
        if runner.iter + 1 == iterations:
            raise Crash

    monkeypatch.setattr(ProgressHook, "after_train_iter", hook)


def test_a_segmenter_says_what_it_learnt_from_and_how_sure_it_may_be(cohort, params, tmp_path, monkeypatch):
    """Appearance of its training patches, temperature and errors of its validation pixels, under its digest."""
    monkeypatch.setattr(likeness, "LEAST_PATCHES", 10)
    monkeypatch.setattr(areas, "LEAST_PATCHES", 6)
    monkeypatch.setattr(areas, "LEAST_PATIENTS", 1)
    where = paths(cohort, tmp_path)
    train_segmenter(changed(params, "segmenter", iterations=4, val_interval=4), where)
    network, info = load_model(where.out)
    appearance = Appearance.from_json(info["appearance"], "model.json")
    assert (appearance.size, appearance.patches, appearance.slides) == (48, 16, 1)
    logits, truth = [], []
    for index in range(16, 22):
        name = f"valid/valid-{index:02d}.png"
        image = torch.from_numpy(np.array(Image.open(cohort / "patches/images" / name))).permute(2, 0, 1)
        with torch.no_grad():
            logits.append(network.logits(image[None])[0].flatten(1).T.numpy())
        truth.append(np.array(Image.open(cohort / "patches/masks" / name)).ravel())
    assert info["temperature"] == pytest.approx(
        fit_temperature(np.concatenate(logits), np.concatenate(truth)), abs=1e-3
    )
    judged = [areas.JudgedPatch.of("p", *patch, info["temperature"]) for patch in zip(logits, truth, strict=True)]
    counts, errors = sum(patch.pixels for patch in judged), info["area_errors"]
    seen, hits = counts[:, 0].sum(axis=1), np.einsum("kk->k", counts[:, 0])
    often = seen > 500
    assert often.any()
    np.testing.assert_allclose(np.array(errors["right"])[often, 0], hits[often] / seen[often], atol=0.1)
    assert (errors["patients"], errors["patches"], errors["patch"]) == (1, 6, 48 * 48)
    path = where.out / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"temperature": 9.0}))
    with pytest.raises(InputError, match="not as it was saved"):
        load_model(where.out)
    card = (where.out / "README.md").read_text()
    assert f"divided by {info['temperature']:g}" in card
    assert "from 6 validation patches; patients: 1." in card


@pytest.mark.parametrize(
    "update",
    [{}, {"precision": "bf16", "accumulate": 2, "averaging": 0.9}],
    ids=["fp32", "bf16 in pieces, averaged"],
)
def test_same_seed_same_bytes_and_resume_is_the_undisturbed_run(
    kind, update, trained, cohort, params, tmp_path, monkeypatch
):
    params = changed(params, kind, **update)
    one, two, resumed = (paths(cohort, tmp_path / name) for name in ("one", "two", "resumed"))
    torch.manual_seed(1)
    if update:
        metrics = TRAIN[kind](params, one)
    else:
        one, metrics = trained(kind)
    torch.manual_seed(2)  # what ran before does not matter
    assert TRAIN[kind](params, two) == metrics
    assert outs(one.out) == outs(two.out)
    assert not list(one.work.rglob("*.pth"))  # a finished training leaves nothing to resume

    with monkeypatch.context() as patch:
        crash_after(patch, 11)
        with pytest.raises(Crash):
            TRAIN[kind](params, resumed)
    assert list(resumed.work.rglob("checkpoint-*.pth"))
    assert not resumed.out.exists()
    starts = []
    original = ProgressHook.before_train
    monkeypatch.setattr(
        ProgressHook, "before_train", lambda self, runner: (starts.append(runner.iter), original(self, runner))
    )
    assert TRAIN[kind](params, resumed) == metrics
    assert starts == [8]  # it really went on from the checkpoint
    assert outs(resumed.out) == outs(one.out)
    assert resumed.curves.read_bytes() == one.curves.read_bytes()


def test_exports(kind, trained):
    where, _ = trained(kind)
    assert set(outs(where.out)) == {"weights.pth", "config.py", "model.json", "README.md"}
    _, info = load_model(where.out)
    assert info["kind"] == kind
    assert [item["code"] for item in info["classes"]] == ["TE", "NEC", "LYM", "TAS"]
    assert (info["mpp"], info["size"], info["width"]) == (1.0, 48, 1 / 32)
    assert str(where.work) not in (where.out / "config.py").read_text()
    card = (where.out / "README.md").read_text()
    assert "research only" in card
    assert json.loads((where.out / "model.json").read_text())["patches"] in card
    with where.curves.open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0])[:4] == ["step", "epoch", "loss", "lr"]
    steps = [int(row["step"]) for row in rows]
    assert steps == sorted(set(steps))
    assert np.isfinite([float(row["loss"]) for row in rows]).all()
    column = "mean_ap" if kind == "classifier" else "miou"
    assert sum(bool(row[column]) for row in rows) >= 3
    if kind == "classifier":
        scores = classifier_scores(where.out, where.patches, split="valid")
        assert list(scores) == ["patch_id", "TE", "NEC", "LYM", "TAS"]
        assert len(scores) == scores["patch_id"].nunique() == 6
        assert ((scores.drop(columns="patch_id") >= 0) & (scores.drop(columns="patch_id") <= 1)).all(axis=None)
    else:
        info = json.loads((where.out / "model.json").read_text())
        assert info["pseudo_labels"] == digest(where.pseudo_labels / "manifest.parquet")


def test_augmentation_is_by_parameter(kind, cohort, params, tmp_path):
    values = {"scale_jitter": (0.9, 1.1), "elastic": 1.5, "color_jitter": 0.15}
    short = {"epochs": 1} if kind == "classifier" else {"iterations": 2, "crop": 32, "mosaic": 0.25}
    where = paths(cohort, tmp_path)
    TRAIN[kind](changed(params, kind, **values, **short), where)
    dataset = Config.fromfile(where.out / "config.py").train_dataloader.dataset
    steps = {item["type"]: item for item in dataset.pipeline}
    assert (
        steps["wsss_mm.RandomDeformation"] | {"scale": [0.9, 1.1], "elastic": 1.5} == steps["wsss_mm.RandomDeformation"]
    )
    assert steps["wsss_mm.StainJitter"]["strength"] == 0.15
    assert steps["wsss_mm.FlipAndRotate"]["horizontal"] == steps["wsss_mm.FlipAndRotate"]["vertical"] == 0.5
    if kind == "segmenter":
        assert steps["wsss_mm.RandomCrop"]["size"] == 32
        assert (dataset.mosaic, dataset.window) == (0.25, 0)


@pytest.mark.parametrize(("rotate", "warmup"), [(True, 0.25), (False, 0.0)])
def test_rotation_and_warmup_are_by_parameter(kind, rotate, warmup, cohort, params, tmp_path, monkeypatch):
    """The configuration a training starts with has the values of params.yaml, whatever the config files say."""
    seen = []

    def look_and_stop(config, *_, **__):
        seen.append(config)
        raise Crash

    monkeypatch.setattr(training, "build_runner", look_and_stop)
    with pytest.raises(Crash):
        TRAIN[kind](changed(params, kind, rotate=rotate, warmup=warmup), paths(cohort, tmp_path))
    (config,) = seen
    (flips,) = (item for item in config.train_dataloader.dataset.pipeline if item["type"].endswith("FlipAndRotate"))
    assert flips["rotate"] is rotate
    (rise,) = (item for item in config.param_scheduler if item["type"] == "LinearLR")
    assert rise["by_epoch"] is False
    if warmup:
        iterations = {"classifier": 3 * 4, "segmenter": 12}[kind]  # of params, on 16 patches in batches of 4
        assert (rise["begin"], rise["end"]) == (0, warmup * iterations)
        assert rise["start_factor"] < 0.5
    else:
        assert rise["start_factor"] == 1


@pytest.mark.slow
def test_it_learns(cohort, params, tmp_path):
    """Colours tell the classes: a segmenter must find them from noisy labels, from scratch, in a few iterations."""
    settings = params.segmenter.model_copy(
        update={"width": 1 / 8, "iterations": 75, "val_interval": 25, "optimizer": "adamw", "lr": 0.003}
        | {"color_jitter": 0.0, "elastic": 0.0}
    )
    metrics = train_segmenter(params.model_copy(update={"segmenter": settings}), paths(cohort, tmp_path))
    assert metrics["miou"] > 0.6


def test_best_weights_are_kept(cohort, params, tmp_path):
    """The metrics returned are the best of the curve, and the weights are those that gave them."""
    where = paths(cohort, tmp_path)
    metrics = train_segmenter(params, where)
    with where.curves.open() as stream:
        curve = [float(row["miou"]) for row in csv.DictReader(stream) if row["miou"]]
    assert metrics["miou"] == pytest.approx(max(curve), abs=1e-6)
    model, _ = load_model(where.out)
    valid = PseudoLabelDataset(str(where.patches), "lung", "valid", target="masks")
    confusion = 0
    for item in map(valid.decoded, range(len(valid))):
        image = torch.from_numpy(item["img"].transpose(2, 0, 1).copy())[None]
        prediction = model.predict_probabilities(image)[0].argmax(0).numpy()
        confusion = confusion + confusion_matrix(item["gt_seg_map"], prediction, 4)
    expected = segmentation_metrics(confusion, ["TE", "NEC", "LYM", "TAS"])
    for name, value in metrics.items():
        assert value == pytest.approx(expected[name], abs=1e-6)


def test_segmenter_starts_from_the_classifier(cohort, params, tmp_path, monkeypatch):
    where = paths(cohort, tmp_path)
    train_classifier(params, Paths(**{**vars(where), "out": where.classifier}))
    settings = params.segmenter.model_copy(update={"init": "classifier"})
    seen = {}

    def look_and_stop(_, runner):
        seen.update({key: value.clone() for key, value in runner.model.backbone.state_dict().items()})
        raise Crash

    monkeypatch.setattr(ProgressHook, "before_train", look_and_stop)
    with pytest.raises(Crash):
        train_segmenter(params.model_copy(update={"segmenter": settings}), where)
    classifier = torch.load(where.classifier / "weights.pth", weights_only=True)
    names = [key for key in seen if not key.endswith("tracked")]
    assert len(names) > 100
    assert all(torch.equal(seen[key], classifier[f"backbone.{key}"]) for key in names)


def test_without_validation_masks(cohort, params, tmp_path):
    shutil.copytree(cohort, tmp_path / "cohort")
    frame = pd.read_parquet(cohort / "patches" / "manifest.parquet").assign(mask_path=None)
    write_manifest(frame, tmp_path / "cohort" / "patches")
    where = paths(tmp_path / "cohort", tmp_path)
    assert train_segmenter(params, where) == {}
    assert "No validation patch has a mask" in (where.out / "README.md").read_text()


@pytest.mark.parametrize("way", ["lr", "weights"])
def test_divergence_stops_with_the_cause(kind, way, cohort, params, tmp_path, monkeypatch):
    """One line that says where and why; the checkpoint from before is kept, nothing is exported."""
    where = paths(cohort, tmp_path)
    if way == "lr":
        params = changed(params, kind, optimizer="sgd", lr=1e12)
        cause = r"is (nan|inf|-inf) at iteration \d+ of \d+ \(loss [\d.e+]+ before, lr \d"
    else:
        original = PiecewiseTrainLoop.run_iter

        def poisoned(self, batch):
            if self.iter == 9:
                torch.nn.init.constant_(self.runner.model.backbone.conv1a.weight, float("nan"))
            original(self, batch)

        monkeypatch.setattr(PiecewiseTrainLoop, "run_iter", poisoned)
        cause = "is nan at iteration 10 of "
    term = {"classifier": "loss", "segmenter": r"decode\.loss_noise_suppressed and aux\.loss_noise_suppressed"}[kind]
    with pytest.raises(InputError, match=rf"^params\.yaml: {kind} diverged: {term} {cause}") as caught:
        TRAIN[kind](params, where)
    message = str(caught.value)
    assert message.endswith(f"lower {kind}.lr, or set {kind}.precision: fp32")
    assert "\n" not in message
    assert not where.out.exists()
    if way == "weights":
        checkpoint = torch.load(max(where.work.rglob("checkpoint-*.pth")), weights_only=False)
        assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())


class TestBadInput:
    def test_nothing_is_damaged(self, cohort, params, tmp_path):
        where = paths(cohort, tmp_path)
        where.out.mkdir(parents=True)
        (where.out / "weights.pth").write_text("yesterday's")
        settings = params.classifier.model_copy(update={"weights": tmp_path / "none.pth"})
        with pytest.raises(InputError, match=r"none\.pth: not found"):
            train_classifier(params.model_copy(update={"classifier": settings}), where)
        assert (where.out / "weights.pth").read_text() == "yesterday's"

    def test_no_classifier_to_start_from(self, cohort, params, tmp_path):
        settings = params.segmenter.model_copy(update={"init": "classifier"})
        with pytest.raises(InputError, match=r"classifier/weights\.pth: not found"):
            train_segmenter(params.model_copy(update={"segmenter": settings}), paths(cohort, tmp_path))
