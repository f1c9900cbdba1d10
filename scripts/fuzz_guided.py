"""Feed everything that parses with inputs that are led by the coverage of the code: `pip install atheris` first.

The same targets as `make fuzz`: what there are random numbers, here are the bytes that libFuzzer changes whenever they
reach new code. Each target runs for some seconds in a process of its own and ends at its first finding, whose input is
kept. Exit code 0 if nothing was found.
"""

import argparse
import logging
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

from tqdm import tqdm

from wsss_mm import places

_ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_ROOT))

_LIMITS = ("-max_len=4096", "-len_control=0", "-timeout=30", "-rss_limit_mb=4096")


class Drawn(Random):
    """Random numbers that are the bytes of a fuzzer; behind their end, those of seed 0."""

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self._data, self._at = data, 0

    def getrandbits(self, count: int, /) -> int:
        """A number of so many bits."""
        start, self._at = self._at, self._at + (count + 7) // 8
        if self._at > len(self._data):
            return super().getrandbits(count)
        return int.from_bytes(self._data[start : self._at], "little") & ((1 << count) - 1)

    def random(self) -> float:
        """A number in [0, 1)."""
        return self.getrandbits(53) / (1 << 53)


def main() -> int:
    """Run the targets one after the other and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--only", metavar="TEXT", help="targets whose name holds this")
    parser.add_argument("--keep", type=Path, default=places.WORK / "fuzz_guided", help="gets what broke something")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return _run(arguments)
    from tests.fuzzing.targets import TARGETS  # a child imports these where atheris sees it

    names = [target.name for target in TARGETS if not arguments.only or arguments.only in target.name]
    arguments.keep.mkdir(parents=True, exist_ok=True)
    rows, found = [], 0
    for name in tqdm(names, desc="guided", unit="target", disable=None):
        with tempfile.TemporaryDirectory() as scratch:  # libFuzzer ends its process without tidying up
            command = [sys.executable, __file__, "--child", name, "--seconds", str(arguments.seconds)]
            command += ["--keep", str(arguments.keep)]
            done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "TMPDIR": scratch})
        told = done.stderr.decode(errors="replace")
        inputs, cover = re.findall(r"^#(\d+)\t", told, re.M), re.findall(r" cov: (\d+) ", told)
        if not (inputs and cover):
            sys.stderr.write(told)
            return 2
        finding = "none"
        if done.returncode:
            found += 1
            log = arguments.keep / f"{name.replace(' ', '-')}.txt"
            log.write_text(told, encoding="utf-8")
            finding = str(log)
        rows.append(f"| {name} | {inputs[-1]} | {cover[0]} to {cover[-1]} | {finding} |")
    sys.stdout.write(
        "| target | inputs | edges of code reached | findings |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )
    return 1 if found else 0


def _run(arguments: argparse.Namespace) -> int:
    """Child: never returns, libFuzzer ends the process."""
    try:
        import atheris
    except ImportError:
        sys.stderr.write("error: atheris is not installed; install it with: python -m pip install atheris\n")
        return 2
    logging.disable(logging.CRITICAL)
    with atheris.instrument_imports(include=["wsss_mm"], enable_loader_override=False):
        from tests.fuzzing.contract import empty
        from tests.fuzzing.targets import TARGETS

        target = next(target for target in TARGETS if target.name == arguments.child)
        with tempfile.TemporaryDirectory() as name:  # targets import what they check
            target.check(target.make(Random(0)), Path(name))
    work = Path(tempfile.mkdtemp())

    def check(data: bytes) -> None:
        target.check(target.make(Drawn(data)), work)
        empty(work)

    kept = f"-artifact_prefix={arguments.keep / target.name.replace(' ', '-')}-"
    atheris.Setup([sys.argv[0], f"-max_total_time={arguments.seconds}", kept, *_LIMITS], check)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
