import logging
import os
import time

import pytest

from wsss_mm.engine.workdir import fingerprint, work_folder
from wsss_mm.errors import InputError


class TestFingerprint:
    def test_params_contents_and_names_count_places_do_not(self, tmp_path):
        for name in ("one", "two"):
            (tmp_path / name / "sub").mkdir(parents=True)
            (tmp_path / name / "sub" / "a.txt").write_text("a")
        first = fingerprint({"lr": 0.1}, [tmp_path / "one"])
        assert first == fingerprint({"lr": 0.1}, [tmp_path / "two"])
        assert first != fingerprint({"lr": 0.2}, [tmp_path / "one"])
        (tmp_path / "two" / "sub" / "a.txt").write_text("b")
        assert first != fingerprint({"lr": 0.1}, [tmp_path / "two"])
        (tmp_path / "one" / "sub" / "a.txt").rename(tmp_path / "one" / "sub" / "b.txt")
        assert first != fingerprint({"lr": 0.1}, [tmp_path / "one"])

    def test_compiled_python_does_not_count(self, tmp_path):
        (tmp_path / "a.py").write_text("1")
        before = fingerprint({}, [tmp_path])
        (tmp_path / "__pycache__").mkdir()
        (tmp_path / "__pycache__" / "a.pyc").write_bytes(b"x")
        assert fingerprint({}, [tmp_path]) == before


def test_kept_after_a_crash_removed_after_success(tmp_path):
    with pytest.raises(RuntimeError), work_folder("train", "key", tmp_path) as folder:
        (folder / "checkpoint.pth").write_text("half")
        raise RuntimeError
    with work_folder("train", "key", tmp_path) as again:
        assert (again / "checkpoint.pth").read_text() == "half"
    assert not again.exists()


def abandon(root, key, days):
    with pytest.raises(RuntimeError), work_folder("train", key, root):
        raise RuntimeError
    then = time.time() - days * 24 * 60 * 60
    os.utime(root / "train" / key, (then, then))


def test_abandoned_folders_go_after_14_days_or_when_more_than_3(tmp_path, caplog):
    for key, days in (("old", 15), ("a", 1), ("b", 2), ("c", 3)):
        abandon(tmp_path, key, days)
    abandon(tmp_path, "d", 4)
    caplog.set_level(logging.INFO)
    with work_folder("train", "new", tmp_path):
        assert {path.name for path in (tmp_path / "train").glob("[!.]*")} == {"new", "a", "b", "c"}
    assert "train/d: abandoned 4 days ago by other params or inputs; removed" in caplog.text


def test_a_training_at_work_is_not_pruned_and_not_joined(tmp_path):
    with work_folder("train", "busy", tmp_path) as busy:
        os.utime(busy, (0, 0))
        abandon(tmp_path, "left", 15)
        with work_folder("train", "other", tmp_path):
            assert busy.is_dir()
            assert not busy.with_name("left").exists()
        with pytest.raises(InputError, match="another process"), work_folder("train", "busy", tmp_path):
            pass


def test_locks_are_gone_when_nobody_trains(tmp_path):
    with work_folder("train", "key", tmp_path):
        assert [path.name for path in (tmp_path / "train").glob(".*")] == [".key.lock"]
    assert list((tmp_path / "train").iterdir()) == []
