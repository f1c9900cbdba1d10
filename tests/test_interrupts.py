"""Ctrl-C, at whatever moment: one line, exit code 130, nothing of the processes that were begun."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import pytest
import yaml

from wsss_mm.interrupts import INTERRUPTED, ended_children

PRESSED = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"
CODES = (INTERRUPTED, -signal.SIGINT)  # which a shell calls by the same number


def pressed_while_importing(tmp_path, root, *command):
    """Stderr and the code of a program to which Ctrl-C comes while it imports its libraries."""
    for name in ("pydantic", "yaml"):
        (tmp_path / f"{name}.py").write_text(PRESSED)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{root}"}
    done = subprocess.run(
        [sys.executable, *command], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    return done.stderr, done.returncode


def test_while_a_stage_is_imported(tmp_path, project_root):
    commands = [
        stage["cmd"]
        for stage in yaml.safe_load((project_root / "dvc.yaml").read_text())["stages"].values()
        if "cmd" in stage
    ]
    modules = {command.split("-m ")[1].split()[0] for command in commands if "-m pipelines." in command}
    assert len(modules) > 5
    for module in sorted(modules):
        said, code = pressed_while_importing(tmp_path, project_root, "-m", module)
        assert (said, code in CODES) == ("interrupted; dvc repro goes on where it stopped\n", True), module


def test_while_the_command_line_is_imported(tmp_path, project_root):
    said, code = pressed_while_importing(
        tmp_path, project_root, "-c", "from wsss_mm.cli.main import main; raise SystemExit(main(['doctor']))"
    )
    assert (said, code in CODES) == ("wsss-mm: interrupted; the same command goes on where it stopped\n", True)


def test_what_processes_are_at_is_not_waited_for():
    began, context = time.monotonic(), multiprocessing.get_context("spawn")
    with (
        pytest.raises(KeyboardInterrupt),
        ProcessPoolExecutor(2, mp_context=context) as pool,
        ended_children(),
    ):
        futures = [pool.submit(time.sleep, 120) for _ in range(5)]
        while not futures[0].running():
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert time.monotonic() - began < 60
    assert not multiprocessing.active_children()


DRAWING = """
import sys
from pathlib import Path
from wsss_mm.cli import LINE
from wsss_mm.slides.phantom.cohort import generate_cohort

if __name__ == "__main__":
    generate_cohort(Path(sys.argv[1]), {"train": 200}, 256, 0, workers=2, progress=False)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.getloadavg()[0] > 1, reason="beside other work, processes end in another order: run it alone")
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
        for _ in range(600):
            if list(tmp_path.glob("cohort/truth/*.tif")) or process.poll() is not None:
                break
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert len(list(tmp_path.glob("cohort/truth/*.tif"))) < 200
    assert (said, process.returncode in CODES) == (
        "wsss-mm: interrupted; the same command goes on where it stopped\n",
        True,
    )
