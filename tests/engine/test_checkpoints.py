"""A damaged checkpoint costs time, never bytes; SIGTERM and a killed worker leave a checkpoint and a clear word."""

import logging
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from tests.engine.test_training import TRAIN, Crash, crash_after, outs, paths
from wsss_mm.datasets import PseudoLabelDataset
from wsss_mm.engine import train_segmenter
from wsss_mm.engine.checkpoints import read_checkpoint
from wsss_mm.engine.hooks import ProgressHook
from wsss_mm.engine.runner import _Runner
from wsss_mm.errors import InputError, Terminated
from wsss_mm.formats import DamagedError


@pytest.fixture(autouse=True)
def _quiet(monkeypatch, project_root):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.chdir(project_root)


@pytest.fixture(scope="module")
def crashed(cohort, params, project_root, tmp_path_factory):
    """Where a segmenter's training broke off after 11 of 12 steps; who goes on with it takes a copy."""
    where = paths(cohort, tmp_path_factory.mktemp("crashed"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TQDM_DISABLE", "1")
        patch.chdir(project_root)
        crash_after(patch, 11)
        with pytest.raises(Crash):
            train_segmenter(params, where)
    return where


@pytest.fixture
def starts(monkeypatch):
    seen, original = [], ProgressHook.before_train
    monkeypatch.setattr(
        ProgressHook, "before_train", lambda self, runner: (seen.append(runner.iter), original(self, runner))
    )
    return seen


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "damaged", "start"),
    [
        (truncate, ["checkpoint-00000008.pth"], 4),
        (flip, ["checkpoint-00000008.pth"], 4),
        (flip, ["checkpoint-00000008.sha256"], 4),
        (flip, ["checkpoint-00000008.pth", "checkpoint-00000004.pth"], 0),
        (flip, ["curves.csv"], 8),
    ],
    ids=["truncated", "flipped", "digest flipped", "both", "curves"],
)
def test_a_damaged_checkpoint(harm, damaged, start, trained, crashed, starts, cohort, params, tmp_path, caplog):
    undisturbed, _ = trained("segmenter")
    where = paths(cohort, tmp_path)
    shutil.copytree(crashed.work, where.work)
    for name in damaged:
        harm(next(where.work.rglob(name)))
    starts.clear()
    with caplog.at_level(logging.WARNING):
        train_segmenter(params, where)
    assert starts == [start]
    assert all(name in caplog.text for name in damaged if name != "curves.csv")
    assert ("the training starts afresh" in caplog.text) == (start == 0)
    assert outs(where.out) == outs(undisturbed.out)
    assert where.curves.read_bytes() == undisturbed.curves.read_bytes()


@pytest.fixture
def own_reader(monkeypatch):
    """Refuses mmengine's reader of checkpoints and torch's default, which differ by version; what was asked for."""
    original, asked = torch.load, []

    def load(*args, weights_only=True, **kwargs):
        asked.append(weights_only)
        return original(*args, weights_only=weights_only, **kwargs)

    def refused(*_, **__):
        raise AssertionError("mmengine's own reader")

    monkeypatch.setattr(torch, "load", load)
    monkeypatch.setattr("mmengine.runner.runner._load_checkpoint", refused)
    return asked


@pytest.mark.parametrize("kind", ["classifier", "segmenter"])
def test_sigterm_saves_at_once_and_the_rest_is_the_same(
    kind, starts, own_reader, trained, cohort, params, tmp_path, monkeypatch
):
    two = paths(cohort, tmp_path / "two")
    one, _ = trained(kind)
    with monkeypatch.context() as patch:
        original = ProgressHook.after_train_iter

        def hook(self, runner, *args, **kwargs):
            original(self, runner, *args, **kwargs)
            if runner.iter + 1 == 6:
                os.kill(os.getpid(), signal.SIGTERM)

        patch.setattr(ProgressHook, "after_train_iter", hook)
        with pytest.raises(Terminated) as caught:
            TRAIN[kind](params, two)
    assert caught.value.code == 143
    logged = read_checkpoint(next(two.work.rglob("checkpoint-00000006.pth")))["message_hub"]["log_scalars"]
    assert {type(history) for history in logged.values()} == {HistoryBuffer}
    assert len(logged["train/loss"].data[0]) == 6
    starts.clear()
    TRAIN[kind](params, two)
    assert starts == [6]
    assert set(own_reader) == {True}
    assert outs(two.out) == outs(one.out)
    assert two.curves.read_bytes() == one.curves.read_bytes()


class Call:
    def __init__(self, *what):
        self.what = what

    def __reduce__(self):
        function, *arguments = self.what
        return function, tuple(arguments)


@pytest.mark.parametrize("harm", ["a call", "an attribute", "no state", "no archive"])
def test_a_checkpoint_that_is_none_is_refused_and_runs_nothing(harm, tmp_path):
    path, made = tmp_path / "checkpoint-00000004.pth", tmp_path / "made"
    state = {"meta": {}, "state_dict": {"a": torch.zeros(1)}, "message_hub": {}}
    torch.save(state, path)
    assert read_checkpoint(path)["state_dict"]["a"].shape == (1,)
    state["message_hub"] = {
        "a call": Call(os.mkdir, str(made)),
        "an attribute": Call(getattr, HistoryBuffer, "__init__"),
    }.get(harm)
    torch.save({"state_dict": {}} if harm == "no state" else state, path)
    if harm == "no archive":
        path.write_bytes(b"nothing")
    with pytest.raises(DamagedError, match=r"checkpoint-00000004.pth: not a checkpoint .*delete its folder"):
        read_checkpoint(path)
    assert not made.exists()


def test_what_hooks_and_datasets_of_a_lab_put_into_a_checkpoint_is_read(tmp_path):
    path = tmp_path / "checkpoint-00000004.pth"
    held = {"palette": np.zeros((2, 3), np.uint8), "loss": np.float32(0.5), "kept": np.array([True]), "it": np.int32(3)}
    torch.save({"meta": {"dataset_meta": held}, "state_dict": {}, "message_hub": {}}, path)
    assert repr(read_checkpoint(path)["meta"]["dataset_meta"]) == repr(held)
    torch.save({"meta": {"dataset_meta": Path("x")}, "state_dict": {}, "message_hub": {}}, path)
    with pytest.raises(DamagedError, match=r"of this line \(Unsupported global: GLOBAL pathlib\S* was not an allowed"):
        read_checkpoint(path)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    path = tmp_path / "checkpoint-00000004.pth"
    torch.save({"meta": {}, "state_dict": {"weight": torch.zeros(2, 2)}, "message_hub": {}}, path)
    runner = SimpleNamespace(model=torch.nn.Linear(1, 1), call_hook=lambda *_, **__: None)
    with pytest.raises(InputError, match=r"checkpoint-00000004.pth: of another network .*delete its folder"):
        _Runner.load_checkpoint(runner, str(path))


def test_other_params_do_not_resume(crashed, starts, cohort, params, tmp_path):
    where = paths(cohort, tmp_path)
    shutil.copytree(crashed.work, where.work)
    settings = params.segmenter.model_copy(update={"lr": params.segmenter.lr / 2})
    train_segmenter(params.model_copy(update={"segmenter": settings}), where)
    assert starts == [0]


@pytest.mark.slow
def test_a_killed_worker_names_the_settings(cohort, params, tmp_path, monkeypatch):
    parent = os.getpid()

    def die(self, index):
        assert os.getpid() != parent
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(PseudoLabelDataset, "__getitem__", die)
    with pytest.raises(InputError, match=r"lower workers \(now 1\) or segmenter\.batch_size \(now 4\)"):
        train_segmenter(params.model_copy(update={"workers": 1}), paths(cohort, tmp_path))
