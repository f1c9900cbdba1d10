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

_EXISTS = "RESOURCE_ALREADY_EXISTS"


def main() -> None:
    """Ask, and tell the server."""
    parser = argparse.ArgumentParser(description="Add a user to the MLflow server, or give one a new password.")
    parser.add_argument("name", help="the user")
    parser.add_argument("--uri", default=os.environ.get("MLFLOW_TRACKING_URI"), help="the server, MLFLOW_TRACKING_URI")
    parser.add_argument("--admin", default="admin", help="who adds (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        if not (arguments.uri or "").startswith(("http://", "https://")):
            raise ValueError("which server? give --uri https://...")
        admin, password = _ask(f"password of {arguments.admin}: "), _ask(f"new password of {arguments.name}: ")
        content = {"username": arguments.name, "password": password}
        api, key = f"{arguments.uri.rstrip('/')}/api/2.0/mlflow/users", f"{arguments.admin}:{admin}"
        if _answer("POST", f"{api}/create", content, key) == _EXISTS:
            _answer("PATCH", f"{api}/update-password", content, key)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"add_user.py: error: {arguments.uri}: {error}\n")
        sys.exit(2)
    sys.stdout.write(f"{arguments.uri}: {arguments.name} may log in\n")


def _ask(what: str) -> str:
    return getpass.getpass(what) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")


def _answer(method: str, url: str, content: dict[str, str], key: str) -> str:
    """An empty string if it is done, _EXISTS if there is such a user; else a ValueError with what the server says."""
    headers = {"Authorization": f"Basic {base64.b64encode(key.encode()).decode()}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(content).encode(), headers, method=method)
    try:
        urllib.request.urlopen(request, timeout=60).close()
    except urllib.error.HTTPError as error:
        said = " ".join(error.read().decode(errors="replace").split())
        if _EXISTS in said:
            return _EXISTS
        hint = "is the admin's password right? " if error.code == 401 else ""
        raise ValueError(f"{hint}{error.code} {said}") from None
    return ""


if __name__ == "__main__":
    main()
