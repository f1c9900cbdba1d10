"""Another version of MLflow, as docs/servers.md says: what was tracked stays, and what comes meanwhile arrives."""

import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.team.servers import (
    ADMIN_PASSWORD,
    DATABASE_PASSWORD,
    Processes,
    free_port,
    needed,
    postgres_programs,
    serve_command,
    serve_environment,
    start_mlflow,
)

pytestmark = [pytest.mark.team, pytest.mark.leaves("connections to servers that all of these tests share")]

BACK = 12  # revisions of the tables: as an MLflow of some releases ago made them
ROWS = """
INSERT INTO experiments (name, lifecycle_stage, artifact_location) VALUES ('old', 'active', 'mlflow-artifacts:/1');
INSERT INTO runs
    (run_uuid, name, user_id, experiment_id, status, start_time, end_time, lifecycle_stage, artifact_uri)
    SELECT
    repeat('a', 32), 'kept', 'alice', experiment_id, 'FINISHED', 1, 2, 'active', 'mlflow-artifacts:/1/a/artifacts'
    FROM experiments WHERE name = 'old';
INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan)
    SELECT 'loss', 1.0 / (n + 1), n, repeat('a', 32), n, false FROM generate_series(0, 4) AS n;
"""
TRAIN = """
from wsss_mm.active_run import active_run
from wsss_mm.tracking import training_run
with training_run("train_segmenter", {"lr": 0.5}):
    for step in range(5):
        active_run().metrics({"loss": step / 7}, step)
"""


@pytest.fixture
def older(site) -> str:
    """The name of a database as an older MLflow left it, with a run in it."""
    import psycopg2
    import sqlalchemy
    from alembic import command
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base

    with closing(psycopg2.connect(f"postgresql://mlflow:{DATABASE_PASSWORD}@{site.database}/mlflow")) as link:
        link.autocommit = True
        for name in ("older", "restored"):
            link.cursor().execute(f"CREATE DATABASE {name}")
    config = _get_alembic_config(f"postgresql+psycopg2://mlflow:{DATABASE_PASSWORD}@{site.database}/older")
    engine = sqlalchemy.create_engine(config.get_main_option("sqlalchemy.url"))
    before = list(ScriptDirectory.from_config(config).walk_revisions())[BACK].revision
    Base.metadata.create_all(engine)
    command.upgrade(config, before)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(ROWS))
    engine.dispose()
    return "older"


@pytest.fixture
def processes(tmp_path):
    started = Processes(tmp_path)
    yield started
    started.end()


def test_an_upgrade_loses_nothing_and_can_be_taken_back(
    site, homes, project_root, older, processes, tmp_path, monkeypatch
):
    port, alice, project = free_port(), homes["alice"], tmp_path / "project"
    uri = f"http://127.0.0.1:{port}"
    secrets = serve_environment(site.gate.endpoint)
    at = ["--host", "127.0.0.1", "--port", site.database.rpartition(":")[2], "--username", "mlflow"]

    def program(name: str, *arguments: str) -> None:
        command = [needed(name, *postgres_programs()), *at, *arguments]
        subprocess.run(command, env=secrets, check=True, capture_output=True)

    def refusal(database: str) -> str:
        command = serve_command(project_root, site.database, tmp_path / "none", free_port(), database)
        done = subprocess.run(command, env=secrets, capture_output=True, text=True, check=False, timeout=240)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        return done.stderr

    def as_alice(*command: str) -> str:
        more = {"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(project_root)}
        more |= {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": ADMIN_PASSWORD}
        return alice.run(sys.executable, *command, where=project, **more).stdout

    # the server has ended; who trains goes on
    project.mkdir()
    as_alice("-c", TRAIN)
    assert list(project.glob("work_dirs/unsent/*/run.jsonl"))

    # a server of the new version does not touch what the old one left
    line = refusal(older)
    assert "its tables are of an older MLflow than" in line
    assert "mlflow db upgrade" in line

    # backup, upgrade, start, sync
    dump = tmp_path / "before.dump"
    program("pg_dump", "--format=custom", f"--file={dump}", older)
    upgrade = [sys.executable, "-m", "mlflow", "db", "upgrade", f"postgresql+psycopg2://mlflow@{site.database}/{older}"]
    subprocess.run(upgrade, env=secrets, check=True, capture_output=True)
    assert start_mlflow(processes, project_root, site.database, site.gate.endpoint, port=port, name=older) == uri
    assert " is complete; " in as_alice("-m", "wsss_mm.cli.main", "sync")

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", ADMIN_PASSWORD)
    from wsss_mm.tracking.store import connect

    client = connect().MlflowClient()
    kept = client.get_run("a" * 32)
    assert (kept.info.run_name, kept.info.status, kept.info.end_time) == ("kept", "FINISHED", 2)
    points = client.get_metric_history("a" * 32, "loss")
    assert [(point.step, point.value) for point in points] == [(step, 1 / (step + 1)) for step in range(5)]
    (sent,) = client.search_runs([client.get_experiment_by_name("segmenter").experiment_id])
    points = client.get_metric_history(sent.info.run_id, "loss")
    assert [(point.step, point.value) for point in points] == [(step, step / 7) for step in range(5)]
    assert not (project / "work_dirs/unsent").exists()

    # back: the copy is as it was before, and of the old version again
    program("pg_restore", "--dbname=restored", str(dump))
    assert "its tables are of an older MLflow than" in refusal("restored")
    shutil.rmtree(project)


def test_tables_of_a_newer_version_are_left_alone(site, project_root, tmp_path):
    """The server's own release is the old one: tables were upgraded by somebody else."""
    import psycopg2

    with closing(psycopg2.connect(f"postgresql://mlflow:{DATABASE_PASSWORD}@{site.database}/mlflow")) as link:
        link.autocommit = True
        link.cursor().execute("CREATE DATABASE newer")
    with closing(psycopg2.connect(f"postgresql://mlflow:{DATABASE_PASSWORD}@{site.database}/newer")) as link:
        link.autocommit = True
        link.cursor().execute("CREATE TABLE alembic_version (version_num varchar(32))")
        link.cursor().execute("INSERT INTO alembic_version VALUES ('ffffffffffff')")
    command = serve_command(project_root, site.database, Path(tmp_path) / "state", free_port(), "newer")
    environment = serve_environment(site.gate.endpoint)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "its tables are of a newer MLflow than" in done.stderr
