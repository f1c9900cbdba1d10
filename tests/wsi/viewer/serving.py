"""The viewer, served while a test looks at it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from flask import Flask
from werkzeug import serving

from wsss_mm.serving import serve


@contextmanager
def served(app: Flask) -> Iterator[int]:
    """Serve it in a thread that ends with the block; gives the port."""
    servers, ports, started, make = [], [], threading.Event(), serving.make_server

    def noted(*arguments, **options):
        servers.append(make(*arguments, **options))
        return servers[-1]

    def announce(port):
        ports.append(port)
        started.set()

    with patch.object(serving, "make_server", noted):
        thread = threading.Thread(target=serve, args=(app, 0, announce))
        thread.start()
        assert started.wait(20)
    try:
        yield ports[0]
    finally:
        servers[0].shutdown()
        thread.join()
