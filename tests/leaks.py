"""What a test leaves behind: threads, child processes, sockets, temporary files, shared memory; and where each began.

The folder that it works in counts, too: the next test begins there.

A test that leaves any fails, and so does the last one if a fixture of a wider scope does.
"""

import ctypes
import gc
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from multiprocessing import shared_memory
from pathlib import Path
from weakref import WeakKeyDictionary

import pytest

from tests import warm

PATIENCE = 10.0  # s, for what is ending by itself: data-loader workers look every 5 s whether they are still wanted

# What may stay, by a part of its description, because it is the process's own and not the test's.
ALLOWED = {
    "(TMonitor)": "tqdm starts one thread for all bars",
    "from multiprocessing.resource_tracker import main": "Python starts one process for all shared memory",
    "from multiprocessing.forkserver import main": "Python starts one process for all workers",
    "/tests/warm.py": "starts once, and stops with the last worker",
    "/warm-": "and its commands",
    "/torchelastic_": "torchrun leaves its folder for logs",
    "/torchinductor_": "torch keeps compiled code there, in one folder a user",
}

Leaks = dict[object, str]

_names: dict[str, str] = {}  # where what has a name or a number began
_told: set[object] = set()  # so that no other test is blamed for it
_objects: WeakKeyDictionary[object, str] = WeakKeyDictionary()  # and threads and sockets


def _stack() -> str:
    """The innermost calls in code that is neither Python's own, nor pytest's, nor this module's."""
    frame, calls = sys._getframe(1), []
    while frame is not None and len(calls) < 4:
        path, name = frame.f_code.co_filename, frame.f_code.co_name
        passed = path == __file__ or path.startswith("<") or "/_pytest/" in path or "/pluggy/" in path
        if not passed and ("site-packages" in path or not path.startswith(f"{sys.base_prefix}/lib")):
            calls.append(f"{path}:{frame.f_lineno} {name}")
        frame = frame.f_back
    return " < ".join(calls) or "a place that is not known"


def _noting(function: Callable, note: Callable[..., None]) -> Callable:
    @wraps(function)
    def noted(*arguments: object, **options: object) -> object:
        result = function(*arguments, **options)
        note(result, *arguments)
        return result

    return noted


def _by_object(_: None, item: object, *__: object) -> None:
    _objects[item] = _stack()


def _memory(_: None, memory: shared_memory.SharedMemory, *__: object) -> None:
    if memory._flags & os.O_CREAT:  # it is made here, not found
        _names[memory._name.lstrip("/")] = _stack()


def pytest_configure() -> None:
    """Note where things begin, take in orphaned grandchildren, and have a folder of one's own for temporary files."""
    threading.Thread.start = _noting(threading.Thread.start, _by_object)
    socket.socket.__init__ = _noting(socket.socket.__init__, _by_object)
    shared_memory.SharedMemory.__init__ = _noting(shared_memory.SharedMemory.__init__, _memory)
    subprocess.Popen.__init__ = _noting(
        subprocess.Popen.__init__, lambda _, child, *__: _names.update({str(child.pid): _stack()})
    )
    tempfile.mkdtemp = _noting(tempfile.mkdtemp, lambda path, *_: _names.update({str(path): _stack()}))
    tempfile.mkstemp = _noting(tempfile.mkstemp, lambda made, *_: _names.update({str(made[1]): _stack()}))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # tmp_path stays where it was
    os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp(prefix="tests-")
    warm.shared = Path(tempfile.tempdir).parent if "PYTEST_XDIST_WORKER" in os.environ else Path(tempfile.tempdir)
    Path(tempfile.tempdir).chmod(0o711)  # other accounts enter it, as they enter /tmp


def pytest_unconfigure() -> None:
    """Remove the folder."""
    warm.stop()
    shutil.rmtree(tempfile.tempdir, ignore_errors=True)
    tempfile.tempdir = None
    del os.environ["TMPDIR"]


def _threads() -> Leaks:
    return {item: _thread(item) for item in threading.enumerate() if item is not threading.current_thread()}


def _thread(item: threading.Thread) -> str:
    target = getattr(getattr(item, "_target", None), "__qualname__", type(item).__name__)
    return f"thread {item.name} ({target}) of {_objects.get(item, 'a place that is not known')}"


def _children() -> Leaks:
    """Processes whose parent is this one, but those that have ended and are not waited for yet."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return {}
    found = {}
    for task in _listed("/proc/self/task"):
        for pid in _text(f"/proc/self/task/{task}/children").split():
            state = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1]
            command = _text(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
            if state not in ([], ["Z"]):
                found[pid] = f"child process {pid} ({command[:300]}) of {_names.get(pid, 'another process or a fork')}"
    return found


def _text(path: str) -> str:
    """Of a file in /proc; none of a thread or process that has ended meanwhile."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _sockets() -> Leaks:
    found = {}
    for number in _listed("/proc/self/fd"):
        name = _target(f"/proc/self/fd/{number}")
        if name.startswith("socket:"):
            found[name] = number
    return found


def _target(link: str) -> str:
    """Of a link in /proc; none where there is no such link."""
    try:
        return os.readlink(link)  # noqa: PTH115
    except OSError:
        return ""


def _socket(number: str) -> str:
    for item in list(_objects):
        if isinstance(item, socket.socket) and item.fileno() == int(number):
            return f"{item!r} of {_objects[item]}"
    return f"socket with descriptor {number}, which is none of Python's"


def _temporary() -> Leaks:
    paths = [f"{tempfile.tempdir}/{name}" for name in _listed(tempfile.tempdir)]
    return {path: f"temporary {path} of {_names.get(path, 'another process')}" for path in paths}


def _shared_memory() -> Leaks:
    """Blocks that this process made: those of others lie in the same folder."""
    own = [name for name in _listed("/dev/shm") if name in _names or name.startswith(f"torch_{os.getpid()}_")]
    return {name: f"shared memory {name} of {_names.get(name, 'torch')}" for name in own}


def _folder() -> Leaks:
    """Where the next test begins."""
    place = _target("/proc/self/cwd")
    return {place: f"current folder {place} instead of that before"}


def _listed(folder: str | None) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208  as names, which is all that is wanted of hundreds
    except OSError:
        return []


KINDS: tuple[Callable[[], Leaks], ...] = (_threads, _children, _sockets, _temporary, _shared_memory, _folder)


def _left(before: list[Leaks]) -> Leaks:
    found = {}
    for kind, old in zip(KINDS, before, strict=True):
        for key, text in kind().items():
            if key not in old and (kind, key) not in _told:
                said = _socket(text) if kind is _sockets else text
                if not any(part in said for part in ALLOWED):
                    found[kind, key] = said
    return found


def _collect_young() -> None:
    """All but what was alive the last time: what torch and MLflow hold takes 0.2 s of CPU, which is paid once."""
    gc.collect()
    gc.freeze()


def _collect_all() -> None:
    gc.unfreeze()
    gc.collect()


@contextmanager
def leaving_nothing() -> Iterator[None]:
    """Fail the test that leaves something behind."""
    before = [kind() for kind in KINDS]
    yield
    if not _left(before):
        return
    for collect, patience in ((lambda: gc.collect(1), 0.1), (_collect_young, 0.1), (_collect_all, PATIENCE)):
        collect()
        end = time.monotonic() + patience
        while (left := _left(before)) and time.monotonic() < end:
            time.sleep(0.02)
        if not left:
            break
    if left:
        _told.update(left)
        pytest.fail("\n  ".join(["left behind:", *left.values()]), pytrace=False)


@pytest.fixture(autouse=True)
def nothing_of_the_test_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """Marked `leaves(why)`, a test may leave what a library in this process never gives up."""
    if request.node.get_closest_marker("leaves"):
        yield
        _told.update(key for kind in KINDS for key in ((kind, item) for item in kind()))
        return
    with leaving_nothing():
        yield


@pytest.fixture(autouse=True, scope="session")
def nothing_of_the_fixtures_stays() -> Iterator[None]:
    with leaving_nothing():
        yield
