"""The admin's password goes to the server that was named, and nowhere else."""

import http.server
import json
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest


@contextmanager
def server(answer):
    """A web server on loopback; gives its address, and the requests it got."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def _any(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen.append((self.command, self.path, self.headers.get("Authorization"), body))
            status, headers, content = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = _any

        def log_message(self, *_):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}", seen
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def add(project_root, uri):
    command = [sys.executable, str(project_root / "deploy/add_user.py"), "carol", "--uri", uri]
    return subprocess.run(command, input="of-the-admin\nof-carol\n", capture_output=True, text=True, check=False)


def refused(done):
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "of-the-admin" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(project_root, status):
    with server((200, {}, b"{}")) as (other, stolen), server((status, {"Location": other}, b"")) as (uri, seen):
        assert other in refused(add(project_root, uri))
    assert len(seen) == 1
    assert stolen == []


def test_an_answer_that_names_nobody_is_no_success(project_root):
    for content in (b"", b"<html>welcome</html>", b"{}", b"[1]"):
        with server((200, {}, content)) as (uri, _):
            assert "no MLflow server" in refused(add(project_root, uri))


@pytest.mark.parametrize(
    "uri",
    [
        *("http://mlflow.example", "http://127.0.0.1.evil.example", "http://127.0.0.1@evil.example"),
        *("http://a:b@127.0.0.1", "ftp://127.0.0.1", "ftp://localhost", "x"),
    ],
)
def test_no_password_goes_where_others_may_read_it(project_root, uri):
    assert "--" in refused(add(project_root, uri))


def test_a_server_that_says_whom_it_added_is_believed(project_root):
    with server((200, {}, json.dumps({"user": {"username": "carol"}}).encode())) as (uri, seen):
        assert add(project_root, uri).returncode == 0
    assert seen[0][:2] == ("POST", "/api/2.0/mlflow/users/create")
