"""Add a user to the MLflow server, or give one a new password.

    python deploy/add_user.py alice --uri https://mlflow.lab.example

The password of the admin and that of the user are asked for; where nobody can be asked, they are two lines of stdin.
"""

import argparse
import base64
import getpass
import json
import os
import sys
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

_EXISTS = "RESOURCE_ALREADY_EXISTS"


def main() -> None:
    """Ask, and tell the server."""
    parser = argparse.ArgumentParser(description="Add a user to the MLflow server, or give one a new password.")
    parser.add_argument("name", help="the user")
    parser.add_argument("--uri", default=os.environ.get("MLFLOW_TRACKING_URI"), help="the server, MLFLOW_TRACKING_URI")
    parser.add_argument("--admin", default="admin", help="who adds (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        _check(arguments.uri or "")
        admin, password = _ask(f"password of {arguments.admin}: "), _ask(f"new password of {arguments.name}: ")
        content = {"username": arguments.name, "password": password}
        api, key = f"{arguments.uri.rstrip('/')}/api/2.0/mlflow/users", f"{arguments.admin}:{admin}"
        if _answer("POST", f"{api}/create", content, key) == _EXISTS:
            _answer("PATCH", f"{api}/update-password", content, key)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"add_user.py: error: {arguments.uri}: {error}\n")
        sys.exit(2)
    sys.stdout.write(f"{arguments.uri}: {arguments.name} may log in\n")


def _check(uri: str) -> None:
    """A password goes over https only, or over plain http that does not leave this machine."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("which server? give --uri https://...")
    if parts.username or parts.password:
        raise ValueError("a URI with a password in it; give --admin, the password is asked for")
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError("plain http would show both passwords to everybody on the way; give --uri https://...")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The admin's password is for this server alone, and an answer of another is no success."""

    def http_error_302(self, request: Any, stream: Any, code: int, message: str, headers: Any) -> None:
        """Refuse, and say where it leads."""
        where = headers.get("Location", "nowhere")
        raise ValueError(
            f"{code}: the server sends us on to {where}, where no password goes; if that is right, --uri it"
        )

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _ask(what: str) -> str:
    return getpass.getpass(what) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")


def _answer(method: str, url: str, content: dict[str, str], key: str) -> str:
    """An empty string if it is done, _EXISTS if there is such a user; else a ValueError with what the server says."""
    headers = {"Authorization": f"Basic {base64.b64encode(key.encode()).decode()}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(content).encode(), headers, method=method)
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=60) as answer:
            said = answer.read()
        if method == "POST" and content["username"] not in _names(said):
            raise ValueError("this is no MLflow server with users: it does not say whom it added")
    except urllib.error.HTTPError as error:
        said = " ".join(error.read().decode(errors="replace").split())
        if _EXISTS in said:
            return _EXISTS
        hint = "is the admin's password right? " if error.code == 401 else ""
        raise ValueError(f"{hint}{error.code} {said}") from None
    return ""


def _names(answer: bytes) -> list[str]:
    """Whom the server says it added."""
    try:
        return [json.loads(answer)["user"]["username"]]
    except (ValueError, KeyError, TypeError):
        return []


if __name__ == "__main__":
    main()
