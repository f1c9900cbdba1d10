"""Rows of measurements, a line of JSON each in `reports/benchmarks.jsonl`: what, how much, against what, and where."""

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROWS = ROOT / "reports" / "benchmarks.jsonl"
INSTRUCTION_SETS = {"avx2": "AVX2", "avx512f": "AVX-512", "amx_tile": "AMX"}  # as the kernel names them
FEWEST_RUNS = 5


def measured_row(
    subject: str,
    what: str,
    values: Sequence[float],
    unit: str,
    *,
    over: Sequence[float],
    over_what: str,
    target: float,
    quick: bool,
) -> dict[str, Any]:
    """Medians of runs by turns with a peer or a bound; `target` is the most that the ratio of neighbours may be.

    Raises:
        ValueError: fewer than 5 runs.
    """
    if len(values) < FEWEST_RUNS:
        raise ValueError(f"{what}: {len(values)} runs; a row needs {FEWEST_RUNS}")
    return {
        "subject": subject,
        "what": what,
        "value": statistics.median(values),
        "unit": unit,
        "over": over_what,
        "ratio": statistics.median(value / bound for value, bound in zip(values, over, strict=True)),
        "target": target,
        "runs": len(values),
        "quick": quick,
        "command": shlex.join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]]),
        **surroundings(),
    }


def surroundings() -> dict[str, Any]:
    """Commit, machine, versions, threads, and the load of one minute as the run ends, the run itself included."""
    versions = {"python": platform.python_version()}
    for package in ("numpy", "torch"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = ""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "commit": found.stdout.strip(),
        "machine": processor(),
        "versions": versions,
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "busy": round(os.getloadavg()[0], 1),
    }


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


def append_row(row: dict[str, Any], path: Path = ROWS) -> None:
    """Add a row to those that are there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")


def read_rows(path: Path = ROWS) -> list[dict[str, Any]]:
    """Rows in the order they were measured."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
