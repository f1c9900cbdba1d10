"""Real servers on loopback: PostgreSQL, OpenSSH, an S3 endpoint (moto) and, on these, the MLflow server of deploy/."""

import getpass
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ADMIN_PASSWORD, DATABASE_PASSWORD = "of-the-admin-123", "of-the-database"
BUCKET = "wsss"
_SECONDS = 240  # a busy machine is no defect


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def needed(name: str, *places: str) -> str:
    """The path of a program of a Debian package; the tests skip, with a clear line, where it is missing."""
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *places]))
    if found is None:
        package = {"sshd": "openssh-server", "initdb": "postgresql"}.get(name, name)
        pytest.skip(f"no {name} here: apt-get install {package}")
    return found


@dataclass
class Processes:
    """What was started, to be ended."""

    folder: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    elsewhere: list[Path] = field(default_factory=list)  # folders to remove

    def start(self, name: str, command: list[str], port: int, **options: object) -> subprocess.Popen[bytes]:
        """Start a server, in a session of its own, and wait until its port answers."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                **options,
            )
        self.running.append(process)
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            if process.poll() is not None:
                break
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    return process
            time.sleep(0.2)
        raise AssertionError(f"{name} does not answer\n{(self.folder / f'{name}.log').read_text()}")

    def end(self) -> None:
        for process in reversed(self.running):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        for path in self.elsewhere:
            shutil.rmtree(path, ignore_errors=True)


def start_postgres(processes: Processes) -> str:
    """PostgreSQL with a database `mlflow`; it refuses to run as root, so then as its own user. Returns host:port."""
    programs = {name: needed(name, *postgres_programs()) for name in ("initdb", "postgres")}
    folder, port = Path(tempfile.mkdtemp(prefix="wsss-mm-postgres-")), free_port()
    processes.elsewhere.append(folder)  # pytest's own folders let no other user in
    options: dict[str, object] = {"cwd": folder}
    if os.geteuid() == 0:
        owner = next((name for name in ("postgres", "nobody") if _exists(name)), None)
        entry = pwd.getpwnam(owner or "nobody")
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        options |= {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    password = folder / "password"
    password.write_text(DATABASE_PASSWORD)
    password.chmod(0o644)
    make = [programs["initdb"], "-D", str(folder / "data"), "-U", "mlflow", "-A", "scram-sha-256", "-N"]
    subprocess.run([*make, f"--pwfile={password}"], check=True, capture_output=True, **options)
    command = [programs["postgres"], "-D", str(folder / "data"), "-p", str(port), "-k", str(folder), "-F"]
    processes.start("postgres", [*command, "-c", "listen_addresses=127.0.0.1"], port, **options)
    import psycopg2

    end = time.monotonic() + _SECONDS
    while True:
        try:
            link = psycopg2.connect(
                host="127.0.0.1", port=port, user="mlflow", password=DATABASE_PASSWORD, dbname="postgres"
            )
            break
        except psycopg2.OperationalError:
            assert time.monotonic() < end
            time.sleep(0.2)
    link.autocommit = True
    link.cursor().execute("CREATE DATABASE mlflow")
    link.close()
    return f"127.0.0.1:{port}"


def start_ssh(processes: Processes, keys: list[str]) -> tuple[int, str]:
    """OpenSSH for SFTP alone, for whoever runs the tests and has one of these public keys.

    Returns:
        Its port, and its line for known_hosts.
    """
    sshd, keygen = needed("sshd", "/usr/sbin", "/usr/local/sbin"), needed("ssh-keygen")
    folder, port = processes.folder / "ssh", free_port()
    folder.mkdir()
    subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host")], check=True)
    (folder / "authorized_keys").write_text("".join(keys))
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nPidFile {folder}/pid\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        "UsePAM no\nKbdInteractiveAuthentication no\nSubsystem sftp internal-sftp\nMaxStartups 50\nMaxSessions 50\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    processes.start("sshd", [sshd, "-D", "-e", "-f", str(folder / "sshd_config")], port)
    return port, f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}"


def start_s3(processes: Processes) -> str:
    """moto's S3 with a bucket; returns its address."""
    import boto3

    port = free_port()
    processes.start("s3", [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port)
    endpoint = f"http://127.0.0.1:{port}"
    keys = {"aws_access_key_id": "admin", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=endpoint, **keys).create_bucket(Bucket=BUCKET)
    return endpoint


def serve_environment(endpoint: str) -> dict[str, str]:
    """Secrets of the MLflow server."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "AWS_", "PG"))}
    return {
        **kept,
        "PGPASSWORD": DATABASE_PASSWORD,
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN_PASSWORD,
        "AWS_ACCESS_KEY_ID": "server",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "MLFLOW_S3_ENDPOINT_URL": endpoint,
        "AWS_MAX_ATTEMPTS": "2",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def postgres_programs() -> list[str]:
    """Where Debian keeps the programs of PostgreSQL."""
    return [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]


def serve_command(root: Path, database: str, state: Path, port: int, name: str = "mlflow") -> list[str]:
    """deploy/serve.py as docs/servers.md starts it."""
    return [
        *(sys.executable, str(root / "deploy/serve.py"), "--database", f"postgresql://mlflow@{database}/{name}"),
        *("--artifacts", f"s3://{BUCKET}/mlflow", "--state", str(state), "--port", str(port), "--workers", "2"),
    ]


def start_mlflow(
    processes: Processes, root: Path, database: str, endpoint: str, *, port: int | None = None, name: str = "mlflow"
) -> str:
    """The MLflow server with users alice and bob, on the database of this name; returns its address."""
    port = port or free_port()
    state = processes.folder / ("state" if name == "mlflow" else f"state-{name}")
    command = serve_command(root, database, state, port, name)
    process = processes.start(name, command, port, env=serve_environment(endpoint), cwd=processes.folder)
    uri, end = f"http://127.0.0.1:{port}", time.monotonic() + _SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=5):
                return uri
        except (urllib.error.URLError, OSError):
            assert process.poll() is None and time.monotonic() < end, (processes.folder / f"{name}.log").read_text()
            time.sleep(0.5)


def login() -> str:
    """Whom the SSH server lets in."""
    return getpass.getuser()


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
