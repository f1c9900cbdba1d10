"""A test that leaves something behind fails, and the message says what it is and where it began."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HEAD = """
import gc, multiprocessing, os, shutil, socket, subprocess, sys, tempfile, threading, time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import shared_memory

import pytest
from tests import leaks
from tests.leaks import *

leaks.PATIENCE = 0.3
kept = []
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]

@pytest.fixture(scope="session", autouse=True)
def clean():
    yield
    for item in kept:
        item()
"""

LEAKS = {
    "thread": (
        """
        done = threading.Event()
        thread = threading.Thread(target=done.wait, name="waits")
        thread.start()
        kept.append(done.set)
        """,
        r"thread waits \(Event.wait\) of .*test_it.py:\d+ test_thread",
    ),
    "pool": (
        """
        pool = ThreadPoolExecutor(1, "pool")
        pool.submit(int)
        kept.append(pool.shutdown)
        """,
        r"thread pool_0 \(_worker\) of .*test_it.py:\d+ test_pool",
    ),
    "child": (
        """
        child = subprocess.Popen(SLEEP)
        kept.append(lambda: (child.kill(), child.wait()))
        """,
        r"child process \d+ \(.* import time; time.sleep\(60\)\) of .*test_it.py:\d+ test_child",
    ),
    "orphan": (
        """
        options = "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL"
        code = f"import subprocess; print(subprocess.Popen({SLEEP}, {options}).pid)"
        pid = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        kept.append(lambda: os.kill(pid, 9))
        """,
        r"child process \d+ \(.* import time; time.sleep\(60\)\) of another process",
    ),
    "worker": (
        """
        worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        worker.start()
        kept.append(worker.kill)
        """,
        r"child process \d+ \(.*\) of another process or a fork",
    ),
    "socket": (
        """
        server = socket.create_server(("127.0.0.1", 0))
        kept.append(server.close)
        """,
        r"<socket.socket .*127.0.0.1.* of .*test_it.py:\d+ test_socket",
    ),
    "folder": (
        """
        tempfile.mkdtemp(prefix="mine-")
        """,
        r"temporary .*/mine-\w+ of .*test_it.py:\d+ test_folder",
    ),
    "file": (
        """
        os.close(tempfile.mkstemp(prefix="mine-")[0])
        """,
        r"temporary .*/mine-\w+ of .*test_it.py:\d+ test_file",
    ),
    "a childs folder": (
        """
        subprocess.run([sys.executable, "-c", "import tempfile; tempfile.mkdtemp(prefix='its-')"], check=True)
        """,
        r"temporary .*/its-\w+ of another process",
    ),
    "memory": (
        """
        block = shared_memory.SharedMemory(create=True, size=8)
        kept.append(lambda: (block.close(), block.unlink()))
        """,
        r"shared memory psm_\w+ of .*test_it.py:\d+ test_memory",
    ),
    "another place": (
        """
        before = os.getcwd()
        kept.append(lambda: os.chdir(before))
        os.chdir("/")
        """,
        r"current folder / instead of that before",
    ),
}

CLEAN = """
def test_clean(tmp_path):
    (tmp_path / "file").write_text("mine")
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    with ThreadPoolExecutor(1) as pool, tempfile.TemporaryDirectory(), socket.socket():
        assert pool.submit(int).result() == 0
    block = shared_memory.SharedMemory(create=True, size=8)
    block.close()
    block.unlink()

def test_ends_by_itself():
    threading.Timer(0.1, int).start()
    subprocess.Popen([sys.executable, "-c", ""])

def test_cycle():
    server = socket.create_server(("127.0.0.1", 0))
    ring = [server]
    ring.append(ring)

@pytest.fixture(scope="module")
def serving():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server

def test_first(serving): pass
def test_second(serving): pass
"""


def run(folder: Path, text: str) -> dict[str, str]:
    """Test names to what is said of those that failed."""
    (folder / "test_it.py").write_text(HEAD + text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_XDIST", "COV_"))}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.leaks", "-p", "no:xdist", "test_it.py"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    report = re.split("warnings summary|short test summary", done.stdout)[0]
    parts = re.split(r"_+ ERROR at teardown of (test_\w+) _+\n", report)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    tests = [f"def test_{name.replace(' ', '_')}():{code.rstrip()}\n" for name, (code, _) in LEAKS.items()]
    text = "\n".join(tests).replace("\n        ", "\n    ")
    return run(tmp_path_factory.mktemp("leaks"), text + CLEAN)


@pytest.mark.parametrize("name", LEAKS)
def test_what_is_left_fails_the_test(failed, name):
    said = failed[f"test_{name.replace(' ', '_')}"]
    assert "left behind:" in said
    assert re.search(LEAKS[name][1], said), said
    assert said.count(" of ") == 1  # nothing else


def test_what_ends_or_belongs_to_a_fixture_does_not(failed):
    assert failed.keys() == {f"test_{name.replace(' ', '_')}" for name in LEAKS}


def test_what_a_wide_fixture_leaves_fails_the_last_test(tmp_path):
    text = """
@pytest.fixture(scope="module")
def server():
    global stays
    stays = socket.create_server(("127.0.0.1", 0))

def test_first(server): pass
def test_last(): pass
"""
    failed = run(tmp_path, text)
    assert failed.keys() == {"test_last"}
    assert re.search(r"<socket.socket .*test_it.py:\d+ server", failed["test_last"])
