"""The servers start, and who is not let in, or what is not there, is told so in one line."""

import subprocess
import sys

import pytest
import yaml

from tests.team.servers import ADMIN_PASSWORD, free_port, serve_command, serve_environment

pytestmark = [pytest.mark.team, pytest.mark.leaves("connections to servers that all of these tests share")]


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr of a command that failed."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    return line


def serve(site, project_root, tmp_path, artifacts: str | None = None, **secrets: str) -> str:
    command = serve_command(project_root, site.database, tmp_path / "state", free_port())
    if artifacts:
        command[command.index("--artifacts") + 1] = artifacts
    environment = {**serve_environment(site.gate.endpoint), **secrets}
    return refusal(subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120))


def test_a_wrong_password_of_the_database_stops_the_server(site, project_root, tmp_path):
    line = serve(site, project_root, tmp_path, PGPASSWORD="wrong")
    assert 'password authentication failed for user "mlflow"' in line
    assert "PGPASSWORD" in line


def test_expired_credentials_of_the_bucket_stop_the_server(site, project_root, tmp_path):
    site.gate.expired = {"old"}
    line = serve(site, project_root, tmp_path, AWS_ACCESS_KEY_ID="old")
    site.gate.expired = set()
    assert "ExpiredToken" in line
    assert "AWS_ACCESS_KEY_ID" in line


def test_a_bucket_that_is_not_there_stops_the_server(site, project_root, tmp_path):
    assert "NoSuchBucket" in serve(site, project_root, tmp_path, artifacts="s3://other/mlflow")


def test_no_secret_is_on_the_command_line_or_open_to_others(site):
    assert not [path for path in (site.folder / "state").rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
    shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "of-the-database" not in shown
    assert "of-the-admin" not in shown


def test_the_admin_gives_passwords(site, project_root):
    def add(*passwords: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(project_root / "deploy/add_user.py"), "carol", "--uri", site.mlflow]
        return subprocess.run(command, input="\n".join(passwords), capture_output=True, text=True, check=False)

    for new in ("the-first-of-carol", "the-second-of-carol"):
        assert add(ADMIN_PASSWORD, new).returncode == 0
    line = refusal(add("wrong", "of-a-stranger"))
    assert "401" in line
    assert "admin's password" in line
    assert "at least 12 characters" in refusal(add(ADMIN_PASSWORD, "short"))


@pytest.mark.parametrize("wrong", [{"PASSWORD": "wrong"}, {"USERNAME": "nobody"}])
def test_a_wrong_password_of_mlflow_is_one_line(site, homes, project_root, wrong):
    more = {f"MLFLOW_TRACKING_{key}": value for key, value in wrong.items()}
    command = (sys.executable, "-m", "wsss_mm.cli.main", "models", "list")
    line = refusal(homes["bob"].run(*command, check=False, where=project_root, **more))
    assert "MLFLOW_TRACKING_PASSWORD" in line
    assert site.mlflow in line


def test_nobody_reads_without_a_password(site, homes, project_root):
    (homes["bob"].home / ".mlflow/credentials").rename(homes["bob"].home / "away")
    done = homes["bob"].run(
        *(sys.executable, "-m", "wsss_mm.cli.main", "models", "list"), check=False, where=project_root
    )
    (homes["bob"].home / "away").rename(homes["bob"].home / ".mlflow/credentials")
    assert "MLFLOW_TRACKING_PASSWORD" in refusal(done)


def test_the_compose_file_starts_the_same(project_root):
    services = yaml.safe_load((project_root / "deploy/compose.yaml").read_text())["services"]
    images = [service["image"] for service in services.values() if "image" in service]
    images += [
        line.split()[1] for line in (project_root / "deploy/Dockerfile").read_text().splitlines() if "FROM" in line
    ]
    assert all(":" in image and "latest" not in image for image in images)
    options = {item.split("=")[0] for item in services["mlflow"]["command"]}
    command = [sys.executable, project_root / "deploy/serve.py", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(option in shown for option in options)
    assert "ports" not in services["mlflow"]  # reached through TLS alone
    assert "ports" not in services["postgres"]
