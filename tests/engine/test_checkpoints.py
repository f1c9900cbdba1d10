"""A damaged checkpoint costs time, never bytes; SIGTERM and a killed worker leave a checkpoint and a clear word."""

import logging
import os
import signal

import pytest

from tests.engine.test_training import TRAIN, Crash, crash_after, outs, paths
from wsss_mm.datasets import PseudoLabelDataset
from wsss_mm.engine import train_segmenter
from wsss_mm.engine.hooks import ProgressHook
from wsss_mm.errors import InputError, Terminated


@pytest.fixture(autouse=True)
def _quiet(monkeypatch, project_root):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.chdir(project_root)


@pytest.fixture(scope="module")
def undisturbed(cohort, params, project_root, tmp_path_factory):
    where = paths(cohort, tmp_path_factory.mktemp("undisturbed"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TQDM_DISABLE", "1")
        patch.chdir(project_root)
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
def test_a_damaged_checkpoint(harm, damaged, start, undisturbed, starts, cohort, params, tmp_path, monkeypatch, caplog):
    where = paths(cohort, tmp_path)
    with monkeypatch.context() as patch:
        crash_after(patch, 11)
        with pytest.raises(Crash):
            train_segmenter(params, where)
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


@pytest.mark.parametrize("kind", ["classifier", "segmenter"])
def test_sigterm_saves_at_once_and_the_rest_is_the_same(kind, starts, cohort, params, tmp_path, monkeypatch):
    one, two = paths(cohort, tmp_path / "one"), paths(cohort, tmp_path / "two")
    TRAIN[kind](params, one)
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
    starts.clear()
    TRAIN[kind](params, two)
    assert starts == [6]
    assert outs(two.out) == outs(one.out)
    assert two.curves.read_bytes() == one.curves.read_bytes()


def test_other_params_do_not_resume(starts, cohort, params, tmp_path, monkeypatch):
    where = paths(cohort, tmp_path)
    with monkeypatch.context() as patch:
        crash_after(patch, 11)
        with pytest.raises(Crash):
            train_segmenter(params, where)
    starts.clear()
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
