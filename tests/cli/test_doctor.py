"""What is wrong with a checkout is said in git's words, with the remedy."""

import subprocess

import pytest

from wsss_mm.cli import doctor
from wsss_mm.errors import InputError


def test_a_checkout_of_another_owner(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").touch()
    with pytest.raises(InputError, match="git init, git commit"):
        doctor._checkout()
    subprocess.run(["git", "init", "-q"], check=True)
    with pytest.raises(InputError, match="git init, git commit"):
        doctor._checkout()
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    with pytest.raises(InputError, match=f"dubious ownership.*git config --global --add safe.directory {tmp_path}"):
        doctor._checkout()


@pytest.mark.parametrize("name", ["dvc.yaml", "dvc.lock"])
@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"half a word",
        b"3",
        b"stages: 3\n",
        b"stages:\n  patches: [\n",
        b"stages:\n  - patches\n",
        b"<<<<<<< HEAD\nstages: {}\n=======\nstages: {}\n>>>>>>> theirs\n",
        b"stages:\n  a:\n    cmd: x\n=======\n",
        b"||||||| base\nstages: {}\n",
        b"stages:\n  a: 2026-99-99\n",
        pytest.param(b"a: " + b"[" * 5000, id="deep"),
        b"\x00\x01\xff",
        "stages: {}".encode("utf-16"),
    ],
)
def test_a_broken_pipeline_is_not_called_fit(tmp_path, monkeypatch, name, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        doctor._lock()


@pytest.mark.parametrize(
    "content", [b"", b"schema: '2.0'\nstages: {}\n", b"schema: '2.0'\nstages:\n  a:\n    cmd: x\n"]
)
def test_a_whole_one_is(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages:\n  a:\n    cmd: x\n")
    (tmp_path / "dvc.lock").write_bytes(content)
    assert doctor._lock() == "dvc.yaml and dvc.lock can be read"


def test_a_folder_in_its_place_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.lock").mkdir()
    with pytest.raises(InputError, match=r"dvc\.lock: not a file"):
        doctor._lock()
