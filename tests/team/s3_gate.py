"""A gate before the S3 endpoint, through which all of its traffic goes, and which can be made to fail."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

EXPIRED = (
    b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>ExpiredToken</Code>"
    b"<Message>The provided token has expired.</Message></Error>"
)
_OF_THE_LINK = {"connection", "content-length", "transfer-encoding", "expect", "keep-alive"}


class S3Gate:
    """Passes requests on.

    Attributes:
        cut_after: Uploads that still get through; those after them find the connection closed. None: all do.
        expired: Access keys whose requests are answered with ExpiredToken.
    """

    def __init__(self, endpoint: str) -> None:
        self.cut_after: int | None = None
        self.expired: set[str] = set()
        self._lock = threading.Lock()
        gate, target = self, urlsplit(endpoint)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def handle_any(self) -> None:
                body = self._body()
                if any(f"Credential={key}/" in self.headers.get("Authorization", "") for key in gate.expired):
                    self._answer(400, [("Content-Type", "application/xml")], EXPIRED)
                    return
                if self.command == "PUT" and not gate.lets_through():
                    self.close_connection = True
                    self.connection.close()
                    return
                link = http.client.HTTPConnection(target.hostname or "", target.port or 80, timeout=120)
                headers = {key: value for key, value in self.headers.items() if key.lower() not in _OF_THE_LINK}
                link.request(self.command, self.path, body, headers)
                answer = link.getresponse()
                content = answer.read()
                kept = [(key, value) for key, value in answer.getheaders() if key.lower() not in _OF_THE_LINK]
                if self.command == "HEAD":
                    kept += [("Content-Length", answer.getheader("Content-Length") or "0")]
                self._answer(answer.status, kept, content)
                link.close()

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any

            def _body(self) -> bytes:
                if "Expect" in self.headers:
                    self.send_response_only(100)
                    self.end_headers()
                if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
                self.send_response_only(status)
                for key, value in headers:
                    self.send_header(key, value)
                if self.command != "HEAD":
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # a client that went away
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def lets_through(self) -> bool:
        with self._lock:
            if self.cut_after is None:
                return True
            self.cut_after -= 1
            return self.cut_after >= 0

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
