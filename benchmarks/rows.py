"""Rows of measurements, a line of JSON each in `reports/benchmarks.jsonl`: what, how much, against what, and where."""

import json
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROWS = ROOT / "reports" / "benchmarks.jsonl"
PAGE = ROOT / "docs" / "performance.md"
INSTRUCTION_SETS = {"avx2": "AVX2", "avx512f": "AVX-512", "amx_tile": "AMX"}  # as the kernel names them
PACKAGES = ("torch", "numpy", "openslide-python")
FEWEST_RUNS = 5

Row = dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """Runs by turns with a peer or a bound, or alone; targets hold for the ratio, or the median where there is none.

    Args:
        what: is measured, with the sizes that it depends on.
        values: one a run.
        unit: of the values.
        over: one a run, measured beside it; the ratio is the median of neighbours' ratios.
        over_what: what the ratio is over.
        at_most: the most that the ratio, or the median, may be.
        at_least: the least.

    Raises:
        ValueError: fewer than 5 runs.
    """

    what: str
    values: Sequence[float]
    unit: str
    over: Sequence[float] = ()
    over_what: str = ""
    at_most: float | None = None
    at_least: float | None = None

    def __post_init__(self) -> None:
        if len(self.values) < FEWEST_RUNS:
            raise ValueError(f"{self.what}: {len(self.values)} runs; a row needs {FEWEST_RUNS}")

    def row(self) -> Row:
        """What is kept of it."""
        pairs = zip(self.values, self.over, strict=True) if self.over else ()
        return {
            "what": self.what,
            "value": statistics.median(self.values),
            "unit": self.unit,
            "over": self.over_what,
            "ratio": statistics.median(value / bound for value, bound in pairs) if self.over else None,
            "at_most": self.at_most,
            "at_least": self.at_least,
            "runs": len(self.values),
        }


def held(row: Row) -> bool:
    """Whether the row holds its targets; one without any does."""
    figure = row["value"] if row["ratio"] is None else row["ratio"]
    at_most, at_least = row["at_most"], row["at_least"]
    return (at_most is None or figure <= at_most) and (at_least is None or figure >= at_least)


def surroundings() -> dict[str, Any]:
    """Date, commit, machine, versions, threads, and the load of one minute as the run ends, the run itself included."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "commit": commit(),
        "machine": processor(),
        "versions": versions(),
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "busy": round(os.getloadavg()[0], 1),
    }


def commit() -> str:
    """What is checked out, `-dirty` where files differ from it: others than those that a benchmark writes itself."""
    written = [f":!{path.relative_to(ROOT).as_posix()}" for path in (ROWS, PAGE)]
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *written)
    return _git("rev-parse", "--short=10", "HEAD") + ("-dirty" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def versions() -> dict[str, str]:
    """Of Python and of what does the work: torch and its oneDNN, numpy, OpenSlide."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = ""
    try:
        import torch

        found["oneDNN"] = "".join(re.findall(r"MKL-DNN v([\d.]+)", torch.__config__.show()))
        import openslide

        found["openslide"] = openslide.__library_version__
    except ImportError:  # in the environment of a peer
        pass
    return found


def processor() -> str:
    """Model, cores and instruction sets, as far as Linux tells."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    flags = facts.get("flags", "").split()
    sets = [name for flag, name in INSTRUCTION_SETS.items() if flag in flags]
    return ", ".join([facts.get("model name", platform.machine()), f"{os.cpu_count()} cores", *sets])


def append_row(row: Row, path: Path = ROWS) -> None:
    """Add a row to those that are there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")


def read_rows(path: Path = ROWS) -> list[Row]:
    """Rows in the order they were measured."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
