"""What a lost MLflow store is: which errors say so, and what a person can do about each, in one line."""

import errno
import os
import re
import sys
from typing import TypeGuard

from wsss_mm.uris import shown

_TRANSPORT = {"requests", "urllib3", "botocore", "azure", "google"}  # packages whose errors are those of a connection
_REFUSALS = {401, 403, 429}  # HTTP: the request is good, and the server will not take it now
_STRANGERS = {401, 403}
_NO_SUCH_PAGE = {404, 405}
_SERVER_ERROR = 500
_SHOWN = 160
_OF_A_FILE = {  # what SQLite and MLflow say of a store that is a file, and what to do about it
    "is locked": "another process holds it (a notebook, a copy or a backup at work): end that, or wait for it",
    "or disk is full|disk I/O error": "no space left on device: free some",
    "readonly database|unable to open database": "no permission to write: change the owner or the mode of it and its "
    "folder",
    "not a database|malformed|no such table|no such column": "it is damaged: move it away and put a copy of it there, "
    "or let a new one be made",
    "out-of-date database schema|Can't locate revision": "another version of MLflow made it: install that one again, "
    "or, if it is older, bring it up to date (mlflow db upgrade)",
}

_NO_PLACE = {  # what a file system says that takes no more from us
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EIO, errno.ESTALE, errno.ENOTCONN),  # a share that was lost
}


def no_place(error: BaseException) -> TypeGuard[OSError]:
    """Whether a file system takes no more files from us: it is full, not ours to write, or lost."""
    return isinstance(error, OSError) and error.errno in _NO_PLACE


def is_outage(error: BaseException) -> bool:
    """Whether this error says that the MLflow server is down, out of order, or does not let us in.

    So it does of a store that is a file, where that is locked, full, damaged, or may not be written. What a store
    understood and rejected (an unknown run, a bad name) is none.
    """
    if _of_a_file(error):
        return True
    if not server_uri():
        return False
    status = _status(error)
    if status is not None:
        return status >= _SERVER_ERROR or status in _REFUSALS or _is_no_mlflow(error)
    modules = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return isinstance(error, ConnectionError | TimeoutError) or bool(modules & _TRANSPORT)


def _is_no_mlflow(error: BaseException) -> bool:
    """Whether a web server answered that is not MLflow's, or not at this address: its answer is no JSON of MLflow's."""
    exceptions = sys.modules["mlflow.exceptions"]
    return _status(error) in _NO_SUCH_PAGE and not isinstance(error, exceptions.RestException)


def _of_a_file(error: BaseException) -> str:
    """What to do about a store that is a file, an empty string for any other error."""
    text = str(error)
    if not any(word in text for word in ("(sqlite3.", "database schema", "locate revision")):
        return ""
    return next((remedy for words, remedy in _OF_A_FILE.items() if re.search(words, text)), "")


def _status(error: BaseException) -> int | None:
    """The HTTP status of what MLflow raised, None of anything else."""
    exceptions = sys.modules.get("mlflow.exceptions")
    if exceptions is not None and isinstance(error, exceptions.MlflowException):
        return error.get_http_status_code()
    return None


def server_uri() -> str:
    """MLFLOW_TRACKING_URI if it is that of a server, else an empty string."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return uri if uri.startswith(("http://", "https://")) else ""


def reason(error: BaseException) -> str:
    """The beginning of an error on one line, without passwords and without the page that a web server answers with."""
    text = " ".join(shown(str(error)).split())
    return text.partition(" Response body: '<")[0][:_SHOWN]


def lost(error: BaseException) -> str:
    """What is wrong with the store, in one line that names it."""
    if no_place(error):
        return f"artifacts of the MLflow store: {error.strerror}"
    if remedy := _of_a_file(error):
        return f"{shown(os.environ.get('MLFLOW_TRACKING_URI', 'mlflow.db')).removeprefix('sqlite:///')}: {remedy}"
    return f"{shown(server_uri())}: the MLflow server does not answer"


def needed(error: BaseException) -> str:
    """One line for work that cannot go on without the store."""
    if _of_a_file(error):
        return f"{lost(error)}, then the same command again ({reason(error)})"
    if _status(error) in _STRANGERS:
        return (
            f"{shown(server_uri())}: the MLflow server refuses this user or password ({reason(error)}); correct "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or ~/.mlflow/credentials"
        )
    if _status(error) in _NO_SUCH_PAGE:
        return (
            f"{shown(server_uri())}: no MLflow server is at this address ({reason(error)}); correct "
            "MLFLOW_TRACKING_URI: is a prefix of its path missing or wrong?"
        )
    return (
        f"{shown(server_uri())}: the MLflow server does not answer, and this needs it ({reason(error)}); start it, or "
        "correct MLFLOW_TRACKING_URI, then: wsss-mm sync, and the same command again"
    )
