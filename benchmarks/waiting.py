"""What people wait for at the command line: help, doctor, a line in which nothing is to be done, a gate.

Each is a new process, in CPU time of it and all that it starts, which is what it takes on a machine that nobody else
uses as long as one core does it. The last two need a project whose line is finished, this one or `--project`.

    python -m benchmarks.waiting --project FOLDER
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.command import Option, clocked, cpu_of_children, run, say
from benchmarks.rows import ROOT, Measurement
from wsss_mm import places
from wsss_mm.dvc_files import LOCK

OPTIONS = {"project": Option(ROOT, ROOT, "folder of a project, whose own code runs", kind=Path)}
Timed = tuple[Sequence[str | Path], float]
BIN = Path(sys.executable).parent
COMMANDS: dict[str, Timed] = {  # by what: the command, and seconds at most
    "wsss-mm --help": ((BIN / "wsss-mm", "--help"), 0.5),
    "wsss-mm doctor": ((BIN / "wsss-mm", "doctor"), 5),
}
NOTHING_TO_DO: Timed = ((BIN / "dvc", "repro"), 5)
GATE: Timed = ((sys.executable, "-m", "pipelines.gate", "patches"), 10)


def started(command: Sequence[str | Path], project: Path) -> int:
    """Exit status of a command in a project, whose output nobody reads."""
    environment = os.environ | {"PYTHONPATH": str(project), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"TQDM_DISABLE": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "GX_ANALYTICS_ENABLED": "false"}
    done = subprocess.run(
        command, cwd=project, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    return done.returncode


def is_finished(project: Path) -> bool:
    """Whether DVC has nothing to do there."""
    return (project / LOCK).is_file() and not started((BIN / "dvc", "status", "--quiet"), project)


def measure(arguments) -> Iterator[Measurement]:
    listed, project = dict(COMMANDS), arguments.project
    if is_finished(project):
        listed["dvc repro, nothing to be done"] = NOTHING_TO_DO
    else:
        say(f"no dvc repro: the line of {project} is not finished; make repro, or --project FOLDER")
    if (manifest := project / places.PATCHES / places.MANIFEST).is_file():
        patches = pq.read_metadata(manifest).num_rows
        listed[f"gate patches, {patches} of them"] = GATE
    else:
        say(f"no gate: {project} has no patches; make repro, or --project FOLDER")
    for what, (command, at_most) in listed.items():
        work = partial(started, command, project)
        times = [clocked(work, cpu_of_children) for _ in range(arguments.repeats + 1)]
        yield Measurement(what, times[1:], "s", at_most=at_most)


if __name__ == "__main__":
    sys.exit(run(measure, OPTIONS))
