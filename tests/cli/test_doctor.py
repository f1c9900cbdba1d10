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
