"""What the subjects share: the command line with its quick form, runs by turns, peaks of memory, what becomes of rows.

A subject is a module with `OPTIONS` and a function `measure`, which yields measurements; its last lines are

    if __name__ == "__main__":
        sys.exit(run(measure, OPTIONS))
"""

import argparse
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

from benchmarks.rows import FEWEST_RUNS, Measurement, append_row, held, surroundings
from benchmarks.tables import print_page

SKIPPED = 77  # the exit status of what cannot run here, as of Automake's tests

Work = Callable[[], object]
Clock = Callable[[], float]
Measure = Callable[[argparse.Namespace], Iterator[Measurement]]


class Missing(Exception):
    """What a subject needs is not on this machine; its text says what, and how to get it."""


@dataclass(frozen=True)
class Option:
    """Of a subject's command line.

    Args:
        full: its value.
        quick: its value with `--quick`, in which a subject takes seconds.
        help: what it is.
        kind: what makes a value of a text; the type of `full`, if not given.
    """

    full: Any
    quick: Any
    help: str
    kind: Callable[[str], Any] | None = None


def settings(options: Mapping[str, Option], *, quick: bool, **given: Any) -> argparse.Namespace:
    """Values of the options, as `measure` takes them; those given count whether it is quick or not."""
    values = {name: option.quick if quick else option.full for name, option in options.items()}
    return argparse.Namespace(**{"repeats": FEWEST_RUNS, **values, **given}, quick=quick)


def parse(doc: str | None, options: Mapping[str, Option], argv: list[str]) -> argparse.Namespace:
    """Settings from a command line."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: seconds instead of minutes")
    parser.add_argument("--repeats", type=int, default=FEWEST_RUNS, help="runs of each (default: %(default)s)")
    for name, option in options.items():
        says = f"{option.help} (default: {option.full}; quick: {option.quick})"
        kind = option.kind or type(option.full)
        more: dict[str, Any] = {"nargs": "+", "type": str} if kind is tuple else {"type": kind}
        parser.add_argument(f"--{name.replace('_', '-')}", default=argparse.SUPPRESS, help=says, **more)
    given = vars(parser.parse_args(argv))
    return settings(options, **given)


def run(measure: Measure, options: Mapping[str, Option]) -> int:
    """Measure as the command line says, say and keep each row, and print the page anew; the status of the process."""
    module = sys.modules[measure.__module__]
    subject = Path(str(module.__file__)).stem
    arguments = parse(module.__doc__, options, sys.argv[1:])
    given = [Path(item).name if Path(item).is_absolute() else item for item in sys.argv[1:]]  # no folder of one machine
    command = shlex.join(["python", "-m", f"benchmarks.{subject}", *given])
    logger = logging.getLogger("wsss_mm")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        for measurement in measure(arguments):
            row = {"subject": subject, **measurement.row(), "quick": arguments.quick, "command": command}
            append_row({**row, **surroundings()})
            over = "" if row["ratio"] is None else f", {row['ratio']:.2f} of {row['over']}"
            say(f"{row['what']}: {row['value']:.3g} {row['unit']}{over}{'' if held(row) else ', target missed'}")
            print_page()
    except Missing as missing:
        say(f"{subject}: skipped, {missing}")
        return SKIPPED
    finally:
        logger.setLevel(level)
    return 0


def say(text: str) -> None:
    """A line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def clocked(work: Work, clock: Clock = time.process_time) -> float:
    """Seconds that it takes: CPU time of this process, which other work disturbs less than the wall."""
    start = clock()
    work()
    return clock() - start


def clock_of(device: str) -> Clock:
    """CPU time, or the wall's once a GPU is done."""
    if not device.startswith("cuda"):
        return time.process_time
    import torch

    def seconds() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return seconds


def cpu_of_children() -> float:
    """CPU seconds of all processes that were started and have ended: a clock."""
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def by_turns(*works: Work, repeats: int, clock: Clock = time.process_time) -> list[list[float]]:
    """Seconds of each, one after another `repeats` times, after one round that warms up and does not count."""
    rounds = [[clocked(work, clock) for work in works] for _ in range(repeats + 1)][1:]
    return [list(times) for times in zip(*rounds, strict=True)]


def in_children(function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """What a function of a module gives for each call, each in a process of its own that has its libraries already."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_forked, function, calls).result()


def _forked(function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """In the process that has the libraries, and nothing else: one child after another."""
    with get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        found = [pool.apply(function, call) for call in calls]
        pool.close()
        pool.join()
        return found


def peak_above(work: Work) -> float:
    """MiB of memory at most above what this process holds as it begins, files that are mapped not counted then."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak before it does not count
    before = _status("VmRSS")
    work()
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    """Of this process, kB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


def cores() -> int:
    """Of this machine."""
    return os.cpu_count() or 1
