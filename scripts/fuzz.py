"""Feed damaged files to everything that parses: each input must give a valid object or one line, nothing else.

Every target runs in a process of its own, under a limit of memory and a limit of time for each input, so that a crash,
a hang or a bomb is a finding and not the end. The same seed makes the same inputs. Exit code 0 if nothing was found.
"""

import argparse
import contextlib
import faulthandler
import json
import logging
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from tqdm import tqdm

from wsss_mm import places

_ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_ROOT))

if TYPE_CHECKING:
    from tests.fuzzing.contract import Target

_MEMORY = 1 << 30  # bytes a process may take above what its libraries take
_DEATHS = 20  # of a target, after which it is given up


def main() -> int:
    """Run the targets one after the other and print a table in Markdown."""
    from tests.fuzzing.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000, help="over all targets; fast ones get more")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs")
    parser.add_argument("--seconds", type=float, default=30, help="an input may take; more is a hang")
    parser.add_argument("--only", metavar="TEXT", help="targets whose name holds this")
    parser.add_argument("--keep", type=Path, default=places.WORK / "fuzz", help="gets the inputs that broke something")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return _run(next(target for target in TARGETS if target.name == arguments.child), arguments)
    shutil.rmtree(arguments.keep, ignore_errors=True)
    chosen = [target for target in TARGETS if not arguments.only or arguments.only in target.name]
    total = sum(target.weight for target in chosen)
    found = tried = 0
    sys.stdout.write("| target | inputs | findings | s |\n|---|---|---|---|\n")
    for target in chosen:
        start = time.monotonic()
        done, problems = _supervise(target.name, max(1, round(arguments.inputs * target.weight / total)), arguments)
        found, tried = found + len(problems), tried + done
        listed = "; ".join(f"{problem} ({times} times)" for problem, times in problems.items()) or "none"
        sys.stdout.write(f"| {target.name} | {done} | {listed} | {time.monotonic() - start:.0f} |\n")
        sys.stdout.flush()
    sys.stdout.write(f"| all | {tried} | {found} | |\n")
    return 1 if found else 0


def _supervise(name: str, count: int, arguments: argparse.Namespace) -> tuple[int, dict[str, int]]:
    """Run a target in processes of its own; one that dies is started again behind the input that killed it."""
    problems: dict[str, int] = {}
    done = deaths = 0
    while done < count and deaths < _DEATHS:
        command = [sys.executable, __file__, "--child", name, "--inputs", str(count - done)]
        command += ["--seed", str(arguments.seed + done), "--seconds", str(arguments.seconds)]
        command += ["--keep", str(arguments.keep)]
        process = subprocess.run(command, capture_output=True, check=False)
        told = [json.loads(line) for line in process.stdout.splitlines() if line.startswith(b"{")]
        reached = max((line["done"] for line in told), default=0)
        for line in told:
            problems |= {problem: problems.get(problem, 0) + times for problem, times in line["problems"].items()}
        if process.returncode:
            lines = process.stderr.decode(errors="replace").strip().splitlines() or [""]
            where = next((line.strip() for line in lines if "wsss_mm" in line and "File" in line), lines[-1])
            why = f"the process died ({process.returncode}) at seed {arguments.seed + done + reached}: {where}"
            problems[why] = 1
            deaths, reached = deaths + 1, reached + 1
        done += reached
    return done, problems


def _run(target: "Target", arguments: argparse.Namespace) -> int:
    """Child: input number i is made from seed + i. Says how far it is and what it found."""
    from tests.fuzzing.contract import empty

    logging.disable(logging.CRITICAL)
    _limit(target)
    problems: dict[str, int] = {}
    armed = -arguments.seconds
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for number in tqdm(range(arguments.inputs), desc=target.name, disable=None):
            seed = arguments.seed + number
            _tell(number, {})
            data = target.make(Random(f"{target.name} {seed}"))
            if time.monotonic() - armed > 1:  # arming starts a thread, which for each input would take longer than it
                armed = time.monotonic()
                faulthandler.dump_traceback_later(arguments.seconds, exit=True)
            try:
                target.check(data, work)
            except Exception as error:
                problem = _where(error)
                if problem not in problems:
                    _keep(arguments.keep / target.name.replace(" ", "-"), f"seed-{seed}", data, error)
                problems[problem] = problems.get(problem, 0) + 1
            empty(work)
    faulthandler.cancel_dump_traceback_later()
    _tell(arguments.inputs, problems)
    return 0


def _tell(done: int, problems: dict[str, int]) -> None:
    sys.stdout.write(json.dumps({"done": done, "problems": problems}) + "\n")
    sys.stdout.flush()


def _limit(target: "Target") -> None:
    """Let the libraries load, then limit what the process may take."""
    with tempfile.TemporaryDirectory() as name, contextlib.suppress(Exception):  # found again in its turn
        target.check(target.make(Random(0)), Path(name))
    status = Path("/proc/self/statm")
    if status.is_file():  # elsewhere there is no telling
        limit = int(status.read_text().split()[0]) * resource.getpagesize() + _MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _where(error: Exception) -> str:
    """What it is, and the innermost line of the project; of a broken contract, what was asked."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if str(_ROOT) in frame.filename]
    frames = [frame for frame in frames if "/.venv/" not in frame.filename]
    broken = "/tests/" in frames[-1].filename
    ours = frames if broken else [frame for frame in frames if "/wsss_mm/" in frame.filename] or frames
    place = f"{type(error).__name__} at {Path(ours[-1].filename).relative_to(_ROOT)}:{ours[-1].lineno}"
    return f"{place} {ours[-1].line}" if broken else place


def _keep(folder: Path, name: str, data: bytes, error: Exception) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    text = "".join(traceback.format_exception(error))
    (folder / f"{name}.txt").write_bytes(text.encode("utf-8", "backslashreplace"))


if __name__ == "__main__":
    sys.exit(main())
