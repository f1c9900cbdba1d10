"""The team's MLflow server as a plain process: runs in PostgreSQL, artifacts in S3 through it, passwords asked for.

    python deploy/serve.py --database postgresql://mlflow@127.0.0.1/mlflow --artifacts s3://bucket/mlflow

Secrets come from the environment or from where their owners look for them, never from the command line, which others
on the machine can read: PGPASSWORD or ~/.pgpass; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or ~/.aws; at the first
start MLFLOW_AUTH_ADMIN_PASSWORD. Another S3 than Amazon's: MLFLOW_S3_ENDPOINT_URL. docs/servers.md says more.
"""

import argparse
import configparser
import os
import secrets
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

AUTH = Path(__file__).with_name("basic_auth.ini")
_DRIVER = "postgresql+psycopg2"


class Refused(Exception):
    """The server cannot start; the message is one line that says why and what to do."""


def main() -> None:
    """Check the database, the bucket and whose tables they are, then become the server."""
    arguments = _parser().parse_args()
    try:
        database = _check_database(arguments.database)
        _check_bucket(arguments.artifacts)
        _check_tables(arguments.database)
        environment = _environment(arguments.state, database)
    except Refused as error:
        sys.stderr.write(f"serve.py: error: {error}\n")
        sys.exit(2)
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--serve-artifacts"),
        *("--backend-store-uri", database, "--artifacts-destination", arguments.artifacts),
        *("--host", arguments.host, "--port", str(arguments.port), "--workers", str(arguments.workers)),
    ]
    if arguments.public:
        command += ["--allowed-hosts", arguments.public, "--cors-allowed-origins", f"https://{arguments.public}"]
    os.execve(sys.executable, command, environment)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="MLflow server on PostgreSQL and S3, with basic authentication. Secrets come from the environment: "
        "PGPASSWORD, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, at the first start MLFLOW_AUTH_ADMIN_PASSWORD.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--database", required=True, metavar="postgresql://USER@HOST/NAME", help="without a password")
    parser.add_argument("--artifacts", required=True, metavar="s3://BUCKET/FOLDER", help="where artifacts are kept")
    parser.add_argument("--state", type=Path, default=Path("mlflow-server"), help="folder for the key of its forms")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; a proxy with TLS stands before it")
    parser.add_argument("--port", type=int, default=5000, help="port to listen on")
    parser.add_argument("--workers", type=int, default=4, help="processes that answer")
    parser.add_argument("--public", metavar="NAME", help="name under which the proxy is reached: mlflow.lab.example")
    return parser


def _check_database(url: str) -> str:
    """Connect once, so that what is wrong is said in one line; returns the URL with its driver."""
    import psycopg2

    parts = _split("--database", url, "postgresql://USER@HOST/NAME")
    if parts.password or "password" in unquote(parts.query).lower():
        raise Refused("--database holds a password, which others could read; put it into PGPASSWORD or ~/.pgpass")
    if parts.scheme not in ("postgresql", _DRIVER) or not parts.hostname:
        raise Refused("--database: is no such address; give postgresql://USER@HOST/NAME")
    try:
        psycopg2.connect(parts._replace(scheme="postgresql").geturl(), connect_timeout=10).close()
    except psycopg2.OperationalError as error:
        why = " ".join(str(error).split())
        raise Refused(f"--database {url}: {why}; is PGPASSWORD right, does the database exist?") from None
    return parts._replace(scheme=_DRIVER).geturl()


def _split(option: str, url: str, wanted: str) -> SplitResult:
    """The parts of an address. What is wrong may hold a secret, so messages do not repeat it."""
    try:
        return urlsplit(url)
    except ValueError:
        raise Refused(f"{option}: is no address; give {wanted}") from None


def _check_bucket(url: str) -> None:
    """List the bucket once, for the same reason."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    parts = _split("--artifacts", url, "s3://BUCKET/FOLDER")
    if "@" in parts.netloc or parts.query:
        raise Refused("--artifacts holds a key, which others could read; put it into AWS_SECRET_ACCESS_KEY or ~/.aws")
    if parts.scheme != "s3" or not parts.netloc:
        raise Refused("--artifacts: is no such address; give s3://BUCKET/FOLDER")
    client = boto3.client("s3", endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL"))
    try:
        client.list_objects_v2(Bucket=parts.netloc, Prefix=parts.path.lstrip("/"), MaxKeys=1)
    except (BotoCoreError, ClientError) as error:
        why = " ".join(str(error).split())
        raise Refused(f"--artifacts {url}: {why}; see AWS_ACCESS_KEY_ID, MLFLOW_S3_ENDPOINT_URL") from None


def _check_tables(url: str) -> None:
    """See that the tables are of the MLflow that is installed here; a new database has none.

    An MLflow that starts on older tables may change them at once, without a copy and for everyone who uses them.
    """
    import psycopg2
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    with psycopg2.connect(urlsplit(url)._replace(scheme="postgresql").geturl(), connect_timeout=10) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT to_regclass('alembic_version')")
        if cursor.fetchone() == (None,):
            return
        cursor.execute("SELECT version_num FROM alembic_version")
        there = [number for (number,) in cursor.fetchall()]
    connection.close()
    package = find_spec("mlflow")
    scripts = ScriptDirectory(str(Path(str(package and package.origin)).parent / "store/db_migrations"))
    if there == scripts.get_heads():
        return
    try:
        known = all(scripts.get_revision(number) for number in there)
    except CommandError:
        known = False
    what = "an older" if known else "a newer"
    remedy = "mlflow db upgrade, after a backup" if known else "install that one, or restore the backup made before"
    raise Refused(
        f"--database {url}: its tables are of {what} MLflow than {version('mlflow')}, installed here: {remedy}; "
        "docs/servers.md says in which order (Another version of MLflow)"
    )


def _environment(state: Path, database: str) -> dict[str, str]:
    """What the server reads: basic_auth.ini with its database, and the key that signs its forms, made once."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = state / "secret_key"
        if not key.is_file():
            with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
                stream.write(secrets.token_hex(32))
        auth = configparser.ConfigParser(interpolation=None)
        auth.read_string(AUTH.read_text(encoding="utf-8"))
        auth["mlflow"]["database_uri"] = database
        with (state / "basic_auth.ini").open("w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), 0o600)
            auth.write(stream)
    except OSError as error:
        raise Refused(f"--state {state}: {error.strerror}; name a folder that can be written to") from None
    return {
        **os.environ,
        "MLFLOW_AUTH_CONFIG_PATH": str((state / "basic_auth.ini").resolve()),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": key.read_text(encoding="utf-8"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


if __name__ == "__main__":
    main()
