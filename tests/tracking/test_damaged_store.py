"""A store that is a file is locked, full, damaged or not to be written, at every point of a training: it goes on."""

import errno
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from io import FileIO
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import event

from wsss_mm.active_run import active_run
from wsss_mm.cli.main import main
from wsss_mm.outage import is_outage, needed
from wsss_mm.tracking import local, tag_weights, training_run
from wsss_mm.tracking.local import unsent_folder
from wsss_mm.tracking.store import connect, tracking_uri

pytestmark = pytest.mark.xdist_group("mlflow")

listening, patched = [], []
POINTS = ("start", "metric", "artifact", "end")


@pytest.fixture
def database(project, store, monkeypatch):
    """The project's own store; nobody waits long for a lock."""
    shutil.copyfile(store / "empty.db", project / "mlflow.db")
    connect()
    from mlflow.store.db import utils

    class Impatient:
        def __getattr__(self, name):
            return getattr(sqlalchemy.sql, name)

        def text(self, statement):
            return sqlalchemy.sql.text(statement.replace("20000", "50"))

    monkeypatch.setattr(utils, "sql", Impatient())
    open_database = sqlite3.dbapi2.connect
    monkeypatch.setattr(sqlite3.dbapi2, "connect", lambda *args, **kwargs: open_database(*args, timeout=0.05, **kwargs))
    yield project / "mlflow.db"
    for listener in listening:
        event.remove(sqlalchemy.Engine, "before_cursor_execute", listener)
    listening.clear()
    while patched:
        patched.pop().end()


class Locked:
    """Another process holds it."""

    def __init__(self, database):
        self._holder = sqlite3.connect(database)
        self._holder.execute("BEGIN EXCLUSIVE")

    def end(self):
        self._holder.close()


class Full:
    """No page more: the least that SQLite takes is what there is."""

    pragma, undone = "max_page_count = 1", "max_page_count = 1000000"

    def __init__(self, database):
        self._database = str(database)
        listening.append(self._limit)
        event.listen(sqlalchemy.Engine, "before_cursor_execute", listening[-1])

    def _limit(self, connection, cursor, *_):
        with closing(connection.connection.dbapi_connection.cursor()) as other:
            of_the_project = connection.engine.url.database == self._database
            other.execute(f"PRAGMA {self.pragma if of_the_project else self.undone}")

    def end(self):
        self.pragma = self.undone


class ReadOnly(Full):
    """It may not be written; the tests may run as root, who may write everything."""

    pragma, undone = "query_only = ON", "query_only = OFF"


class Changed:
    """Its bytes are others."""

    def __init__(self, database):
        self._database, self._whole = database, database.read_bytes()
        self.change(database)

    def end(self):
        with self._database.open("r+b") as stream:
            stream.write(self._whole)


class Garbage(Changed):
    def change(self, database):
        with database.open("r+b") as stream:
            stream.write(os.urandom(database.stat().st_size))


class Truncated(Changed):
    def change(self, database):
        os.truncate(database, 3 * 4096)


class Empty(Changed):
    def change(self, database):
        os.truncate(database, 0)


class NoRoom:
    """Of its artifacts no byte more can be written, by the disk, a quota, or the rights of their folder."""

    def __init__(self, database, number=errno.ENOSPC):
        from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

        self._kind, self._create = LocalArtifactRepository, LocalArtifactRepository._create_staging_artifact
        root, create = database.parent, self._create

        def created(repository, *args):
            if Path(repository.artifact_dir).is_relative_to(root / "mlartifacts"):
                raise OSError(number, os.strerror(number))
            return create(repository, *args)

        self._kind._create_staging_artifact = created
        patched.append(self)

    def end(self):
        self._kind._create_staging_artifact = self._create


class Newer:
    """Of another version of MLflow."""

    def __init__(self, database):
        self._database = database
        (self._version,) = self._set("ffff")

    def _set(self, version):
        with closing(sqlite3.connect(self._database)) as other:
            before = other.execute("SELECT version_num FROM alembic_version").fetchone()
            other.execute("UPDATE alembic_version SET version_num = ?", [version])
            other.commit()
        return before

    def end(self):
        self._set(self._version)


def train(project, then):
    (project / "models").mkdir(exist_ok=True)
    (project / "models/weights.pth").write_bytes(b"weights")
    then("start")
    with training_run("train_segmenter", {"lr": 0.5}) as opened:
        run = active_run()
        for step in range(3):
            if step == 1:
                _until_now(opened)
                then("metric")
            run.metrics({"loss": step}, step)
            run.tags({f"long.{step}": "x" * 5000})
        _until_now(opened)
        then("artifact")
        run.text("x", "note.txt")
        tag_weights(project / "models/weights.pth")
        _until_now(opened)
        then("end")
        run.tags({"long": "x" * 5000})


def _until_now(run):
    """All is in the store that was logged until now, unless that takes nothing any more."""
    with suppress(Exception):
        run.info  # noqa: B018


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("kind", [Locked, Full, ReadOnly, Garbage, Truncated, Empty, Newer, NoRoom])
def test_the_training_goes_on_and_a_sync_brings_what_is_missing(database, project, kind, point, caplog):
    faults = []
    train(project, lambda now: faults.append(kind(database)) if now == point else None)
    assert [record.message for record in caplog.records if "\n" in record.message] == []
    if kind is Empty:  # a new process makes its tables
        assert unsent_folder().exists() == (point != "start")
        return
    for fault in faults:
        fault.end()
    if kind is NoRoom and point == "end":  # no artifact after that
        assert not unsent_folder().exists()
    elif kind is not Newer or point == "start":  # who has it open does not ask for its version again
        assert unsent_folder().exists()
        assert main(["sync"]) == 0
    (run,) = connect().search_runs(search_all_experiments=True, output_format="list")
    assert (run.info.status, run.data.params) == ("FINISHED", {"lr": "0.5"})
    client = connect().MlflowClient()
    assert {item.value for item in client.get_metric_history(run.info.run_id, "loss")} == {0, 1, 2}
    assert {"environment.txt", "note.txt"} <= {item.path for item in client.list_artifacts(run.info.run_id)}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO])
def test_where_no_artifact_can_be_kept_one_line_says_so_and_the_training_goes_on(
    database, project, number, caplog, monkeypatch
):
    def full(*_, **__):
        raise OSError(number, os.strerror(number))

    for _ in range(2):
        monkeypatch.setattr(local.shutil, "copyfile", full)
        train(project, lambda _: None)
    told = [record.message for record in caplog.records if "not kept" in record.message]
    assert len(told) == 2, "one a training"
    assert os.strerror(number) in told[0]
    runs = connect().search_runs(search_all_experiments=True, output_format="list")
    assert [(run.info.status, run.data.metrics["loss"]) for run in runs] == [("FINISHED", 2)] * 2
    assert not unsent_folder().exists()


@pytest.mark.parametrize("when", ["open", "write"])
def test_on_a_full_disk_figures_go_to_the_store_all_the_same(database, project, when, caplog, monkeypatch):
    """There is no room for the journal, from the start or later."""
    open_file = Path.open

    class Full(FileIO):
        def write(self, content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full(self, *args, **kwargs):
        if self.name != "run.jsonl.new":
            return open_file(self, *args, **kwargs)
        if when == "open":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return Full(self, "ab")

    monkeypatch.setattr(Path, "open", full)
    train(project, lambda _: None)
    (told,) = [record.message for record in caplog.records]
    assert "No space left on device" in told
    assert not unsent_folder().exists()
    (run,) = connect().search_runs(search_all_experiments=True, output_format="list")
    assert (run.info.status, run.data.metrics["loss"]) == ("FINISHED", 2)


def test_a_sync_to_a_disk_that_still_is_full_loses_nothing(database, project, capsys):
    train(project, lambda now: NoRoom(database) if now == "start" else None)
    assert main(["sync"]) == 2
    assert "no space left on device; free some" in capsys.readouterr().err
    patched.pop().end()
    assert main(["sync"]) == 0
    assert list(project.glob("mlartifacts/**/note.txt"))


def test_a_picture_that_is_not_there_is_no_full_disk(database, project):
    with pytest.raises(FileNotFoundError), training_run("train_segmenter", {}):
        active_run().file(project / "no.png")


@pytest.mark.parametrize("kind", [Locked, Garbage, Truncated, Newer])
@pytest.mark.parametrize(
    "command", [["models", "list", "--name", "a"], ["report", "0" * 32], ["report", "models:/a/1"]]
)
def test_a_command_says_it_in_one_line(database, kind, command, capsys):
    fault = kind(database)
    assert main(command) == 2
    fault.end()
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{database}: " in line
    assert "the same command again" in line


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("(sqlite3.OperationalError) attempt to write a readonly database", "no permission to write"),
        ("(sqlite3.OperationalError) unable to open database file", "no permission to write"),
        ("(sqlite3.OperationalError) database or disk is full", "no space left"),
        ("(sqlite3.OperationalError) disk I/O error", "no space left"),
        ("(sqlite3.DatabaseError) database disk image is malformed", "damaged"),
    ],
)
def test_the_remedy_is_that_of_the_fault(database, said, told):
    error = RuntimeError(f"{said}\n[SQL: UPDATE runs]")
    assert is_outage(error)
    assert needed(error).startswith(tracking_uri().removeprefix("sqlite:///"))
    assert told in needed(error)
    assert "\n" not in needed(error)


@pytest.mark.parametrize("said", ["(sqlite3.IntegrityError) UNIQUE constraint failed", "no such run", "is locked"])
def test_what_a_store_rejects_is_no_outage(database, said):
    assert not is_outage(RuntimeError(said))
