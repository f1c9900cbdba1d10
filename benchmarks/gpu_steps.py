"""Sections of `benchmarks.gpu` that need no file: ceilings, steps, large, loss and cams."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cam_cost import CLASSES, forward_passes
from benchmarks.cam_cost import build as plain_classifier
from benchmarks.gpu_bench import Bench, deterministic, median_ratio, tf32_allowed
from benchmarks.networks import batch_of, build, step_of, switched
from wsss_mm.cam import PseudoLabeller

T = 1e12


@dataclass(frozen=True)
class Mode:
    """How a step is computed; `peak` names the ceiling that it is held against."""

    name: str
    peak: str
    bf16: bool = False
    matmuls: bool = False
    convolutions: bool = True
    channels_last: bool = False
    compiled: bool = False
    deterministic: bool = False


DEFAULT = Mode("fp32 (torch's defaults: TF32 in convolutions)", "tf32")
BF16 = Mode("bf16", "bf16", bf16=True)
AS_TRAINED = Mode("bf16, deterministic as trainings are", "bf16", bf16=True, deterministic=True)
MODES = (
    Mode("fp32, no TF32", "fp32", convolutions=False),
    DEFAULT,
    Mode("fp32, TF32 everywhere", "tf32", matmuls=True),
    BF16,
    AS_TRAINED,
    Mode("bf16, channels_last", "bf16", bf16=True, channels_last=True),
)
COMPILED = Mode("bf16, channels_last, torch.compile", "bf16", bf16=True, channels_last=True, compiled=True)


def flops_of(step: Callable[[], None]) -> int:
    """Floating-point operations of a step, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def step_seconds(
    bench: Bench, network: Any, kind: str, mode: Mode, *, batch: int, size: int, seconds: float = 4
) -> tuple[float, float | None]:
    """Median seconds of a step, and those of compiling."""
    images, samples = batch_of(kind, batch, size, bench.device)
    layout = torch.channels_last if mode.channels_last else torch.contiguous_format
    network, images = network.to(memory_format=layout), images.to(memory_format=layout)
    compiling = None
    with tf32_allowed(matmuls=mode.matmuls, convolutions=mode.convolutions), deterministic(mode.deterministic):
        step = step_of(network, images, samples, bf16=mode.bf16)
        if mode.compiled:
            backbone: Any = network.backbone
            backbone.compile()
            start = time.perf_counter()
            step()
            bench.wait()
            compiling = time.perf_counter() - start
        return bench.median(step, seconds), compiling


def _kept(bench: Bench, section: str, what: str, values: dict[str, Any], seconds: float, *, mode: Mode) -> None:
    """A row of a step: images/s, memory and the share of the ceiling."""
    rate = values["flops"] / seconds
    bench.report.row(
        section, what=what, mode=mode.name, batch=values["batch"], images_per_s=values["batch"] / seconds,
        ms=seconds * 1000, peak_GiB=bench.peak_memory, TFLOP_per_step=values["flops"] / T, TFLOP_per_s=rate / T,
        of_peak=rate / bench.peaks[mode.peak], compile_s=values.get("compile_s"),
    )  # fmt: skip


def ceilings(bench: Bench) -> None:
    found = bench.peaks
    for name in ("bf16", "tf32", "fp32"):
        bench.report.row("ceilings", what=f"product of matrices, {name}", rate=found[name] / T, unit="TFLOP/s")
    bench.report.row("ceilings", what="copy on the device, read and written", rate=found["copy"] / T, unit="TB/s")


def steps(bench: Bench) -> None:
    flops: dict[str, int] = {}
    kinds: dict[str, dict[str, Any]] = {"classifier": {"attention": "published"}, "segmenter": {"loss": "onss"}}
    narrow = 1 / 16 if bench.tiny else 1 / 8

    def measure(kind: str, mode: Mode, *, wide: bool = True) -> None:
        width = bench.width if wide else narrow
        batch = bench.batch if wide or bench.tiny else 8
        what = f"{kind}, width {width:g}{'' if wide else ' (bound by launches)'}"

        def work() -> None:
            network = build(kind, width=width, **kinds[kind]).to(bench.device)
            if what not in flops:
                flops[what] = flops_of(step_of(network, *batch_of(kind, batch, bench.size, bench.device), bf16=False))
                bench.clear()
            seconds, compiling = step_seconds(bench, network, kind, mode, batch=batch, size=bench.size)
            values = {"flops": flops[what], "batch": batch, "compile_s": compiling}
            _kept(bench, "steps", what, values, seconds, mode=mode)

        bench.attempt("steps", f"{what}, {mode.name}", work)

    for kind in kinds:
        for mode in MODES:
            measure(kind, mode)
    for kind in kinds:
        for mode in (DEFAULT, BF16):
            measure(kind, mode, wide=False)
    for kind in kinds:
        measure(kind, COMPILED)


def large(bench: Bench) -> None:
    """An encoder of 300 million parameters, built as its owner publishes it, of numbers alone."""
    size = 112 if bench.tiny else bench.size  # a multiple of what the encoders take
    encoder = "dinov2_small" if bench.tiny else "phikon_v2"

    def measure(what: str, kind: str, values: dict[str, Any]) -> None:
        network = build(kind, encoder=encoder, width=bench.width, **values).to(bench.device)
        millions = sum(item.numel() for item in network.parameters()) / 1e6
        flops = flops_of(step_of(network, *batch_of(kind, bench.batch, size, bench.device), bf16=False))
        bench.clear()
        seconds, _ = step_seconds(bench, network, kind, BF16, batch=bench.batch, size=size)
        found = {"flops": flops, "batch": bench.batch}
        _kept(bench, "large", f"{what}, {millions:.0f} million parameters", found, seconds, mode=BF16)

    for freeze in ("none", "all"):
        for decoder in ("", "guided", "psp"):
            kind = "segmenter" if decoder else "classifier"
            values = {"decoder": decoder, "loss": "onss"} if decoder else {"attention": "published"}
            what = f"{kind} {decoder}".strip() + f" on {encoder}, {'frozen' if freeze == 'all' else 'trained'}"
            values["freeze"] = freeze
            bench.attempt("large", what, partial(measure, what, kind, values))


def loss(bench: Bench) -> None:
    """What ONSS and the attention add to a step, each switched on and off in turns on the same network."""
    for kind, what in (("segmenter", "ONSS against ce"), ("classifier", "attention against off")):
        for mode in (BF16, DEFAULT):
            bench.attempt("loss", f"{what}, {mode.name}", partial(_on_and_off, bench, kind, what, mode))


def _on_and_off(bench: Bench, kind: str, what: str, mode: Mode) -> None:
    values = {"loss": "onss"} if kind == "segmenter" else {"attention": "published"}
    network: Any = build(kind, width=bench.width, **values).to(bench.device)
    step = step_of(network, *batch_of(kind, bench.batch, bench.size, bench.device), bf16=mode.bf16)
    with_it, without = bench.times(
        partial(switched, network, step, True), partial(switched, network, step, False), seconds=6
    )
    ratio = median_ratio(with_it, without)
    name = f"step of a {kind}, width {bench.width:g}, batches of {bench.batch}, {mode.name}: {what}"
    bench.compare(name, with_it, without, "the step without", 1.03)
    bench.report.row(
        "loss", what=what, mode=mode.name, width=bench.width, on_ms=statistics.median(with_it) * 1000,
        off_ms=statistics.median(without) * 1000, ratio=ratio, share_of_step=1 - 1 / ratio,
    )  # fmt: skip


def cams(bench: Bench) -> None:
    """Pseudo-labels against bare forward passes at the same scales, in turns; bf16 is no option of the product yet."""
    model = plain_classifier(bench.width).to(bench.device)
    for batch in (2,) if bench.tiny else (16, 64):
        for bf16 in (False, True):
            for background in (True, False):
                what = f"batch {batch}, {'bf16' if bf16 else 'fp32'}, background {background}"
                work = partial(_cams_row, bench, model, batch, bf16=bf16, background=background)
                bench.attempt("cams", what, work)


def _cams_row(bench: Bench, model: Any, batch: int, *, bf16: bool, background: bool) -> None:
    images = np.random.default_rng(0).integers(0, 255, (batch, bench.size, bench.size, 3), dtype=np.uint8)
    labeller = PseudoLabeller(model, layer="bn7", background=background)
    sets = np.ones((batch, CLASSES), bool)

    def labels() -> None:
        with torch.autocast(bench.device, torch.bfloat16, enabled=bf16):
            labeller(images, sets)

    def passes() -> None:
        with torch.autocast(bench.device, torch.bfloat16, enabled=bf16):
            forward_passes(model, images, labeller.scales, bench.device)

    made, bare = bench.times(labels, passes, seconds=5)
    name = f"CAM and vote, {'bf16' if bf16 else 'fp32'}, background {background}, batches of {batch}"
    bench.compare(f"{name}, ResNet38 of width {bench.width:g}", made, bare, "three forward passes alone", 1.15)
    bench.report.row(
        "cams", precision="bf16 (autocast around)" if bf16 else "fp32", background=str(background), batch=batch,
        patches_per_s=batch / statistics.median(made), bare_patches_per_s=batch / statistics.median(bare),
        ratio=median_ratio(made, bare),
        peak_GiB=bench.peak_memory,
    )  # fmt: skip
