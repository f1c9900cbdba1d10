"""What the sections of `benchmarks.gpu` share: rows that are kept at once, times, and the device's ceilings."""

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from benchmarks.rows import FEWEST_RUNS, Measurement

WARM_UP, CHUNK = 3, 5
GIB = 1 << 30


@dataclass
class Report:
    """Rows of results: a line of a markdown table each, and a line of JSON in a file, as soon as they are known."""

    out: Path | None
    _columns: list[str] = field(default_factory=list)

    def row(self, section: str, **values: Any) -> None:
        if self.out is not None:
            with self.out.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"section": section, **values}) + "\n")
        if self._columns != list(values):
            self._columns = list(values)
            self.say("\n" + _line(values) + "\n" + "|---" * len(values) + "|")
        self.say(_line(map(_shown, values.values())))

    def failed(self, section: str, what: str, error: BaseException | str) -> None:
        reason = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        reason = (" ".join(reason.split()) or "no reason given")[:300]
        if self.out is not None:
            with self.out.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"section": section, "what": what, "failed": reason}) + "\n")
        self.say(f"{section}: {what}: {reason}")
        self._columns = []

    @staticmethod
    def say(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def _line(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


@dataclass
class Bench:
    """The machine, the sizes, and until when a section may go on."""

    device: str
    report: Report
    seconds: float
    tiny: bool
    options: Any
    end: float = 0.0
    measured: list[Measurement] = field(default_factory=list)
    """What becomes rows: what was run often enough by turns."""

    @property
    def width(self) -> float:
        return 1 / 16 if self.tiny else 1.0

    @property
    def size(self) -> int:
        return 64 if self.tiny else 224

    @property
    def batch(self) -> int:
        return 2 if self.tiny else 16

    @property
    def least(self) -> int:
        """Steps of a measurement."""
        return FEWEST_RUNS if self.tiny else 20

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    def begin(self) -> None:
        self.end = time.perf_counter() + self.seconds

    @property
    def left(self) -> float:
        return self.end - time.perf_counter()

    def compare(self, what: str, own: list[float], over: list[float], over_what: str, at_most: float) -> None:
        """Keep a ratio that has a target, of at least as many runs as a row needs."""
        if len(own) >= FEWEST_RUNS:
            self.measured.append(Measurement(what, own, "s", over=over, over_what=over_what, at_most=at_most))

    def wait(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()

    def clear(self) -> None:
        """Give the memory of what was measured back, so that the next peak is its own."""
        gc.collect()
        if self.on_gpu:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    @property
    def peak_memory(self) -> float | None:
        """GiB."""
        return torch.cuda.max_memory_allocated() / GIB if self.on_gpu else None

    def attempt(self, section: str, what: str, work: Callable[[], Any]) -> None:
        """A measurement whose failure costs only itself, and which waits for no time that is over."""
        if self.left <= 0:
            self.report.failed(section, what, "left out, the section's time is over")
            return
        try:
            work()
        except Exception as error:
            self.report.failed(section, what, error)
        self.clear()

    def times(self, *steps: Callable[[], Any], seconds: float | None = None) -> list[list[float]]:
        """Seconds of each of several steps, in turns, `least` times each or as often as fits into the time."""
        stop = time.perf_counter() + (max(1.0, self.left) if seconds is None else seconds)
        for _ in range(1 if self.tiny else WARM_UP):
            for step in steps:
                step()
        self.wait()
        found: list[list[float]] = [[] for _ in steps]
        while len(found[0]) < self.least and (not found[0] or time.perf_counter() < stop):
            for _ in range(min(CHUNK, self.least)):
                for step, own in zip(steps, found, strict=True):
                    own.append(self._time(step))
        return found

    def _time(self, step: Callable[[], Any]) -> float:
        if not self.on_gpu:
            start = time.perf_counter()
            step()
            return time.perf_counter() - start
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        step()
        last.record()
        last.synchronize()
        return first.elapsed_time(last) / 1000

    def median(self, step: Callable[[], Any], seconds: float | None = None) -> float:
        return statistics.median(self.times(step, seconds=seconds)[0])

    @cached_property
    def peaks(self) -> dict[str, float]:
        """FLOP/s of a product of matrices, by precision, and bytes/s of a copy."""
        side = 256 if self.tiny else 8192
        found = {}
        for name, dtype, tf32 in (
            ("bf16", torch.bfloat16, False), ("tf32", torch.float32, True), ("fp32", torch.float32, False),
        ):  # fmt: skip
            with tf32_allowed(matmuls=tf32, convolutions=tf32):
                left, right = (torch.randn(side, side, device=self.device).to(dtype) for _ in range(2))
                out = torch.empty_like(left)
                found[name] = 2 * side**3 / self.median(lambda a=left, b=right, c=out: torch.mm(a, b, out=c), 4)
        source = torch.empty((1 << 20 if self.tiny else 4 * GIB), dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        found["copy"] = 2 * source.numel() / self.median(lambda: target.copy_(source), 4)
        return found


def median_ratio(ones: list[float], others: list[float]) -> float:
    """Of neighbours in time."""
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))


@contextmanager
def tf32_allowed(*, matmuls: bool, convolutions: bool) -> Iterator[None]:
    """Whether products of float32 may be rounded to TF32; torch's defaults are convolutions alone."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmuls, convolutions
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """As the trainings of this project set it."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    module: Any = torch.utils.deterministic  # a module that torch makes of a class
    fill, module.fill_uninitialized_memory = module.fill_uninitialized_memory, False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=True)
        module.fill_uninitialized_memory = fill
