"""Sections of `benchmarks.gpu` from disk: slides and training, and who waits for whom there."""

import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu_bench import Bench
from benchmarks.gpu_steps import AS_TRAINED, step_seconds
from benchmarks.networks import ATTENTIVE, build, random_model
from benchmarks.slides_memory import write_slide
from studies.rows import with_values
from wsss_mm.cam import PseudoLabeller
from wsss_mm.cam.store import label_patches, write_pseudo_labels
from wsss_mm.engine import Paths, train_classifier, train_segmenter
from wsss_mm.engine.loop import PiecewiseTrainLoop
from wsss_mm.patches import read_manifest
from wsss_mm.settings import Params, load_params
from wsss_mm.slide_parameters import Parameters
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.wsi import SlideModel, segment_slide
from wsss_mm.wsi import segment as segmenting
from wsss_mm.wsi.job import Job
from wsss_mm.wsi.lattice import window_starts, window_stride
from wsss_mm.wsi.mapping import choose_pixels
from wsss_mm.wsi.raster import Band
from wsss_mm.wsi.slidemap import opened

_MOST = 1024  # windows of which the network's time alone is taken


def slides(bench: Bench) -> None:
    """A slide of tissue all over: end to end, without the network, the network alone, and reading alone."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        slide = folder / "slide.tif"
        write_slide(slide, bench.options.slide_size, bench.options.slide_size)
        mpp, readers = bench.options.mpp, (2, 4) if bench.tiny else (2, 4, 8, 16)
        for count in readers:
            bench.attempt("slides", f"reading alone, {count} readers", partial(_reading, bench, slide, mpp, count))
        kept: list[np.ndarray] = []
        widths, first = ((1 / 16,), 2) if bench.tiny else ((1.0, 0.125), 8)
        for precision, counts in (("auto", (first, 2, 16, 4)), ("fp32", (first, 2, 16, 4))):
            for width in widths:
                name = f"width {width:g}, {precision}"
                more: dict[str, Any] = {"width": width, "precision": precision, "counts": counts, "kept": kept}
                work = partial(_model, bench, slide, folder / f"{width}", **more)
                bench.attempt("slides", name, work)


def _slides_row(bench: Bench, what: str, readers: int | None, windows: int, seconds: float, **more: Any) -> None:
    columns = {"computed": windows, "network_busy": None, "network_s": None, "exports_s": None, "batch": None, **more}
    bench.report.row(
        "slides", what=what, readers=readers, windows=windows, seconds=seconds, windows_per_s=windows / seconds,
        **columns,
    )  # fmt: skip


def _reading(bench: Bench, slide: Path, mpp: float, readers: int) -> None:
    parameters = Parameters(readers=readers)
    window, windows, start = parameters.window, 0, time.perf_counter()
    job = Job("slide", slide, slide.parent / "unused")
    with opened(job, mpp, readers) as raster:
        choose_pixels(job, raster, parameters)
        columns, lines = (
            window_starts(side, window, window_stride(window, parameters.overlap)) for side in raster.size
        )
        for y in lines:
            band = Band(raster, y, window, parameters.background_grey)
            windows += sum(band.window(x) is not None for x in columns if band.has_tissue(x))
    _slides_row(bench, "reading alone", readers, windows, time.perf_counter() - start)


def _model(
    bench: Bench, slide: Path, folder: Path, *, width: float, precision: Any, counts: tuple[int, ...], kept: list[Any]
) -> None:
    """All rows of one network: alone, and end to end with each number of readers."""
    random_model(folder, width)
    model = replace(SlideModel.from_folder(folder, bench.device, precision), mpp=bench.options.mpp)
    name = f"width {width:g}, {precision} ({model.precision})"
    batch = model.largest_batch(Parameters().window)
    busy: list[tuple[int, int, float]] = []
    exports: list[float] = []

    def predict(images: np.ndarray) -> np.ndarray:
        if sum(map(len, kept)) < _MOST:
            kept.append(images)
        start = time.perf_counter()
        found = model.predict(images)
        busy.append((_real(images), len(images), time.perf_counter() - start))
        return found

    usual = segmenting.write_results

    def writing(*arguments: Any, **more: Any) -> Any:
        start = time.perf_counter()
        usual(*arguments, **more)
        exports.append(time.perf_counter() - start)

    def run(what: str, readers: int, used: SlideModel, batch: int = batch) -> None:
        if bench.left <= 0 and exports:
            return
        busy.clear()
        start = time.perf_counter()
        segment_slide(slide, used, folder / f"out-{len(exports)}", readers=readers, batch_size=batch, progress=False)
        seconds, network = time.perf_counter() - start, sum(own for *_, own in busy)
        _slides_row(
            bench, f"{name}: {what}", readers, sum(real for real, *_ in busy), seconds,
            computed=sum(count for _, count, _ in busy), network_s=network,
            network_busy=network / (seconds - exports[-1]), exports_s=exports[-1], batch=batch,
        )  # fmt: skip

    segmenting.write_results = writing  # ty: ignore[invalid-assignment]  to take its time
    try:
        shown = np.zeros((batch, 224, 224, 3), np.uint8)
        model.predict(shown)  # warms up
        run("end to end", counts[0], replace(model, predict=predict))
        _alone(bench, name, model, kept, batch)
        answer = model.predict(shown)

        def at_once(images: np.ndarray) -> np.ndarray:
            busy.append((_real(images), len(images), 0.0))
            return answer[: len(images)]

        for readers in counts[1 : 2 if bench.tiny else None]:
            run("end to end", readers, replace(model, predict=predict))
        run("end to end without the network", counts[0], replace(model, predict=at_once))
        if batch > 64:
            run("end to end", counts[0], replace(model, predict=predict), 64)
    finally:
        segmenting.write_results = usual


def _real(images: np.ndarray) -> int:
    """Windows among images; the black ones only fill up a batch."""
    return int(images[:, ::16, ::16].any(axis=(1, 2, 3)).sum())


def _alone(bench: Bench, name: str, model: SlideModel, kept: list[np.ndarray], batch: int) -> None:
    images = np.concatenate(kept)
    images = images[: max(1, len(images) // batch) * batch]
    start = time.perf_counter()
    for first in range(0, len(images), batch):
        model.predict(images[first : first + batch])
    _slides_row(bench, f"{name}: network alone", None, len(images), time.perf_counter() - start, batch=batch)


class Enough(Exception):
    """As many iterations as were wanted, or the time is over."""


def training(bench: Bench) -> None:
    """The trainings themselves from disk, against the same step from memory."""
    if bench.options.cohort is None:
        bench.report.failed("training", "all", "left out, there is no --cohort")
        return
    params = load_params(bench.options.cohort / "params.yaml")
    patches = bench.options.cohort / bench.options.patches
    alone: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as place:
        labels = Path(place) / "pseudo_labels"
        bench.attempt("training", "pseudo-labels", partial(_pseudo_labels, bench, params, patches, labels))
        for workers in (1, 0) if bench.tiny else (8, 0):
            for kind in ("classifier", "segmenter"):
                given = _with(bench, params, workers)
                paths = Paths(
                    patches=patches, out=Path(place) / "model", curves=Path(place) / "curves.csv",
                    pseudo_labels=labels, work=Path(place) / f"{kind}-{workers}",
                )  # fmt: skip
                work = partial(_trained, bench, kind, given, paths, alone)
                bench.attempt("training", f"{kind}, {workers} workers", work)


def _with(bench: Bench, params: Params, workers: int) -> Params:
    values = [f"workers={workers}", "segmenter.init=none", f"segmenter.iterations={bench.options.iterations}"]
    values += ["segmenter.cycle=null", f"segmenter.val_interval={bench.options.iterations}", "segmenter.loss=onss"]
    values += ["classifier.epochs=60", "segmenter.loss_warmup=0"]  # the attention works from epoch 3 on
    for kind in ("classifier", "segmenter"):
        values += [f"{kind}.width={bench.width}", f"{kind}.batch_size={bench.batch}", f"{kind}.precision=bf16"]
    return with_values(params, values)


def _pseudo_labels(bench: Bench, params: Params, patches: Path, labels: Path) -> None:
    vocabulary = get_vocabulary(params.cohort.vocabulary)
    rows = read_manifest(patches, vocabulary)
    rows = rows[rows["split"] == "train"]
    codes = list(vocabulary.codes)
    classifier: Any = build("classifier", width=1 / 16, codes=codes).eval().to(bench.device)
    write_pseudo_labels(label_patches(PseudoLabeller(classifier), rows, patches, vocabulary), labels, vocabulary)


def _trained(bench: Bench, kind: str, params: Params, paths: Paths, alone: dict[str, float]) -> None:
    times: list[tuple[float, float]] = []
    usual, wanted, loops = PiecewiseTrainLoop.run_iter, bench.options.iterations, []
    # what is left is shared by the trainings to come; each may do fewer iterations than wanted
    stop = time.perf_counter() + max(5.0, bench.left / 2)

    def run_iter(loop: Any, data_batch: Any) -> None:
        if not loops:
            loops.append(loop)
        start = time.perf_counter()
        usual(loop, data_batch)
        bench.wait()
        times.append((start, time.perf_counter()))
        if len(times) >= wanted or (len(times) >= 4 and time.perf_counter() > stop):
            raise Enough

    PiecewiseTrainLoop.run_iter = run_iter  # ty: ignore[invalid-assignment]  to take its time
    start = time.perf_counter()
    train: Callable[..., Any] = train_classifier if kind == "classifier" else train_segmenter
    try:
        train(params, paths)
    except Enough:
        pass
    finally:
        PiecewiseTrainLoop.run_iter = usual
        torch.use_deterministic_algorithms(False)
    half = range(max(1, len(times) // 2), len(times))
    interval = loops[0].val_interval if loops else math.inf
    plain = [index for index in half if index % interval]  # those that follow no validation and no checkpoint
    waits = [times[index][0] - times[index - 1][1] for index in plain]
    spent = [times[index][1] - times[index][0] for index in plain]
    whole = times[half[-1]][1] - times[half[0] - 1][1]
    seconds = statistics.mean(waits) + statistics.mean(spent)
    memory = bench.peak_memory
    loops.clear()
    if kind not in alone:
        bench.clear()
        alone[kind] = _in_memory(bench, kind, params)
    bench.report.row(
        "training", what=kind, workers=params.workers, iterations=len(times), images_per_s=bench.batch / seconds,
        with_validation_images_per_s=bench.batch * len(half) / whole, waits_for_data=statistics.mean(waits) / seconds,
        iteration_ms=statistics.median(spent) * 1000, from_memory_images_per_s=bench.batch / alone[kind],
        ratio=alone[kind] / seconds, begins_after_s=times[0][0] - start, peak_GiB=memory,
    )  # fmt: skip


def _in_memory(bench: Bench, kind: str, params: Params) -> float:
    """Seconds of the same step, of tensors on the device, as deterministic as in a training."""
    codes = list(get_vocabulary(params.cohort.vocabulary).codes)
    size = params.patches.size if kind == "classifier" else params.segmenter.crop
    values: dict[str, Any] = {"attention": params.classifier.attention}
    if kind == "segmenter":
        values = {"loss": "onss", "decoder": params.segmenter.decoder}
    network: Any = build(kind, width=bench.width, codes=codes, **values).to(bench.device)
    if kind == "classifier":
        network.attention.epoch = ATTENTIVE
    return step_seconds(bench, network, kind, AS_TRAINED, batch=bench.batch, size=size)[0]
