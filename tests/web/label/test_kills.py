"""The server is killed at any moment while readers answer: what was called saved is in the journal, and once.

WSSS_MM_KILLS says how often (200 takes about a quarter of an hour).
"""

import http.client
import os
import random
import threading
import time
from collections import Counter
from uuid import uuid4

import pytest

from tests.web.label.project import Page, make_project, running
from wsss_mm.labelling.journal import Journal, journal_path, read_journals
from wsss_mm.settings import load_params
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.web.label.table import Table

KILLS = int(os.environ.get("WSSS_MM_KILLS", "4"))


class Labeller(threading.Thread):
    """A reader whose page sends again, under the same name, what was not answered.

    `sent` is what it wanted, in order; `saved` the ids that the server called saved, by the name of the request.
    """

    def __init__(self, reader, codes):
        super().__init__(daemon=True)
        self.reader, self.port, self.codes = reader, 0, codes
        self.random = random.Random(reader)
        self.sent, self.saved, self.resent, self.failed = [], {}, 0, None
        self.ending, self.given_up = threading.Event(), threading.Event()

    def begin(self, port):
        self.port = port
        if not self.ident:
            self.start()

    def run(self):
        try:
            page = None
            while not (self.ending.is_set() or self.given_up.is_set()):
                request = self._next()
                self.sent.append(request)
                while request[1] not in self.saved and not self.given_up.is_set():
                    try:
                        page = page or Page(self.port, self.reader)
                        answer = page.post(request[0], request[1], **request[2])
                        self.saved[request[1]] = answer.get("saved", [request[1]])
                    except (OSError, http.client.HTTPException):
                        self.resent, page = self.resent + 1, None
                        time.sleep(0.01)
        except BaseException as error:
            self.failed = error

    def _next(self):
        kind = self.random.choice(["answer"] * 6 + ["skip", "undo", "redo"])
        rows = self.random.sample(range(200), self.random.choice([1, 1, 1, 2, 30]))
        if kind == "answer":
            state = self.random.choice(["present", "absent", "unsure"])
            return "/api/answer", uuid4().hex, {"rows": rows, "classes": {self.codes[0]: state}}
        return f"/api/{kind}", uuid4().hex, {"row": rows[0]} if kind == "skip" else {}


def _expected(sent):
    """What a reader's answers come to, by the rules and without the journal."""
    done, undone = [], []
    for path, _, body in sent:
        if path == "/api/undo" and done:
            undone.append(done.pop())
        elif path == "/api/redo" and undone:
            done.append(undone.pop())
        elif path in ("/api/answer", "/api/skip"):
            done.append(body)
            undone.clear()
    return {row: body["classes"] for body in done for row in body.get("rows", ())}


@pytest.mark.slow
def test_a_killed_server_loses_nothing_that_was_called_saved(tmp_path):
    frame, chance = make_project(tmp_path, slides=1), random.Random(KILLS)
    table, readers = Table(frame), ["ann", "bob"]
    codes = get_vocabulary(load_params(tmp_path / "params.yaml").cohort.vocabulary).codes
    options = ["--reader", *readers, "--no-features"]
    port, labellers = 0, [Labeller(name, codes) for name in readers]
    try:
        for kill in range(KILLS):
            with running(tmp_path, *options, port=port) as (process, port):
                before = [len(labeller.saved) for labeller in labellers]
                for labeller in labellers:
                    labeller.begin(port)
                end = time.monotonic() + 120
                while [len(labeller.saved) for labeller in labellers] == before and time.monotonic() < end:
                    time.sleep(0.001)
                time.sleep(chance.uniform(0, 0.5))
                process.kill()
                process.wait()
            for labeller in labellers:
                assert labeller.failed is None
                _check(labeller, tmp_path / "labels", last=False)
            print(kill + 1, [len(labeller.saved) for labeller in labellers], flush=True)
        with running(tmp_path, *options, port=port):
            for labeller in labellers:
                labeller.ending.set()
                labeller.join(180)
    finally:
        for labeller in labellers:
            labeller.given_up.set()
            labeller.join(180)
    for labeller in labellers:
        assert labeller.failed is None
        _check(labeller, tmp_path / "labels", last=True)
    journals = read_journals(tmp_path / "labels")
    for labeller in labellers:
        found = {table.row_of(answer.place._asdict()): answer.states for answer in journals.answers(labeller.reader)}
        assert found == _expected(labeller.sent)
        assert labeller.resent >= KILLS // 2
    print(f"{KILLS} kills: {[(len(item.saved), item.resent) for item in labellers]} requests saved, and sent again")


def _check(labeller, folder, *, last):
    """Every entry that was called saved is there, and no request was carried out twice."""
    saved = {name: list(ids) for name, ids in list(labeller.saved.items())}
    entries = Journal(journal_path(labeller.reader, folder), labeller.reader).entries()
    ids = Counter(entry["id"] for entry in entries)
    assert set(ids.values()) <= {1}
    nothing = {name for path, name, _ in labeller.sent if path in ("/api/undo", "/api/redo")}
    for name, given in saved.items():
        assert name in nothing or set(given) <= set(ids)
    per_request = Counter(entry.get("step") or entry["id"] for entry in entries)
    wanted = {name: len(body.get("rows", [0])) for _, name, body in labeller.sent}
    assert all(count <= wanted[name] for name, count in per_request.items())
    if last:
        assert all(per_request[name] == wanted[name] for name in saved if name not in nothing)
