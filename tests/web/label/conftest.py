"""A browser for each process that tests, its readers, and a page that is served to them."""

from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pytest

from tests.web.conftest import watched
from tests.web.label.project import make_project, read_cohort
from tests.web.label.screen import DESK
from tests.wsi.viewer.serving import served
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.web.label import server
from wsss_mm.web.label.doors import Doors
from wsss_mm.web.label.session import Options, Session
from wsss_mm.web.label.thinking import Seen


@pytest.fixture
def browse(chromium):
    """Opens the page as a reader, in a profile of its own; what the page complains of fails the test."""
    with watched(chromium) as empty:

        def start(port, reader="ann", size=DESK, scheme="light", **options):
            page = empty(size, scheme, **options)
            page.goto(f"http://127.0.0.1:{port}/?reader={reader}")
            page.wait_for_selector("html[data-ready]")
            return page

        yield start


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A folder with three slides, and its candidates; not to be written to."""
    folder = tmp_path_factory.mktemp("project")
    return folder, make_project(folder)


class Serving:
    """Serves the page; features, where wanted, are made up, so that map and suggestions are known beforehand."""

    def __init__(self, folder, frame, tmp_path, monkeypatch):
        self._folder, self._frame, self._tmp_path, self._monkeypatch = folder, frame, tmp_path, monkeypatch
        self.stack = ExitStack()

    def __call__(self, readers=("ann", "bob"), **options):
        """Begin; gives the port."""
        self._app = self._make(readers, **options)
        return self.stack.enter_context(served(self._app))

    def change(self, readers=("ann", "bob"), **options):
        """Serve something else at the same port, as a server that was started anew."""
        self._app.wsgi_app = self._make(readers, **options).wsgi_app

    def _make(self, readers, *, scores=None, points=None, vocabulary=None, candidates=None, cohort=None):
        known = scores is not None or points is not None
        self._monkeypatch.setattr("wsss_mm.web.label.session.Thinking", lambda *_: Known(scores, points))
        session = Session(
            self._frame if candidates is None else candidates,
            cohort or read_cohort(self._folder),
            vocabulary or get_vocabulary("luad_normal"),
            readers,
            journals=self._tmp_path / "labels",
            options=Options(features=known),
        )
        self.stack.callback(session.close)
        return server.make_app(session, Doors(readers, self._tmp_path / "server", guarded=False))


@pytest.fixture
def serving(project, tmp_path, monkeypatch):
    found = Serving(*project, tmp_path, monkeypatch)
    with found.stack:
        yield found


@dataclass
class Known:
    """What is otherwise thought about the candidates in a process of its own."""

    scores: np.ndarray | None
    map: np.ndarray | None
    progress = 1.0

    def ask(self, name, *arguments):
        return getattr(self, name)(*arguments)

    def close(self):
        pass

    def features(self):
        return Seen("statistics", self.scores)

    def points(self):
        return self.map

    def picks(self, order, seen, states, n, seed):
        return [(int(row), order) for row in np.flatnonzero(~seen)[:n]]

    def similar(self, row, n):
        return [row, *range(n)]

    def doubts(self, states):
        return []

    def curve(self, states):
        values = [0.5, 0.61, 0.66]
        return {
            "labels": [50, 100, 150],
            "mean_ap": values,
            "low": values,
            "high": values,
            "slope": 0.05,
            "advice": "Go on.",
        }
