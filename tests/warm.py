"""Stages start in a process that has the libraries already, where a test wants what they make and not how they start.

`python -m pipelines.STAGE` imports torch, mmseg, MLflow or Great Expectations for 3 to 5 s of CPU, and the tests start
a hundred of them. Here one process imports them for all workers of pytest, none of them the project's own, and forks
for whoever asks it through `python` or `wsss-mm` in `commands()`, which stand in front in the PATH of
`tests.line.Line`; `python -c` has them, too. So does `dvc`, in a folder of its own: it is the same wherever the stages
begin.
"""

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

LIBRARIES = (
    *("torch", "torch._dynamo", "torch.utils.data", "mmseg.models", "mmseg.apis", "mmengine.runner", "mmengine.hooks"),
    *("great_expectations", "mlflow", "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store"),
    *("pandas", "pyarrow.parquet", "pyarrow.compute", "scipy.ndimage", "sklearn.metrics", "cv2", "openslide"),
    *(
        "tifffile",
        "matplotlib.figure",
        "matplotlib.backends.backend_agg",
        "shapely",
        "pydantic",
        "ruamel.yaml",
        "jinja2",
    ),
    *("dvc.cli.parser", "dvc.repo", "dvc.repo.plots", "dvc_http", "dvc_data.index", "dvc_data.hashfile.build"),
    *("dvc_data.hashfile.db.local", "dvc.repo.experiments.executor.local", "sqltrie", "networkx"),
)

_CLIENT = """\
import json, os, signal, socket, sys
given = sys.argv[1:]
name = os.path.basename(sys.argv[0])
if name in ("wsss-mm", "dvc"):
    given = ["-m", "wsss_mm.cli.main" if name == "wsss-mm" else "dvc", *given]
ours = given[:1] == ["-m"] and given[1].partition(".")[0] in ("pipelines", "wsss_mm", "dvc")
if not ours and given[:1] != ["-c"]:
    os.execv({python!r}, [{python!r}, *given])
asked = {{"how": given[0], "what": given[1], "arguments": given[2:]}}
asked |= {{"cwd": os.getcwd(), "environment": dict(os.environ)}}
mask = os.umask(0)
os.umask(mask)
asked = json.dumps({{**asked, "umask": mask}}).encode()
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [len(asked).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(asked)
    answer = server.makefile("r")
    child = int(answer.readline())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(child, number))
    status = answer.readline()
sys.exit(int(status) if status else 137)
"""

DVC = "bin"
"""The folder of `dvc`, in that of the commands."""

COMMAND = """\
import runpy
os.dup2(2, 1)
runpy.run_module("wsss_mm.cli.main", run_name="__main__", alter_sys=True)
"""
"""Code of a `WarmProcess` that is `wsss-mm arguments`, and writes all it says to its standard error."""


def script(code: str, *options: str) -> str:
    """A file that the shell runs as Python, which may lie in a folder with spaces: `#!` takes none.

    Its second line is a command to the shell, and to Python a text that ends with the third.
    """
    command = shlex.join([sys.executable, *options])
    return f"#!/bin/sh\n'''exec' {command} \"$0\" \"$@\"\n' '''\n{code}"


shared = Path(tempfile.gettempdir())
"""Folder that all processes of pytest have in common; set where they begin."""

_running: list[tuple[int, subprocess.Popen | None]] = []


def commands() -> Path:
    """The folder of the commands; the process behind them is started by the first who asks, for all workers."""
    folder = shared / "warm-commands"
    if not _running:
        with FileLock(f"{folder}.lock"):
            try:
                _running.append((_hold(folder), None))
            except OSError:  # there is none, or all who held it have ended
                _running.append(_start(folder))
    return folder


def python() -> str:
    """Python with the libraries, for `-c` and for modules of the project with `-m`."""
    return str(commands() / "python")


def dvc() -> str:
    """The command `dvc`, whose stages begin wherever the PATH says."""
    return str(commands() / DVC / "dvc")


def _hold(folder: Path) -> int:
    """It lives as long as one holds this; an error if it does not."""
    return os.open(folder / "held", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def _start(folder: Path) -> tuple[int, subprocess.Popen]:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / DVC).mkdir(parents=True)
    address = str(folder / "socket")
    for name in ("python", "wsss-mm", f"{DVC}/dvc"):
        path = folder / name
        path.write_text(script(_CLIENT.format(python=sys.executable, address=address), "-IS"))
        path.chmod(0o755)
    os.mkfifo(folder / "held")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "GX_ANALYTICS_ENABLED": "false"}
    with open(os.open(folder / "held", os.O_RDONLY | os.O_NONBLOCK)) as read:  # noqa: PTH123  so opening waits for nobody
        holding = _hold(folder)
        process = subprocess.Popen(
            [sys.executable, __file__, address],
            env=environment,
            cwd=folder,
            stdin=read,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        raise RuntimeError(f"it did not start; see what {shlex.join([sys.executable, __file__, address])} says")
    return holding, process


class WarmProcess(subprocess.Popen):
    """`python -c code arguments` in a process that has the libraries; what ends it hits that process itself."""

    def __init__(self, code: str, *arguments: object, **options: Any) -> None:
        command = [commands() / "python", "-c", f"import os\nprint(os.getpid(), flush=True)\n{code}"]
        super().__init__([*map(str, command), *map(str, arguments)], stdout=subprocess.PIPE, text=True, **options)
        assert self.stdout is not None
        self.forked = int(self.stdout.readline())

    def send_signal(self, sig: int) -> None:
        """To the process that was forked; this one ends with it."""
        os.kill(self.forked, sig)


def stop() -> None:
    """At the end of pytest; it ends with the last worker that holds it."""
    while _running:
        holding, process = _running.pop()
        os.close(holding)
        if process is not None and "PYTEST_XDIST_WORKER" not in os.environ:
            process.communicate()


def _serve(address: str) -> None:
    """Fork for each who asks, until the input closes."""
    import gc
    import importlib
    import select

    gc.disable()
    for name in LIBRARIES:
        importlib.import_module(name)
    remember = partial(importlib.import_module("warm_yaml").remember, Path(address).with_name("yaml"))
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
    gc.enable()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen(64)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            ready, _, _ = select.select([server, sys.stdin], [], [], 1)
            _reap()
            if sys.stdin in ready:
                return
            if server in ready:
                asking, _ = server.accept()
                with asking:
                    if not os.fork():
                        server.close()
                        _wait(asking, remember)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _wait(asking: socket.socket, remember: Callable[[], None]) -> None:
    """Between the two: tells how a child ended, however it did; does not return."""
    if not (child := os.fork()):
        _run(asking, remember)
    asking.sendall(f"{child}\n".encode())
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    asking.sendall(f"{status if status >= 0 else 128 - status}\n".encode())
    os._exit(0)


def _run(asking: socket.socket, remember: Callable[[], None]) -> None:
    """In the child: as `python -m module arguments`, or `-c code`, where it was asked for; does not return."""
    import atexit
    import runpy
    import threading
    import traceback
    import types

    length, descriptors, _, _ = socket.recv_fds(asking, 8, 3)
    with asking.makefile("rb") as stream:
        asked = json.loads(stream.read(int.from_bytes(length, "big")))
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  other files lie behind them now
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(asked["cwd"])
    os.umask(asked["umask"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    tempfile.tempdir = None
    path = asked["environment"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [asked["cwd"], *filter(None, path)]
    sys.argv = [asked["how"], *asked["arguments"]]
    asking.close()
    status = 0
    try:
        if asked["what"] == "dvc":
            remember()
        if asked["how"] == "-m":
            runpy.run_module(asked["what"], run_name="__main__", alter_sys=True)
        else:
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(asked["what"], "<string>", "exec"), main.__dict__)
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve(sys.argv[1])
