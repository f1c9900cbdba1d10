"""The store is mlflow.db of the project, in whatever folder that is."""

import os
import shutil
import stat
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st

from wsss_mm.active_run import active_run
from wsss_mm.cli.main import main
from wsss_mm.errors import InputError
from wsss_mm.tracking.runs import training_run
from wsss_mm.tracking.store import check_store_kind, connect, make_tables, sqlite_file, sqlite_uri, tracking_uri

NAMES = ["with blank", "hash#1", "my%20project", "100%", "what?", "\u00fc;&+=", "a:b@c", "%3F?%25"]


def knows(name):
    """Versions before 2.1 take a question mark for the end of the path, however it is written."""
    return "?" not in name or tuple(map(int, sqlalchemy.__version__.split(".")[:2])) >= (2, 1)


@pytest.mark.parametrize("name", NAMES)
def test_runs_are_in_the_project_whatever_its_folder_is_called(project, store, monkeypatch, name):
    folder = project / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    if not knows(name):
        with pytest.raises(InputError, match="rename the folder"):
            tracking_uri()
        return
    shutil.copyfile(store / "empty.db", folder / "mlflow.db")
    with training_run("segmenter", {}) as run:
        (folder / "note.txt").write_text("x")
        active_run().file(Path("note.txt"))
    assert [item.name for item in project.glob("**/mlflow.db")] == ["mlflow.db"]
    assert [found.info.run_id for found in connect().search_runs(["1"], output_format="list")] == [run.info.run_id]
    assert len(list(folder.glob(f"mlartifacts/segmenter/{run.info.run_id}/**/note.txt"))) == 1


@given(st.text("ab%?#;&+ \u00fc25F/", max_size=20).map(lambda text: Path("/project") / text.strip("/") / "mlflow.db"))
def test_a_file_is_found_again_from_its_name(path):
    if knows(str(path)):
        assert sqlite_file(sqlite_uri(path)) == path


def test_usual_names_stay_as_they_were():
    assert sqlite_uri(Path("/home/a b/mlflow.db")) == "sqlite:////home/a b/mlflow.db"
    assert sqlite_file("sqlite:///mlflow.db") == Path("mlflow.db")
    assert sqlite_file("http://127.0.0.1:5000") is None


def test_a_store_in_no_folder_is_refused_at_once(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/none/mlflow.db")
    with pytest.raises(InputError, match=r"there is no folder .*none; correct MLFLOW_TRACKING_URI"):
        connect()


@pytest.mark.parametrize("mask", [0o002, 0o022, 0o077])
def test_the_umask_decides_who_may_use_a_new_store(project, mask, monkeypatch):
    """SQLite gives a file that it makes mode 0644 at most: a colleague of the group could not log."""
    from mlflow.store.tracking import sqlalchemy_store

    class Quick:
        """Makes one table, not MLflow's fifty."""

        def __init__(self, uri, _):
            self.engine = sqlalchemy.create_engine(uri)
            with self.engine.begin() as connection:
                connection.execute(sqlalchemy.text("CREATE TABLE a (b)"))

    monkeypatch.setattr(sqlalchemy_store, "SqlAlchemyStore", Quick)
    before = os.umask(mask)
    try:
        make_tables(project / "mlflow.db")
    finally:
        os.umask(before)
    assert stat.S_IMODE((project / "mlflow.db").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize(
    "uri", ["postgres://u:hunter2@h/db", "htp://u:hunter2@h", "http://u:hunter2@[::1", "C:/a", "./mlruns", "file:/a"]
)
def test_a_store_of_no_known_kind_is_one_line_without_its_password(project, monkeypatch, uri, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert main(["models", "list", "--name", "a"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "correct MLFLOW_TRACKING_URI" in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    "uri",
    ["http://h", "https://h/a", "postgresql://h/db", "postgresql+psycopg2://h/db", "databricks", "databricks://a"],
)
def test_the_kinds_that_mlflow_knows_are_left_to_it(project, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert connect().get_tracking_uri() == uri
    connect().set_tracking_uri("")


@pytest.mark.parametrize("scheme", ["", "file:", "C:", "http:", "HTTPS:", "htp:", "http+x:", "postgres:", "s3:"])
@pytest.mark.parametrize("rest", ["//x/a", "x", "//[x"])
def test_stores_are_those_that_mlflow_has(scheme, rest, monkeypatch):
    agrees_with_mlflow(scheme + rest, monkeypatch)


@pytest.mark.parametrize("name", ["sqlite", "postgresql", "mysql", "mssql", "oracle", "databricks", "uc"])
@pytest.mark.parametrize("rest", ["", ":x", "://x", "+driver://x", "+a+b://x"])
def test_databases_and_named_stores_are_those_that_mlflow_has(name, rest, monkeypatch):
    agrees_with_mlflow(name + rest, monkeypatch)


def agrees_with_mlflow(uri, monkeypatch):
    from mlflow.exceptions import MlflowException
    from mlflow.tracking._tracking_service.utils import _tracking_store_registry

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    try:
        urlsplit(uri)
        _tracking_store_registry.get_store_builder(uri)
    except (ValueError, MlflowException):
        with pytest.raises(InputError, match="MLflow knows no such store; correct MLFLOW_TRACKING_URI"):
            check_store_kind.__wrapped__(uri)
    else:
        check_store_kind.__wrapped__(uri)
