"""Servers, and two people who share: each with a home, a git identity, keys, passwords and a clone of their own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.team.s3_gate import S3Gate
from tests.team.servers import (
    ADMIN_PASSWORD,
    BUCKET,
    Processes,
    login,
    needed,
    start_mlflow,
    start_postgres,
    start_s3,
    start_ssh,
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Another selection of tests, such as `-m "not slow"`, starts no servers."""
    if "team" not in config.option.markexpr:
        for item in items:
            if item.get_closest_marker("team"):
                item.add_marker(pytest.mark.skip(reason="runs with `make team-test` alone"))


@dataclass(frozen=True)
class User:
    """Somebody of the team, at work in `root`."""

    name: str
    home: Path
    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of whoever runs the tests but the programs."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        kept = {key: os.environ[key] for key in ("LANG", "LD_LIBRARY_PATH", "TMPDIR") if key in os.environ}
        fixed = {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "1000", "DVC_NO_ANALYTICS": "1"}
        site = {"MLFLOW_TRACKING_URI": (self.home / "tracking_uri").read_text(), "AWS_EC2_METADATA_DISABLED": "true"}
        site |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "AWS_MAX_ATTEMPTS": "2"}
        return {**kept, **fixed, **site, "PATH": path, "HOME": str(self.home), "PYTHONPATH": "."}

    def start(self, *command: str, where: Path | None = None, **more: str) -> subprocess.Popen[str]:
        """Start a command in the clone; `more` is added to the environment."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=where or self.root, env={**self.environment, **more}, **pipes)

    def run(
        self, *command: str, check: bool = True, where: Path | None = None, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the clone."""
        process = self.start(*command, where=where, **more)
        out, err = process.communicate()
        if check and process.returncode:
            raise AssertionError(f"{self.name}: {' '.join(command)} exited {process.returncode}\n{out}\n{err}")
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def wsss_mm(self, *arguments: str, check: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "wsss_mm.cli.main", *arguments, check=check, **more)

    def python(self, code: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-c", code, *arguments, check=check)


@dataclass(frozen=True)
class Site:
    """Where everything is.

    Attributes:
        mlflow: Address of the MLflow server.
        database: host:port of PostgreSQL.
        s3: Address of the S3 endpoint itself.
        gate: The way there that users and the MLflow server take.
        ssh_folder: The folder DVC's remote `team` is in, on the SSH server.
        remote: Its URL.
        origin: The bare git repository both push to.
    """

    folder: Path
    mlflow: str
    database: str
    s3: str
    gate: S3Gate
    ssh_folder: Path
    remote: str
    origin: Path


def make_user(folder: Path, name: str) -> User:
    """A home with a git identity, an SSH key, credentials of S3 and of MLflow."""
    home = folder / name
    for part in (".ssh", ".aws", ".mlflow"):
        (home / part).mkdir(parents=True)
    (home / ".gitconfig").write_text(
        f"[user]\nname = {name}\nemail = {name}@example.org\n[init]\ndefaultBranch = main\n"
    )
    key = home / ".ssh/id_ed25519"
    subprocess.run([needed("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)], check=True)
    keys = f"aws_access_key_id = {name}\naws_secret_access_key = secret-of-{name}\n"
    (home / ".aws/credentials").write_text(f"[default]\n{keys}")
    (home / ".aws/config").write_text("[default]\nregion = us-east-1\n")
    (home / ".mlflow/credentials").write_text(
        f"[mlflow]\nmlflow_tracking_username = {name}\nmlflow_tracking_password = {password(name)}\n"
    )
    return User(name, home, home / "wsss_mm")


def password(name: str) -> str:
    return f"password-of-{name}"


@pytest.fixture(scope="session")
def homes(tmp_path_factory) -> dict[str, User]:
    folder = tmp_path_factory.mktemp("homes")
    return {name: make_user(folder, name) for name in ("alice", "bob")}


@pytest.fixture(scope="session")
def site(project_root, tmp_path_factory, homes) -> Iterator[Site]:
    pytest.importorskip("moto.server", reason="no moto here: pip install -e '.[team-test]'")
    pytest.importorskip("psycopg2", reason="no psycopg2 here: pip install -e '.[team]'")
    folder = tmp_path_factory.mktemp("site")
    processes = Processes(folder)
    gate = None
    try:
        database = start_postgres(processes)
        keys = [(user.home / ".ssh/id_ed25519.pub").read_text() for user in homes.values()]
        port, known_host = start_ssh(processes, keys)
        endpoint = start_s3(processes)
        gate = S3Gate(endpoint)
        mlflow = start_mlflow(processes, project_root, database, gate.endpoint)
        for user in homes.values():
            (user.home / ".ssh/known_hosts").write_text(known_host)
            (user.home / "tracking_uri").write_text(mlflow)
            add_user = [sys.executable, str(project_root / "deploy/add_user.py"), user.name, "--uri", mlflow]
            subprocess.run(add_user, input=f"{ADMIN_PASSWORD}\n{password(user.name)}\n", text=True, check=True)
        store = folder / "dvc"
        store.mkdir()
        remote = f"ssh://{login()}@127.0.0.1:{port}{store}"
        yield Site(folder, mlflow, database, endpoint, gate, store, remote, folder / "origin.git")
    finally:
        processes.end()
        if gate is not None:
            gate.close()


@pytest.fixture(scope="session")
def alice(site, homes, project_root) -> User:
    """Has run the line, once, and given: git, both DVC remotes, and the model to the registry."""
    user = homes["alice"]
    user.root.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=project_root, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (project_root / name).is_file():
            (user.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(project_root / name, user.root / name)
    (user.root / "dvc.lock").unlink(missing_ok=True)
    user.run("git", "init", "-q")
    user.run("git", "init", "-q", "--bare", str(site.origin))
    user.run("git", "remote", "add", "origin", str(site.origin))
    user.run("dvc", "remote", "modify", "team", "url", site.remote)
    user.run("dvc", "remote", "add", "bucket", f"s3://{BUCKET}/dvc")
    user.run("dvc", "remote", "modify", "bucket", "endpointurl", site.gate.endpoint)
    user.run("dvc", "remote", "modify", "bucket", "verify", "true")
    user.wsss_mm("profile", "tiny")
    params = user.root / "params.yaml"
    params.write_text(params.read_text().replace("model_name: null", "model_name: segmenter"))
    user.run("git", "add", "-A")
    user.run("git", "commit", "-qm", "A small line")
    user.run("dvc", "repro")
    user.run("git", "add", "-A")
    user.run("git", "commit", "-qm", "Run the small line")
    user.run("dvc", "push")
    user.run("dvc", "push", "-r", "bucket")
    user.run("git", "push", "-q", "-u", "origin", "HEAD")
    return user


@pytest.fixture(scope="session")
def bob(alice, site, homes) -> User:
    """Has a clone, and nothing of DVC's yet."""
    user = homes["bob"]
    user.run("git", "clone", "-q", str(site.origin), str(user.root), where=user.home)
    return user
