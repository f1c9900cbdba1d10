"""Number (b): windows per second against tiatoolbox's SemanticSegmentor.

The same slide file, the same network (one TorchScript file), window, overlap, resolution, threads and batch size, on
the same machine and in the same Python environment (tiatoolbox's own, made by `benchmarks/peers/tiatoolbox.sh`); ours
also in the project's. Each run is a process that warms up on a small slide, then times one slide from its path to
finished files: for tiatoolbox a Zarr of labels, the cheapest it writes, or the GeoJSON for QuPath; for us all of label
pyramid, GeoJSON, overlay and summary. Runs are interleaved.

Windows are those of the full lattice for both, computed or skipped: what counts is how fast a slide is covered.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WINDOW, STRIDE, MPP, SLIDE_MPP, BATCH = 224, 112, 1.0, 0.5, 16
PAPER = 243  # grey of the glass


def make_slides(folder: Path, size: int) -> None:
    """Slides of `size` px: all tissue, and a round piece of tissue on 40 % of the glass."""
    from wsss_mm.slides.phantom.aperio import write_aperio
    from wsss_mm.slides.phantom.cohort import generate_slide

    image, labels = generate_slide(2048, np.random.SeedSequence(1))
    tissue = image[labels != 255]
    image[labels == 255] = tissue[np.random.default_rng(0).integers(0, len(tissue), (labels == 255).sum())]
    tile = np.concatenate([image, image[:, ::-1]], axis=1)
    tile = np.concatenate([tile, tile[::-1]], axis=0)
    repeat = -(-size // tile.shape[0])
    image = np.tile(tile, (repeat, repeat, 1))[:size, :size]
    write_aperio(folder / "all.svs", image, SLIDE_MPP, 20)
    write_aperio(folder / "warm.svs", image[:1024, :1024], SLIDE_MPP, 20)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    image[x**2 + y**2 > 0.4 * size**2 / np.pi] = PAPER
    write_aperio(folder / "part.svs", image, SLIDE_MPP, 20)


def make_network(path: Path, width: float) -> None:
    """The project's segmenter, untrained: PSPNet on ResNet38, RGB (N, 3, H, W) to probabilities (N, 4, H, W)."""
    import torch
    from mmengine.config import Config

    from wsss_mm.models import build_network
    from wsss_mm.models.segmenter import Segmenter

    config = Config.fromfile(Path(__file__).parent.parent / "mmconfigs/segmenter.py").model.to_dict()
    config["backbone"]["width"] = width
    for head, inputs, channels in (("decode_head", 4096, 512), ("auxiliary_head", 1024, 256)):
        scaled = {"in_channels": round(inputs * width), "channels": round(channels * width)}
        config[head] |= scaled | {"num_classes": 4}
    torch.manual_seed(0)
    network = Segmenter(build_network(config)).eval()
    with torch.inference_mode():
        example = torch.randint(0, 256, (1, 3, WINDOW, WINDOW)).float()
        torch.jit.trace(network, example, check_trace=False).save(str(path))


def lattice(size: int) -> int:
    """Windows that cover the slide, both axes."""
    from wsss_mm.wsi.lattice import window_starts

    return len(window_starts(round(size * SLIDE_MPP / MPP), WINDOW, STRIDE)) ** 2


def ours(network_path: Path, threads: int, out: Path, slides: list[Path]) -> dict[str, float]:
    import torch

    from wsss_mm.patches import VOCABULARIES
    from wsss_mm.wsi import SlideModel, segment_slide

    torch.set_num_threads(threads)
    network, seen = torch.jit.load(str(network_path)).eval(), []

    @torch.inference_mode()
    def predict(images: np.ndarray) -> np.ndarray:
        seen.append(len(images))
        batch = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).contiguous().float()
        return torch.cat([network(window) for window in batch.split(1)]).numpy()  # as SlideModel does on a CPU

    model = SlideModel(predict, VOCABULARIES["lung"].classes, MPP, "0" * 32)
    seconds = used = 0.0
    for slide in slides:
        seen.clear()
        start, cpu = time.perf_counter(), time.process_time()
        segment_slide(slide, model, out / slide.stem, window=WINDOW, batch_size=BATCH, progress=False)
        seconds, used = time.perf_counter() - start, time.process_time() - cpu
    return {"seconds": seconds, "cpu_seconds": used, "computed": sum(seen)}


def tiatoolbox(
    network_path: Path, threads: int, out: Path, slides: list[Path], workers: int, *, kind: str
) -> dict[str, float]:
    import torch
    from tiatoolbox.models.architecture.utils import argmax_last_axis
    from tiatoolbox.models.engine.io_config import IOSegmentorConfig
    from tiatoolbox.models.engine.semantic_segmentor import SemanticSegmentor
    from tiatoolbox.models.models_abc import ModelABC

    seen = []

    class Network(ModelABC):
        def __init__(self) -> None:
            super().__init__()
            self.network = torch.jit.load(str(network_path)).eval()

        def forward(self, images):
            return self.network(images)

        @staticmethod
        def infer_batch(model, batch_data, *, device):
            seen.append(len(batch_data))
            with torch.inference_mode():
                images = batch_data.to(device).permute(0, 3, 1, 2).contiguous().float()
                return model(images).permute(0, 2, 3, 1).cpu().numpy()

        def postproc(self, image):
            return argmax_last_axis(image=image)  # as the models of tiatoolbox

    torch.set_num_threads(threads)
    segmentor = SemanticSegmentor(Network(), batch_size=BATCH, num_workers=workers, device="cpu", verbose=False)
    resolution = [{"units": "mpp", "resolution": MPP}]
    settings = IOSegmentorConfig(
        input_resolutions=resolution,
        output_resolutions=resolution,
        save_resolution=resolution[0],
        patch_input_shape=(WINDOW, WINDOW),
        patch_output_shape=(WINDOW, WINDOW),
        stride_shape=(STRIDE, STRIDE),
    )
    seconds = used = 0.0
    for slide in slides:
        seen.clear()
        start, cpu = time.perf_counter(), time.process_time()
        segmentor.run(
            [slide],
            patch_mode=False,
            auto_get_mask=True,
            save_dir=out / slide.stem,
            overwrite=True,
            output_type=kind,
            ioconfig=settings,
        )
        seconds, used = time.perf_counter() - start, time.process_time() - cpu
    return {"seconds": seconds, "cpu_seconds": used, "computed": sum(seen)}


def bare(network_path: Path, threads: int, count: int) -> dict[str, float]:
    """The network alone on windows in memory, one by one and by `BATCH`; ms a window."""
    import torch

    torch.set_num_threads(threads)
    network = torch.jit.load(str(network_path)).eval()
    windows = torch.randint(0, 256, (BATCH, 3, WINDOW, WINDOW)).float()
    found = {"torch": torch.__version__}
    with torch.inference_mode():
        for size in (1, BATCH):
            groups = windows.split(size)
            network(groups[0])
            times = []
            for _ in range(count):
                start = time.perf_counter()
                for group in groups:
                    network(group)
                times.append((time.perf_counter() - start) / BATCH * 1000)
            found[f"ms_by_{size}"] = round(statistics.median(times), 2)
    return found


def child(python: str, folder: Path, arguments: argparse.Namespace, task: str, slide: str = "all") -> dict[str, float]:
    """Run a task in a process of its own."""
    command = [python, __file__, "--task", task, "--folder", str(folder), "--slide", slide]
    command += ["--threads", str(arguments.threads)]
    root = str(Path(__file__).parent.parent)
    environment = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": str(arguments.threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def run_task(arguments: argparse.Namespace) -> dict[str, float]:
    folder, network = arguments.folder, arguments.folder / "network.pt"
    slides = [folder / "warm.svs", folder / f"{arguments.slide}.svs"]
    if arguments.task == "bare":
        return bare(network, arguments.threads, 5)
    with tempfile.TemporaryDirectory(dir=folder) as out:
        if arguments.task == "ours":
            return ours(network, arguments.threads, Path(out), slides)
        _, workers, kind = arguments.task.split("-")
        return tiatoolbox(network, arguments.threads, Path(out), slides, int(workers), kind=kind)


def compare(folder: Path, arguments: argparse.Namespace) -> None:
    make_slides(folder, arguments.size)
    make_network(folder / "network.pt", arguments.width)
    windows = lattice(arguments.size)
    say = sys.stdout.write
    say(
        f"{platform.machine()}, {arguments.threads} threads, width {arguments.width}, slides of {arguments.size} px "
        f"at {SLIDE_MPP} um/px, {windows} windows of {WINDOW} px, load {os.getloadavg()[0]:.1f}\n"
    )
    for python in (sys.executable, arguments.peer):
        say(f"network alone: {child(python, folder, arguments, 'bare')}\n")
    contenders = {
        "wsss_mm": (arguments.peer, "ours"),
        "wsss_mm, own environment": (sys.executable, "ours"),
        "tiatoolbox, no workers, labels only": (arguments.peer, "tiatoolbox-0-zarr"),
        "tiatoolbox, 2 workers, labels only": (arguments.peer, "tiatoolbox-2-zarr"),
        "tiatoolbox, 2 workers, GeoJSON": (arguments.peer, "tiatoolbox-2-qupath"),
    }
    for slide in ("part", "all"):
        runs = {name: [] for name in contenders}
        for _ in range(arguments.runs):
            for name, (python, task) in contenders.items():
                runs[name].append(child(python, folder, arguments, task, slide))
        medians = {name: statistics.median(run["seconds"] for run in found) for name, found in runs.items()}
        for name, seconds in medians.items():
            times = ", ".join(f"{run['seconds']:.1f}" for run in runs[name])
            cpu = statistics.median(run["cpu_seconds"] for run in runs[name])
            rest = f"{cpu:.1f} s of CPU time in its process; {runs[name][0]['computed']} computed"
            say(f"{slide}: {name}: {windows / seconds:.1f} windows/s ({times} s; {rest})\n")
        for name, seconds in medians.items():
            if name.startswith("tiatoolbox"):
                say(f"{slide}: {seconds / medians['wsss_mm']:.2f} times as fast as {name}\n")
    say(f"load at the end {os.getloadavg()[0]:.1f}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--peer", default=".venv-tiatoolbox/bin/python", help="Python that has tiatoolbox")
    parser.add_argument("--size", type=int, default=8192, help="px, side of the slides")
    parser.add_argument("--width", type=float, default=0.125, help="of the network")
    parser.add_argument("--runs", type=int, default=3, help="of each, medians are reported")
    parser.add_argument("--threads", type=int, default=2, help="of the network")
    for hidden, kind in (("task", str), ("folder", Path), ("slide", str)):
        parser.add_argument(f"--{hidden}", type=kind, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        sys.stdout.write(json.dumps(run_task(arguments)) + "\n")
        return
    if not Path(arguments.peer).is_file():
        sys.stdout.write(f"{arguments.peer}: not there, skipped; make it with: bash benchmarks/peers/tiatoolbox.sh\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), arguments)


if __name__ == "__main__":
    main()
