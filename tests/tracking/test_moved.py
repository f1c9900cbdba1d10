"""A project that was copied, moved or renamed uses its own files, and none of the project it came from."""

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests import warm
from tests.tracking.test_tampering import write_model
from wsss_mm.active_run import active_run
from wsss_mm.cli import doctor
from wsss_mm.cli.main import main
from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.tracking import download_model, moved, register_segmenter, tag_weights, training_run
from wsss_mm.tracking.moved import settle, strange_roots
from wsss_mm.tracking.store import connect, project_root

pytestmark = pytest.mark.xdist_group("mlflow")

NAMES = ["other", "my%20project", "my project", "mlartifacts/inside", "projekt-ü"]

TRAIN = """
from wsss_mm.active_run import active_run
from wsss_mm.tracking import training_run
with training_run("train_segmenter", {}) as run:
    active_run().text("new", "note.txt")
    print(run.info.run_id)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory, store):
    """A project with a run, its files, and a registered model."""
    root = tmp_path_factory.mktemp("made") / "project"
    root.mkdir()
    shutil.copyfile(store / "empty.db", root / "mlflow.db")
    patch = pytest.MonkeyPatch()
    for name in ("MLFLOW_TRACKING_URI", "DVC_STAGE", "DVC_EXP_NAME", "DVC_ROOT"):
        patch.delenv(name, raising=False)
    patch.chdir(root)
    folder = write_model(root / "models/segmenter", b"weights")
    with training_run("train_segmenter", {}):
        tag_weights(folder / "weights.pth")
        active_run().text("old", "note.txt")
    register_segmenter(folder, "kept")
    patch.undo()
    return root


@pytest.fixture
def original(made, tmp_path, monkeypatch):
    """The same at a place of this test, so that it may be moved."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / "original"
    shutil.copytree(made, root)
    assert settle(root / "mlflow.db", root, backup=False) == [str(made)]
    moved._refuse_once.cache_clear()
    return root


def files(root: Path) -> dict[str, tuple[str, int]]:
    paths = [path for path in root.rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix(): (digest(path), path.stat().st_mtime_ns) for path in paths}


def run(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([warm.python(), *command], cwd=root, capture_output=True, text=True, check=False)


def values(database: Path) -> str:
    """All text in a store."""
    with closing(sqlite3.connect(database)) as connection:
        return "\n".join(connection.iterdump())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["copied", "moved"])
def test_it_names_its_own_files_after_the_fix(original, tmp_path, monkeypatch, capsys, name, how):
    other = tmp_path / name
    other.parent.mkdir(exist_ok=True)
    (shutil.copytree if how == "copied" else shutil.move)(original, other)
    before = files(original) if how == "copied" else None
    store_before = values(other / "mlflow.db")
    monkeypatch.chdir(other)
    for call in (connect, doctor._tracking):
        with pytest.raises(InputError, match=r"wsss-mm doctor --fix") as caught:
            call()
        assert f"names files in {original}," in str(caught.value)
    main(["doctor", "--fix"])
    assert f"named files in {original}, and names those here now" in capsys.readouterr().out
    assert strange_roots(other / "mlflow.db", other) == {}
    assert f"{original}/" not in values(other / "mlflow.db").replace(f"{original}/mlartifacts/inside", "")
    assert values(other / "mlflow.db.before-fix-1") == store_before
    folder = download_model("models:/kept/1")
    assert folder.is_relative_to(other)
    found = connect().search_runs(search_all_experiments=True, output_format="list")
    assert connect().artifacts.load_text(f"runs:/{found[-1].info.run_id}/note.txt") == "old"
    with training_run("train_segmenter", {}) as new:
        active_run().text("new", "note.txt")
    assert (other / "mlartifacts/segmenter" / new.info.run_id / "artifacts/note.txt").read_text() == "new"
    if before is not None:
        assert files(original) == before


def test_a_stage_says_so_in_one_line_and_writes_nothing(original, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(original, other)
    before, here = files(original), files(other)
    done = run(other, "-c", TRAIN)
    assert "InputError" in done.stderr.splitlines()[-1]
    done = run(other, "-m", "wsss_mm.cli.main", "models", "list", "--name", "kept")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "doctor --fix" in done.stderr
    assert (files(original), {name: item for name, item in files(other).items() if name in here}) == (before, here)


def test_files_that_did_not_come_along_are_named(original, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copyfile(original / "mlflow.db", other / "mlflow.db")
    before = digest(other / "mlflow.db")
    with pytest.raises(InputError, match=r"other/mlartifacts/segmenter: not found.*copy it from"):
        settle(other / "mlflow.db", other)
    assert digest(other / "mlflow.db") == before


def test_a_second_fix_does_nothing_and_no_backup_is_lost(original, tmp_path):
    for number, name in enumerate(("first", "second"), 1):
        shutil.move(original, tmp_path / name)
        original = tmp_path / name
        assert len(settle(original / "mlflow.db", original)) == 1
        assert settle(original / "mlflow.db", original) == []
        assert len(list(original.glob("mlflow.db.before-fix-*"))) == number


def test_nothing_else_is_strange(original, tmp_path, monkeypatch):
    """Stores of servers, experiments that keep files in a bucket or a folder of their own, and a store elsewhere."""
    with closing(sqlite3.connect(original / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE experiments SET artifact_location = 's3://bucket/mlartifacts/a' WHERE name != 'x'")
    assert strange_roots(original / "mlflow.db", original) == {}
    assert strange_roots(tmp_path / "none.db", tmp_path) == {}
    (tmp_path / "garbage.db").write_bytes(b"garbage" * 1000)
    assert strange_roots(tmp_path / "garbage.db", tmp_path) == {}
    monkeypatch.chdir(tmp_path)
    moved.refuse_strange_roots(original / "mlflow.db", project_root())


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + bytes(4000)])
def test_doctor_looks_into_the_store(tmp_path, content):
    database = tmp_path / "mlflow.db"
    moved.check_store(database)
    database.touch()  # as a process leaves it that was killed before it made the tables: they are made anew
    moved.check_store(database)
    database.write_bytes(content)
    with pytest.raises(InputError, match=r"mlflow\.db: .*restore the file"):
        moved.check_store(database)
