"""Where a local store says its files are: MLflow keeps whole paths, which a project that is moved takes along.

mlflow.db       <project>/mlartifacts/<experiment>
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from wsss_mm.errors import InputError

_LOCATION = re.compile(r"(?P<root>(?:file:)?/.*?)/(?P<place>mlartifacts/[^/]+)")
_FOLDERS = ("mlartifacts", "mlruns")
_COLUMNS = (
    *(("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location")),
    *(("model_versions", "source"), ("model_versions", "storage_location"), ("trace_tags", "value")),
)
_WAIT = 30.0  # s, for who writes there


def strange_roots(database: Path, root: Path) -> dict[str, list[str]]:
    """Projects, other than this one, in which the experiments of a store keep files, with the folders there.

    Args:
        database: A store; one that does not exist, or cannot be read, names none.
        root: The project it is in.
    """
    found: dict[str, list[str]] = {}
    if not database.is_file():
        return found
    try:
        locations = _locations(database)
    except sqlite3.Error:  # what is wrong with a store is said by the call that needs it
        return found
    for location in locations:
        match = _LOCATION.fullmatch(location or "")
        if match and match["root"] not in (root.as_uri(), str(root)):
            found.setdefault(match["root"], []).append(unquote(match["place"]))
    return found


def check_store(database: Path) -> None:
    """See that a store, if there is one, can be read.

    Raises:
        InputError: it is damaged, locked, or no store of MLflow's.
    """
    try:
        if database.is_file() and database.stat().st_size:
            _locations(database)
    except sqlite3.Error as error:
        raise InputError(
            f"{database}: {error}; end the process that holds it, or restore the file from a copy: trainings log to "
            "work_dirs/unsent until then"
        ) from None


def _locations(database: Path) -> list[str | None]:
    with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, timeout=_WAIT)) as connection:
        return [location for (location,) in connection.execute("SELECT artifact_location FROM experiments")]


def refuse_strange_roots(database: Path, root: Path) -> None:
    """For whoever is about to use the store of a project.

    Raises:
        InputError: it keeps files in another project.
    """
    if database == root / "mlflow.db":
        _refuse_once(database, root)


@cache
def _refuse_once(database: Path, root: Path) -> None:
    for old in strange_roots(database, root):
        raise InputError(
            f"{database}: names files in {_path(old)}, of which this project is a copy, or as it was called before; "
            "nothing is read or written there; to name those here: wsss-mm doctor --fix"
        )


def settle(database: Path, root: Path, *, backup: bool = True) -> list[str]:
    """Let a store name the files of the project it is in, wherever that was copied, moved or renamed to.

    Args:
        database: The store.
        root: The project.
        backup: Keep a copy of the store as it was, beside it.

    Returns:
        The projects it named before.

    Raises:
        InputError: files of the store are not in this project.
    """
    strange = strange_roots(database, root)
    if not strange:
        return []
    for old, places in strange.items():
        for place in places:
            there, here = _path(old) / place, root / place
            if there.is_dir() and not here.is_dir():
                raise InputError(f"{here}: not found, and {database.name} needs it; copy it from {there}")
    with _changing(database) as connection:
        if backup:
            _keep(connection, database)
        connection.execute("BEGIN IMMEDIATE")
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table, column in _COLUMNS:
            known = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")} if table in tables else ()
            if column not in known:  # another version of MLflow
                continue
            for before, after in _prefixes(strange, root):
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column} || '/', 1, ?) = ?",
                    (after, len(before) + 1, len(before) + 1, f"{before}/"),
                )
        connection.execute("COMMIT")
    return [str(_path(old)) for old in strange]


@contextmanager
def _changing(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection whose transaction is given up if the block fails."""
    try:
        with closing(sqlite3.connect(database, timeout=_WAIT, isolation_level=None)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise InputError(f"{database}: not changed ({error}); end what uses it, and look at the disk") from None


def _keep(connection: sqlite3.Connection, database: Path) -> None:
    """Copy a store to a name that is free."""
    names = (database.with_name(f"{database.name}.before-fix-{number}") for number in count(1))
    with closing(sqlite3.connect(next(name for name in names if not name.exists()))) as copy:
        connection.backup(copy)


def _prefixes(strange: dict[str, list[str]], root: Path) -> Iterator[tuple[str, str]]:
    """What names begin with, as a URI and as a path, and what they begin with here."""
    for old in strange:
        for text in {old, _path(old).as_uri(), str(_path(old))}:
            for folder in _FOLDERS:
                yield f"{text}/{folder}", f"{root.as_uri()}/{folder}"


def _path(old: str) -> Path:
    return Path(unquote(urlsplit(old).path)) if old.startswith("file:") else Path(old)
