"""Ctrl-C, at whatever moment: one line, exit code 130, nothing of the processes that were begun."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines import labels, running
from tests.settings import copy_profile
from wsss_mm import interrupts
from wsss_mm.cli.main import main
from wsss_mm.errors import InputError
from wsss_mm.interrupts import INTERRUPTED, ended_children, interruptible
from wsss_mm.slides import phantom

OF_COMMANDS = "wsss-mm: interrupted; the same command goes on where it stopped\n"
OF_STAGES = "interrupted; dvc repro goes on where it stopped\n"
PHANTOM = str(Path(phantom.__file__).parent)
LONG = 60  # s, the end of what ends by itself

PRESS = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\n"
BEGIN = """
import atexit, os, signal, sys, threading, time
from wsss_mm.interrupts import _State, run_program, say_when_interrupted

say_when_interrupted("line")

def press():
    os.kill(os.getpid(), signal.SIGINT)

def wait():
    time.sleep(60)

def until_it_leaves():
    while not _State.leaving:
        time.sleep(0.01)
"""


def ended(folder, root, *command):
    """Stderr and the code of a program, which may import what lies in a folder."""
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{root}"}
    done = subprocess.run(
        [sys.executable, *command], cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=LONG
    )
    return done.stderr, done.returncode


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (("-m", "pipelines.candidates"), OF_STAGES),
        (("-m", "pipelines", "labels"), OF_STAGES),
        (("-c", "from wsss_mm.cli.main import main; raise SystemExit(main(['doctor']))"), OF_COMMANDS),
    ],
)
def test_while_a_program_is_imported(tmp_path, project_root, command, line):
    """The package of all stages hears it before any stage is imported, that of the commands before any of them."""
    for name in ("pydantic", "yaml"):
        (tmp_path / f"{name}.py").write_text(f"{PRESS}time.sleep({LONG})\n")
    assert ended(tmp_path, project_root, *command) == (line, INTERRUPTED)


PASSED_OVER = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
except BaseException:
    pass
import again
"""
MOMENTS = {
    "an import that passes over all errors": "import presses",
    "an import that makes other errors of it": """
try:
    import presses
except BaseException as error:
    raise ImportError("initialization failed") from error
""",
    "an extension module that makes other errors of it": """
import importlib.util
from importlib.machinery import ExtensionFileLoader

class Loader(ExtensionFileLoader):
    def create_module(self, spec):
        return None

    def exec_module(self, module):
        try:
            press()
            for _ in range(100):
                pass
        except KeyboardInterrupt:
            print("heard in it", file=sys.stderr)

class Finder:
    def find_spec(name, *_):
        return importlib.util.spec_from_loader(name, Loader(name, "made.so")) if name == "made" else None

sys.meta_path.insert(0, Finder)
try:
    import made
except ImportError:
    pass
wait()
""",
    "a place where Python passes over errors": """
class Last:
    def __del__(self):
        press()
        for _ in range(100):
            pass

def work():
    Last()
    wait()

run_program(work, "line")
""",
    "work that passes over all errors": """
def work():
    try:
        press()
        wait()
    except BaseException:
        pass

run_program(work, "line")
""",
    "work that makes other errors of it": """
def work():
    try:
        press()
        wait()
    except BaseException:
        raise SystemExit(2)

run_program(work, "line")
""",
    "the wait for threads in the end": """
def work():
    threading.Thread(target=lambda: (until_it_leaves(), press())).start()

run_program(work, "line")
""",
    "what is done at exit": """
atexit.register(press)
run_program(lambda: 0, "line")
""",
    "what is done at exit, after a failure": """
atexit.register(press)
run_program(lambda: sys.exit("why"), "line")
""",
    "beside a process that was forked": """
def work():
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, b"ready")
        wait()
    os.read(reading, 5)
    os.kill(child, signal.SIGINT)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
    press()
    wait()

run_program(work, "line")
""",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_it_is_one_line_in(moment, tmp_path, project_root):
    (tmp_path / "presses.py").write_text(PASSED_OVER)
    (tmp_path / "again.py").write_text("import time\ntime.sleep(60)")
    said, code = ended(tmp_path, project_root, "-c", BEGIN + MOMENTS[moment])
    before = "why\n" if "failure" in moment else ""
    assert (said, code) == (f"{before}line\n", INTERRUPTED)


ENDS = {
    "return": ("return", "", 0),
    "code": ("return 3", "", 3),
    "exit": ("sys.exit(4)", "", 4),
    "why": ("sys.exit('why')", "why\n", 1),
    "nothing": ("sys.exit()", "", 0),
    "error": ("raise ValueError('why')", "ValueError: why\n", 1),
    "full": ("sys.stdout = open('/dev/full', 'w'); sys.stdout.write('x')", "", 120),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_program_ends_as_without_it(end, tmp_path, project_root):
    how, says, wanted = ENDS[end]
    last = f"open({str(tmp_path / 'last')!r}, 'a').write"
    code = f"{BEGIN}\ndef work():\n    atexit.register(lambda: {last}('atexit'))"
    code += f"\n    threading.Thread(target=lambda: (until_it_leaves(), {last}('thread '))).start()"
    code += f"\n    {how}\nrun_program(work, 'line')"
    said, found = ended(tmp_path, project_root, "-c", code)
    assert found == wanted
    assert said.endswith(says) and bool(said) == bool(says)
    assert (tmp_path / "last").read_text() == "thread atexit"


@pytest.fixture
def heard(monkeypatch):
    """Ctrl-C is heard by this process as by those that are begun for a stage or a command."""
    before = signal.signal(signal.SIGINT, interrupts._hear)
    monkeypatch.setattr(interrupts._State, "pressed", False)
    yield
    signal.signal(signal.SIGINT, before)


def press():
    signal.raise_signal(signal.SIGINT)


AFTER = [None, KeyboardInterrupt(), InputError("why"), OSError("why"), RuntimeError("why"), SystemExit(2)]


@pytest.mark.parametrize("after", AFTER, ids=repr)
@pytest.mark.parametrize("where", ["explained", "unchanged_inputs", "load_params", "check", "stage"])
def test_at_every_step_of_a_stage(where, after, tmp_path, monkeypatch, capsys, heard):
    """Whatever becomes of it: nothing at all, itself, or another error."""
    copy_profile(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "log_to_stderr", lambda *_: None)
    monkeypatch.setattr(running, "check", lambda *_: None)
    called = getattr(running, where, lambda _: None)

    def pressed(*arguments):
        try:
            press()
            assert False, "not heard"  # noqa: B011
        except KeyboardInterrupt:
            if after is not None:
                raise after from None
        return called(*arguments)

    if where != "stage":
        monkeypatch.setattr(running, where, pressed)
    with pytest.raises(SystemExit) as ended_:
        running.run_stage(pressed if where == "stage" else lambda _: None)
    assert ended_.value.code == INTERRUPTED
    assert capsys.readouterr().err == OF_STAGES


def at_line(number, work):
    """Press Ctrl-C when so many lines of the project have run; whether there were so many, and what work gave."""
    left, main_thread = [number], threading.current_thread()

    def trace(frame, event, _):
        if threading.current_thread() is not main_thread or "wsss_mm/" not in frame.f_code.co_filename:
            return None
        if frame.f_code.co_filename.endswith("interrupts.py"):
            return None
        if event == "line":
            left[0] -= 1
            if left[0] == 0:
                sys.settrace(None)
                press()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return interruptible(work, "outside"), left[0] <= 0
    finally:
        sys.settrace(before)


def stage_labels():
    try:
        running.run_stage(labels.main)
    except SystemExit as error:
        return error.code
    return 0


WORKS = {
    "stage labels": stage_labels,
    "labels import": lambda: main(["--quiet", "labels", "import", "--reader", "bob", "given.csv"]),
    "labels export": lambda: main(["--quiet", "labels", "export", "out.csv"]),
    "labels agreement": lambda: main(["--quiet", "labels", "agreement"]),
    "quarantine add": lambda: main(
        ["--quiet", "quarantine", "add", "--slide", "s1", "--force", "--reason", "x", "--reviewer", "me"]
    ),
    "profile": lambda: main(["--quiet", "profile", "phantom", "--source", PHANTOM]),
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory, project_root):
    """A project with a journal of labels."""
    lab = tmp_path_factory.mktemp("lab")
    copy_profile(lab)
    shutil.copytree(project_root / "vocabularies", lab / "vocabularies")
    shutil.copyfile(project_root / "dvc.yaml", lab / "dvc.yaml")
    (lab / "given.csv").write_text("slide_id,x,y,labels\ns1,0,0,TE\ns1,224,0,TAS\n")
    return lab


@pytest.fixture(scope="module")
def lines(lab, tmp_path_factory):
    """How many lines of the project each work runs, and the files it leaves."""
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wsss_mm.interrupts._State.pressed", False)
        for name, work in WORKS.items():
            root = tmp_path_factory.mktemp("calm") / "project"
            shutil.copytree(lab, root)
            patch.chdir(root)
            assert main(["--quiet", "labels", "import", "--reader", "ann", "given.csv"]) == 0
            shutil.copytree(root / "labels", lab / "labels", dirs_exist_ok=True)
            count = [0]

            def trace(frame, event, _, count=count):
                if "wsss_mm/" not in frame.f_code.co_filename or frame.f_code.co_filename.endswith("interrupts.py"):
                    return None
                count[0] += event == "line"
                return trace

            before = sys.gettrace()
            sys.settrace(trace)
            code = work()
            sys.settrace(before)
            assert code == 0, name
            made[name] = count[0], files(root)
    return made


def files(root):
    """Names of the files of a project, without what is only there while somebody writes."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", WORKS)
def test_at_any_line_of(name, lab, lines, tmp_path_factory, monkeypatch, capsys, heard):
    count, wanted = lines[name]
    monkeypatch.setattr(running, "check", lambda *_: None)
    monkeypatch.setattr("wsss_mm.cli.main.log_to_stderr", lambda *_: None)
    monkeypatch.setattr(running, "log_to_stderr", lambda *_: None)
    line = OF_STAGES if name.startswith("stage") else OF_COMMANDS

    @settings(
        max_examples=10 if count < 5000 else 2, suppress_health_check=list(HealthCheck), database=None, derandomize=True
    )
    @given(st.integers(1, count))
    def at_any(number):
        root = tmp_path_factory.mktemp("pressed") / "project"
        shutil.copytree(lab, root)
        monkeypatch.chdir(root)
        capsys.readouterr()
        code, reached = at_line(number, WORKS[name])
        if reached:
            assert (capsys.readouterr().err in (line, "outside\n"), code) == (True, INTERRUPTED)
        assert WORKS[name]() == 0
        assert files(root) == wanted

    at_any()


def test_what_processes_are_at_is_not_waited_for():
    context = multiprocessing.get_context("spawn")
    with (
        pytest.raises(KeyboardInterrupt),
        ProcessPoolExecutor(2, mp_context=context) as pool,
        ended_children(),
    ):
        futures = [pool.submit(time.sleep, 10 * LONG) for _ in range(5)]
        while not futures[0].running():
            time.sleep(0.01)
        begun = multiprocessing.active_children()
        raise KeyboardInterrupt
    assert [process.exitcode for process in begun] == [-signal.SIGTERM] * len(begun)
    assert begun and not multiprocessing.active_children()


DRAWING = """
import sys
from pathlib import Path
from wsss_mm.cli import LINE
from wsss_mm.interrupts import run_program
from wsss_mm.slides.phantom.cohort import generate_cohort

if __name__ == "__main__":
    draw = lambda: print(len(generate_cohort(Path(sys.argv[1]), {"train": 300}, 256, 0, workers=2, progress=False)))
    run_program(draw, LINE)
"""


@pytest.mark.slow
def test_processes_that_were_begun_end_without_a_word(tmp_path, project_root):
    """A terminal sends Ctrl-C to all of them."""
    (tmp_path / "drawing.py").write_text(DRAWING)
    with subprocess.Popen(
        [sys.executable, tmp_path / "drawing.py", tmp_path / "cohort"],
        env={**os.environ, "PYTHONPATH": str(project_root)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while not list(tmp_path.glob("cohort/truth/*.tif")):
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=LONG)[1]
    assert (said, process.returncode) == (OF_COMMANDS, INTERRUPTED)
