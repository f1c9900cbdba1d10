"""Pages that this machine serves: by which names they are asked for, and what browsers may do with them."""

import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm.errors import InputError

if TYPE_CHECKING:
    import ssl

    from _typeshed.wsgi import WSGIApplication
    from flask import Flask, Response

HOST = "127.0.0.1"
LOOPBACK = (HOST, "localhost")
_PATIENCE = 60  # s with a client that says nothing
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src {styles}; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def harden(app: "Flask", hosts: Iterable[str] = (), *, inline_styles: bool = False) -> None:
    """Answer requests to this machine's loopback names alone, and tell browsers to trust the answers with little.

    Args:
        app: the application.
        hosts: further names or addresses that it is asked for by.
        inline_styles: whether its scripts style elements one by one.
    """
    policy = _POLICY.format(styles="'self' 'unsafe-inline'" if inline_styles else "'self'")
    app.config["TRUSTED_HOSTS"] = [*LOOPBACK, *hosts]  # no page of another site reaches this by a name of its own

    @app.after_request
    def headers(response: "Response") -> "Response":
        response.headers.setdefault("Content-Security-Policy", policy)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return response


def posted_object() -> dict[str, Any]:
    """The JSON object of the request that is being answered.

    Raises:
        InputError: it has none.
    """
    from flask import request

    try:
        content = request.get_json(silent=True) if request.mimetype == "application/json" else None
    except RecursionError:  # brackets without end
        content = None
    if not isinstance(content, dict):
        raise InputError("no JSON object; reload the page")
    return content


def serve(
    app: "WSGIApplication",
    port: int,
    started: Callable[[int], None],
    *,
    host: str = HOST,
    certificate: tuple[Path, Path] | None = None,
) -> None:
    """Serve until interrupted.

    Args:
        app: the application, after `harden`.
        port: 0 for any free one.
        started: called with the port.
        host: address to listen at; loopback unless told otherwise.
        certificate: files of a TLS certificate and its key, PEM; plain HTTP if None.

    Raises:
        InputError: the address or port cannot be used, or certificate and key cannot be read.
    """
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Handler(WSGIRequestHandler):
        timeout = _PATIENCE

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    context = None if certificate is None else _tls(*certificate)
    with socket.socket(family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except (OSError, OverflowError) as error:
            where = f"port {port}" if host == HOST else f"{host}, port {port}"
            raise InputError(f"{where}: cannot be used ({error}); choose another with --port") from None
        listening.listen(128)
        server = make_server(host, port, app, threaded=True, request_handler=Handler, fd=listening.fileno())
        if context is not None:  # handshakes wait in threads of their own, and not where all others wait for them
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            server.ssl_context = context
        started(listening.getsockname()[1])
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            server.shutdown()


def _tls(certificate: Path, key: Path) -> "ssl.SSLContext":
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"{certificate}, {key}: no certificate and its key in PEM ({error}); correct them") from None
    return context
