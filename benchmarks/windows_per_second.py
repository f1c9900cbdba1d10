"""Number (b): windows per second against tiatoolbox's SemanticSegmentor and MONAI's sliding window.

The same slide file, weights, window, overlap, resolution, cores and batch size on the same machine. Peers run in an
environment of their own, made by `benchmarks/peers/install.sh`, with the network as one TorchScript file; ours runs
there with that file, and in the project's environment with the same weights as a model's folder. Each run is a process
that warms up on a small slide, then times one slide from its path to finished files: for tiatoolbox a Zarr of labels,
the cheapest it writes, or the GeoJSON for QuPath; for MONAI an array of labels; for us all of label pyramid, GeoJSON,
overlay and summary. Runs are interleaved.

Windows are those of the full lattice for all, computed or skipped: what counts is how fast a slide is covered.

    python -m benchmarks.windows_per_second --peer .venv-peers/bin/python
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.peers import contenders
from benchmarks.peers.contenders import MPP, SLIDE_MPP, STRIDE, WINDOW
from wsss_mm.vocabulary import IGNORE

PAPER = 243  # grey of the glass
OURS = "wsss_mm, environment of the peers"
CONTENDERS = {  # whose Python, and the task of the process
    OURS: ("peer", "ours_here"),
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

    from benchmarks.networks import random_model
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


def child(python: str, folder: Path, arguments: argparse.Namespace, task: str, slide: str = "all") -> dict[str, float]:
    """Run a task in a process of its own."""
    command = [python, "-m", "benchmarks.windows_per_second", "--task", task, "--folder", str(folder)]
    command += ["--slide", slide, "--threads", str(arguments.threads)]
    root = str(Path(__file__).parent.parent)
    environment = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": str(arguments.threads), "GOMP_SPINCOUNT": "1000"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=root, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def run_task(arguments: argparse.Namespace) -> dict[str, float | str]:
    """In the process of a contender."""
    name, *options = arguments.task.split()
    if name == "bare":
        return contenders.bare(arguments.folder, arguments.threads)
    slides = [arguments.folder / "warm.svs", arguments.folder / f"{arguments.slide}.svs"]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as out:
        return getattr(contenders, name)(arguments.folder, arguments.threads, Path(out), slides, *options)


def compare(folder: Path, arguments: argparse.Namespace) -> None:
    """Measure, and print a line for each contender and slide."""
    make_slides(folder, arguments.size)
    make_networks(folder, arguments.width)
    windows = lattice(arguments.size)
    say = sys.stdout.write
    say(
        f"{platform.machine()}, {arguments.threads} threads, width {arguments.width}, slides of {arguments.size} px "
        f"at {SLIDE_MPP} um/px, {windows} windows of {WINDOW} px, load {os.getloadavg()[0]:.1f}\n"
    )
    pythons = {"own": sys.executable, "peer": arguments.peer, "lazyslide": arguments.lazyslide}
    there = {name: item for name, item in CONTENDERS.items() if Path(pythons[item[0]]).is_file()}
    for whose, python in list(pythons.items())[:2]:
        say(f"network alone, {whose} environment: {child(python, folder, arguments, 'bare')}\n")
    for slide in ("part", "all"):
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in there}
        for _ in range(arguments.runs):
            for name, (whose, task) in there.items():
                runs[name].append(child(pythons[whose], folder, arguments, task, slide))
        medians = {name: statistics.median(run["seconds"] for run in found) for name, found in runs.items()}
        for name, seconds in medians.items():
            times = ", ".join(f"{run['seconds']:.1f}" for run in runs[name])
            cpu = statistics.median(run["cpu_seconds"] for run in runs[name])
            rest = f"{cpu:.1f} s of CPU time in its process; {runs[name][0]['computed']} computed"
            ratios = ", ".join(f"{seconds / medians[our]:.2f} of {our}" for our in (OURS, "wsss_mm"))
            say(f"{slide}: {name}: {windows / seconds:.1f} windows/s ({times} s; {rest}); time {ratios}\n")
    say(f"load at the end {os.getloadavg()[0]:.1f}\n")


def main() -> None:
    """Compare, or run the task of a contender."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default=".venv-peers/bin/python", help="Python of the peers (default: %(default)s)")
    parser.add_argument(
        "--lazyslide", default=".venv-lazyslide/bin/python", help="Python of LazySlide, if any (default: %(default)s)"
    )
    parser.add_argument("--size", type=int, default=8192, help="px, side of the slides (default: %(default)s)")
    parser.add_argument("--width", type=float, default=0.125, help="of the network (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="of each, medians are reported (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of the network (default: %(default)s)")
    for hidden, kind in (("task", str), ("folder", Path), ("slide", str)):
        parser.add_argument(f"--{hidden}", type=kind, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        sys.stdout.write(json.dumps(run_task(arguments)) + "\n")
        return
    if not Path(arguments.peer).is_file():
        sys.stdout.write(f"{arguments.peer}: not there, skipped; make it with: bash benchmarks/peers/install.sh\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), arguments)


if __name__ == "__main__":
    main()
