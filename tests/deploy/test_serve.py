"""The team's server starts with no secret on its command line, which others on the machine can read."""

import subprocess
import sys

import pytest

SECRET = "hunter2"
DATABASE, BUCKET = "postgresql://mlflow@127.0.0.1:9/mlflow", "s3://bucket/mlflow"


def serve(project_root, tmp_path, database, artifacts):
    command = [sys.executable, str(project_root / "deploy/serve.py"), "--database", database, "--artifacts", artifacts]
    done = subprocess.run([*command, "--state", "state"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert SECRET not in done.stderr
    assert not (tmp_path / "state").exists()
    return done.stderr


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://mlflow:{SECRET}@127.0.0.1:9/mlflow",
        f"postgresql+psycopg2://mlflow:{SECRET}@127.0.0.1:9/mlflow",
        f"postgres://mlflow:{SECRET}@127.0.0.1:9/mlflow",
        f"postgresql://mlflow@127.0.0.1:9/mlflow?password={SECRET}",
        f"postgresql://127.0.0.1:9/mlflow?user=mlflow&password={SECRET}&connect_timeout=3",
        f"postgresql://127.0.0.1:9/mlflow?%70assword={SECRET}",
        f"postgresql://127.0.0.1:9/mlflow?sslpassword={SECRET}",
    ],
)
def test_a_password_of_the_database_is_refused(project_root, tmp_path, url):
    assert "put it into PGPASSWORD or ~/.pgpass" in serve(project_root, tmp_path, url, BUCKET)


@pytest.mark.parametrize(
    "url", [f"mlflow:{SECRET}@127.0.0.1/mlflow", f"postgresql:///{SECRET}", f"postgresql://[{SECRET}", SECRET]
)
def test_what_is_no_address_is_not_repeated(project_root, tmp_path, url):
    assert "give postgresql://USER@HOST/NAME" in serve(project_root, tmp_path, url, BUCKET)


def test_one_line_where_the_database_does_not_answer(project_root, tmp_path):
    assert "is PGPASSWORD right" in serve(project_root, tmp_path, DATABASE, BUCKET)


@pytest.mark.parametrize("url", [f"s3://key:{SECRET}@bucket/x", f"s3://bucket/x?secret={SECRET}"])
def test_a_key_of_the_bucket_is_refused(project_root, tmp_path, url, monkeypatch):
    (tmp_path / "psycopg2.py").write_text(
        "class OperationalError(Exception): ...\n"
        "def connect(*_, **__): return type('Open', (), {'close': lambda self: None})()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "put it into AWS_SECRET_ACCESS_KEY" in serve(project_root, tmp_path, DATABASE, url)
