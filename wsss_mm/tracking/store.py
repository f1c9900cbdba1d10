"""Where MLflow keeps runs and models, and how this project connects to it."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, ParamSpec
from urllib.parse import urlsplit

from wsss_mm.errors import InputError
from wsss_mm.files import locked
from wsss_mm.tracking.moved import refuse_strange_roots
from wsss_mm.uris import shown

if TYPE_CHECKING:
    from mlflow import MlflowClient

P = ParamSpec("P")

logger = logging.getLogger(__name__)

# Read by MLflow at each request. Its own settings wait for a lost server for minutes, at every call.
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
_QUIET = {
    "alembic": logging.WARNING,  # a new store logs each of its migrations
    "mlflow.store.db.utils": logging.CRITICAL,  # whose errors are raised, too
    "mlflow.system_metrics": logging.ERROR,  # a lost store is told by those who mend it
    "urllib3.connectionpool": logging.ERROR,  # each try at a lost server is a warning there
}
_TEMPORARY_EXPERIMENTS = (".dvc", "tmp", "exps")
_SQLITE = "sqlite:///"
_NAMED = ("databricks", "databricks-uc", "uc")  # stores that have no URI
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")  # whose scheme may name a driver, such as postgresql+psycopg2
_PLUGINS = "mlflow.tracking_store"  # entry points, by which other packages add schemes
_BARS = "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"
OUTER_RUN = "MLFLOW_RUN_ID"
TAG_LENGTH = 500
"""Characters of a tag's value that are kept."""
_RACES = 5  # lost before an error is believed


def project_root() -> Path:
    """The project's root: that of DVC if it runs us, else the current folder.

    DVC runs queued experiments in a copy of the project under .dvc/tmp/exps, which it deletes afterwards: their runs
    belong to the project it was copied from.
    """
    root = Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()
    width = len(_TEMPORARY_EXPERIMENTS)
    for index in range(len(root.parts) - width + 1):
        if root.parts[index : index + width] == _TEMPORARY_EXPERIMENTS:
            return Path(*root.parts[:index])
    return root


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or mlflow.db in the project's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(project_root() / "mlflow.db")


def sqlite_uri(database: Path) -> str:
    """MLflow's name of the store in a file; versions of SQLAlchemy differ in what they take `%` and `?` for.

    Raises:
        InputError: this version cannot be told of such a file.
    """
    plain = f"{_SQLITE}{database}"
    for uri in (plain, f"{_SQLITE}{str(database).replace('%', '%25').replace('?', '%3F')}"):
        if sqlite_file(uri) == database:
            return uri
    raise InputError(
        f"{database}: SQLAlchemy cannot open a database there; rename the folder to one without % and ?, or set "
        "MLFLOW_TRACKING_URI"
    )


def sqlite_file(uri: str) -> Path | None:
    """The file behind MLflow's name of a store, None for a server."""
    if not uri.startswith(_SQLITE):
        return None
    if not set("%?") & set(uri):
        return Path(uri.removeprefix(_SQLITE))
    from sqlalchemy.engine import make_url

    return Path(make_url(uri).database or "")


def connect() -> ModuleType:
    """Import MLflow, without telemetry, and point it at the store; a lost server is noticed within seconds.

    The run of a job around this one (`mlflow run`, Azure ML, Databricks) is left to that job: MLflow would go on with
    it, as if every training here were that one.

    Returns:
        The module `mlflow`.

    Raises:
        InputError: there is no place for the store or no such kind of one, or it names files of another project.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read at import
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    if outer := os.environ.pop(OUTER_RUN, None):
        logger.info("%s=%s is of a job around this one; what is trained here gets runs of its own", OUTER_RUN, outer)
    import mlflow

    for name, level in _QUIET.items():
        if (log := logging.getLogger(name)).level != level:  # to set one makes all loggers look anew for theirs
            log.setLevel(level)
    uri = tracking_uri()
    check_store_kind(uri)
    mlflow.set_tracking_uri(uri)
    if (database := sqlite_file(uri)) is not None:
        if not database.resolve().parent.is_dir():
            raise InputError(f"{uri}: there is no folder {database.resolve().parent}; correct MLFLOW_TRACKING_URI")
        _make_tables_once(database.resolve())
        refuse_strange_roots(database.resolve(), project_root())
    return mlflow


@cache
def check_store_kind(uri: str) -> None:
    """Raise `InputError` if MLflow has no store of this kind."""
    from mlflow.environment_variables import MLFLOW_ALLOW_FILE_STORE

    known = "correct MLFLOW_TRACKING_URI: http://..., https://..., sqlite:///FILE, postgresql://..."
    try:
        scheme = urlsplit(uri).scheme
    except ValueError:  # a bracket without its other
        scheme = "none"
    if not _has_store(scheme):
        raise InputError(f"{uri}: MLflow knows no such store; {known}")
    of_files = uri not in _NAMED and (len(scheme) < 2 or scheme == "file")  # C: is a drive
    if of_files and not MLFLOW_ALLOW_FILE_STORE.get():
        raise InputError(f"{uri}: MLflow keeps no runs in folders any more; {known}")


def _has_store(scheme: str) -> bool:
    """Whether MLflow's documentation, or a plugin, names the scheme of a URI; C: is a drive, and none."""
    kind, _, driver = scheme.partition("+")
    if kind in _DATABASES:
        return "+" not in driver
    known = len(scheme) < 2 or scheme in ("file", "http", "https", *_NAMED)
    return known or any(point.name == scheme for point in entry_points(group=_PLUGINS))


def run_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags for a new run, with those that MLflow gives it (its source, its git remote), without the secrets of URIs."""
    from mlflow.tracking.context.registry import resolve_tags

    return {key: shown(str(value)) for key, value in resolve_tags(dict(tags)).items()}


def make_tables(database: Path) -> None:
    """Make a new store beside its place and move it there, one process at a time.

    MLflow's migrations take seconds: several at once break each other, and a killed one leaves a database that no
    other can finish.
    """
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if _has_content(database):
        return
    with locked(database):
        if _has_content(database):
            return
        fresh = database.with_name(f"{database.name}.new")
        for name in (fresh.name, f"{fresh.name}-journal"):
            database.with_name(name).unlink(missing_ok=True)
        fresh.touch()  # with the mode that the umask gives: SQLite would let nobody but its maker write
        with suppress(Exception):  # what is wrong with the store is said by the call that needs it
            SqlAlchemyStore(sqlite_uri(fresh), DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH).engine.dispose()
            fresh.replace(database)


def _has_content(database: Path) -> bool:
    return database.is_file() and database.stat().st_size > 0


_make_tables_once = cache(make_tables)


def allow_slow_requests() -> None:
    """For commands that upload models and cannot do without the server: let it take two minutes for a request."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")


def experiment_id(name: str) -> str:
    """Id of the experiment called `name`, made if there is none."""
    mlflow = connect()
    # A server knows where artifacts go; a local store would put them into whatever folder is current.
    local = mlflow.get_tracking_uri().startswith("sqlite:")
    return experiment_in(mlflow, name, (project_root() / "mlartifacts" / name).as_uri() if local else None)


def experiment_in(store: "MlflowClient | ModuleType", name: str, location: str | None = None) -> str:
    """Id of an experiment, made if there is none; several processes may ask at once.

    Args:
        store: A client, or the module `mlflow` for the current store.
        name: Of the experiment.
        location: URI for the artifacts of a new one; None leaves it to the store.
    """
    from mlflow.exceptions import MlflowException

    experiment = store.get_experiment_by_name(name)
    if experiment is not None:
        return experiment.experiment_id
    try:
        return store.create_experiment(name, artifact_location=location)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        experiment = store.get_experiment_by_name(name)  # someone else was faster
        if experiment is None:
            raise
    return experiment.experiment_id


def adding(call: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Call what looks whether something is in the store and adds it if not; several processes may do so at once.

    Whoever is second violates a constraint of the database, and finds the other's at the next try.
    """
    from mlflow.exceptions import MlflowException

    for _ in range(_RACES):
        try:
            return call(*args, **kwargs)
        except MlflowException as error:
            if "unique" not in str(error).lower():  # of SQLite as of PostgreSQL
                raise
    return call(*args, **kwargs)


@contextmanager
def without_bars() -> Iterator[None]:
    """Within the block MLflow draws no bar for each file it fetches: of hundreds of small ones they say nothing."""
    before = os.environ.get(_BARS)
    os.environ[_BARS] = "false"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_BARS, None)
        else:
            os.environ[_BARS] = before
