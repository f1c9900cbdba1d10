"""A project and an MLflow store of its own."""

import shutil
import subprocess

import pytest

from wsss_mm.tracking.store import connect


@pytest.fixture(scope="session")
def committed(tmp_path_factory):
    """A project with a git commit, to be copied."""
    root = tmp_path_factory.mktemp("committed")
    (root / "data").mkdir()
    (root / "data/a.txt").write_text("a")
    (root / ".gitignore").write_text("/mlflow.db\n/mlartifacts/\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q", "--template="], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], check=True, cwd=root)
    return root


@pytest.fixture
def project(committed, tmp_path, monkeypatch):
    """An empty project with a git commit, the current folder, and an MLflow store of its own."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_STAGE", "DVC_EXP_NAME", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(committed, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture(scope="session")
def store(empty_store, tmp_path_factory):
    """A folder with a store for all tests, and empty.db beside it, which stays empty."""
    root = tmp_path_factory.mktemp("store")
    for name in ("mlflow.db", "empty.db"):
        shutil.copyfile(empty_store, root / name)
    return root


@pytest.fixture
def tracked(project, store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlflow.db")
    yield project
    connect().end_run()
