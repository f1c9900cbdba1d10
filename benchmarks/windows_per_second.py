"""Windows per second against tiatoolbox's SemanticSegmentor and MONAI's sliding window.

The same slide file, weights, window, overlap, resolution, cores and batch size on the same machine. Peers run in an
environment of their own, made by `benchmarks/peers/install.sh`, with the network as one TorchScript file; ours runs
there with that file, and in the project's environment with the same weights as a model's folder. Each run is a process
that warms up on a small slide, then times one slide from its path to finished files: for tiatoolbox a Zarr of labels,
the cheapest it writes, or the GeoJSON for QuPath; for MONAI an array of labels; for us all of label pyramid, GeoJSON,
overlay and summary. Runs are interleaved.

Windows are those of the full lattice for all, computed or skipped: what counts is how fast a slide is covered.

    bash benchmarks/peers/install.sh slides
    python -m benchmarks.windows_per_second
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.command import Missing, Option, cores, run, say
from benchmarks.networks import random_model
from benchmarks.peers.contenders import MPP, SLIDE_MPP, STRIDE, WINDOW
from benchmarks.rows import ROOT, Measurement
from wsss_mm.vocabulary import IGNORE

OPTIONS = {
    "peer": Option(ROOT / ".venv-peers/bin/python", ROOT / ".venv-peers/bin/python", "Python of the peers", kind=Path),
    "lazyslide": Option(
        ROOT / ".venv-lazyslide/bin/python", ROOT / ".venv-lazyslide/bin/python", "of LazySlide, if any", kind=Path
    ),
    "size": Option(8192, 1344, "px, side of the slides"),
    "width": Option(0.125, 0.0625, "of the network"),
    "threads": Option(0, 0, "of the network; 0: all cores"),
}
SLIDES = {"part": ("40 % tissue", 2.0), "all": ("all tissue", 1.2)}  # least over tiatoolbox
PAPER = 243  # grey of the glass
CONTENDERS = {  # whose Python, and the task of the process
    "wsss_mm, environment of the peers": ("peer", "ours_here"),
    "wsss_mm": ("own", "ours auto"),
    "wsss_mm, fp32": ("own", "ours fp32"),
    "tiatoolbox, no workers, labels only": ("peer", "tiatoolbox 0:zarr"),
    "tiatoolbox, 2 workers, labels only": ("peer", "tiatoolbox 2:zarr"),
    "tiatoolbox, 2 workers, GeoJSON": ("peer", "tiatoolbox 2:qupath"),
    "MONAI sliding_window_inference, labels only": ("peer", "monai"),
    "LazySlide seg.semantic, GeoJSON": ("lazyslide", "lazyslide"),
}


def make_slides(folder: Path, size: int) -> None:
    """Slides of `size` px: all tissue, and a round piece of tissue on 40 % of the glass."""
    from wsss_mm.slides.phantom.aperio import write_aperio
    from wsss_mm.slides.phantom.cohort import generate_slide

    image, labels = generate_slide(2048, np.random.SeedSequence(1))
    tissue = image[labels != IGNORE]
    image[labels == IGNORE] = tissue[np.random.default_rng(0).integers(0, len(tissue), (labels == IGNORE).sum())]
    tile = np.concatenate([image, image[:, ::-1]], axis=1)
    tile = np.concatenate([tile, tile[::-1]], axis=0)
    repeat = -(-size // tile.shape[0])
    image = np.tile(tile, (repeat, repeat, 1))[:size, :size]
    write_aperio(folder / "all.svs", image, SLIDE_MPP, 20)
    write_aperio(folder / "warm.svs", image[:1024, :1024], SLIDE_MPP, 20)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    image[x**2 + y**2 > 0.4 * size**2 / np.pi] = PAPER
    write_aperio(folder / "part.svs", image, SLIDE_MPP, 20)


def make_networks(folder: Path, width: float) -> None:
    """The project's segmenter, untrained: a model's folder, and the same as TorchScript, RGB to probabilities."""
    import torch

    from wsss_mm.models import load_model

    random_model(folder / "model", width)
    network, _ = load_model(folder / "model")
    with torch.inference_mode():
        example = torch.randint(0, 256, (1, 3, WINDOW, WINDOW)).float()
        torch.jit.trace(network, example, check_trace=False).save(str(folder / "network.pt"))


def lattice(size: int) -> int:
    """Windows that cover the slide, both axes."""
    from wsss_mm.wsi.lattice import window_starts

    return len(window_starts(round(size * SLIDE_MPP / MPP), WINDOW, STRIDE)) ** 2


def child(python: Path, folder: Path, threads: int, task: str, slide: str = "all") -> dict[str, float]:
    """Run a task of `benchmarks.peers.task` in a process of its own, with the Python of a contender."""
    command = [python, "-m", "benchmarks.peers.task", folder, str(threads), slide, *task.split()]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": "1000"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(f"{task}\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(arguments) -> Iterator[Measurement]:
    pythons = {"own": Path(sys.executable), "peer": arguments.peer, "lazyslide": arguments.lazyslide}
    if not arguments.peer.is_file():
        raise Missing(f"no {arguments.peer}; make it with: bash benchmarks/peers/install.sh slides")
    there = {name: item for name, item in CONTENDERS.items() if pythons[item[0]].is_file()}
    threads = arguments.threads or cores()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_slides(folder, arguments.size)
        make_networks(folder, arguments.width)
        windows = lattice(arguments.size)
        for whose in ("own", "peer"):
            say(f"network alone, {whose} environment: {child(pythons[whose], folder, threads, 'bare')}")
        for slide, (tissue, at_least) in SLIDES.items():
            rates: dict[str, list[float]] = {name: [] for name in there}
            for _ in range(arguments.repeats):
                for name, (whose, task) in there.items():
                    rates[name].append(windows / child(pythons[whose], folder, threads, task, slide)["seconds"])
            for name, (_, task) in there.items():
                if task.startswith("ours"):
                    continue
                for own in (item for item in there if CONTENDERS[item][1].startswith("ours")):
                    yield Measurement(
                        f"{own}: {windows} windows, {tissue}, width {arguments.width:g}, wall, {threads} threads",
                        rates[own],
                        "windows/s",
                        over=rates[name],
                        over_what=name,
                        at_least=at_least if own == "wsss_mm" and name.startswith("tiatoolbox") else None,
                    )


if __name__ == "__main__":
    sys.exit(run(measure, OPTIONS))
