"""Who is compared by benchmarks/windows_per_second.py: each takes slides in turn and says what the last one took."""

import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from wsss_mm.settings import Precision

WINDOW, STRIDE, MPP, SLIDE_MPP, BATCH = 224, 112, 1.0, 0.5, 16

Figures = dict[str, float]


def _last(slides: Iterable[Path], segment: Callable[[Path], object], seen: list[int]) -> Figures:
    """Time of the last slide, on the wall and of the cores; the others warm up. `seen` counts windows."""
    seconds = used = 0.0
    for slide in slides:
        seen.clear()
        start, cpu = time.perf_counter(), time.process_time()
        segment(slide)
        seconds, used = time.perf_counter() - start, time.process_time() - cpu
    return {"seconds": seconds, "cpu_seconds": used, "computed": sum(seen)}


def _load(network_path: Path, threads: int):
    import torch

    torch.set_num_threads(threads)
    return torch.jit.load(str(network_path)).eval()


def ours_here(folder: Path, threads: int, out: Path, slides: list[Path]) -> Figures:
    """The engine around the same TorchScript file as the peers, in their environment."""
    from wsss_mm.vocabulary import get_vocabulary
    from wsss_mm.wsi import SlideModel
    from wsss_mm.wsi.cores import predict_by_window

    predict = predict_by_window(_load(folder / "network.pt", threads), threads, None)
    model = SlideModel(predict, get_vocabulary("lung"), MPP, "0" * 32, at_once=2)
    return _ours(model, out, slides)


def ours(folder: Path, threads: int, out: Path, slides: list[Path], precision: "Precision") -> Figures:
    """As users run it: the model's folder, in the project's environment."""
    import torch

    from wsss_mm.wsi import SlideModel

    torch.set_num_threads(threads)
    return _ours(SlideModel.from_folder(folder / "model", "cpu", precision), out, slides)


def _ours(model, out: Path, slides: list[Path]) -> Figures:
    from wsss_mm.wsi import segment_slide

    seen: list[int] = []

    def counting(images: np.ndarray) -> np.ndarray:
        seen.append(len(images))
        return model.predict(images)

    counted = replace(model, predict=counting)
    options: dict[str, Any] = {"window": WINDOW, "batch_size": BATCH, "progress": False}
    return _last(slides, lambda slide: segment_slide(slide, counted, out / slide.stem, **options), seen)


def tiatoolbox(folder: Path, threads: int, out: Path, slides: list[Path], output: str) -> Figures:
    """SemanticSegmentor; `output` is WORKERS:KIND, of kinds zarr (labels alone, its cheapest) and qupath (GeoJSON)."""
    import torch
    from tiatoolbox.models.architecture.utils import argmax_last_axis
    from tiatoolbox.models.engine.io_config import IOSegmentorConfig
    from tiatoolbox.models.engine.semantic_segmentor import SemanticSegmentor
    from tiatoolbox.models.models_abc import ModelABC

    seen: list[int] = []

    class Network(ModelABC):
        def __init__(self) -> None:
            super().__init__()
            self.network = _load(folder / "network.pt", threads)

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

    workers, kind = output.split(":")
    segmentor = SemanticSegmentor(Network(), batch_size=BATCH, num_workers=int(workers), device="cpu", verbose=False)
    resolution = [{"units": "mpp", "resolution": MPP}]
    settings = IOSegmentorConfig(
        input_resolutions=resolution,
        output_resolutions=resolution,
        save_resolution=resolution[0],
        patch_input_shape=(WINDOW, WINDOW),
        patch_output_shape=(WINDOW, WINDOW),
        stride_shape=(STRIDE, STRIDE),
    )

    def segment(slide: Path) -> None:
        segmentor.run(
            [slide],
            patch_mode=False,
            auto_get_mask=True,
            save_dir=out / slide.stem,
            overwrite=True,
            output_type=kind,
            ioconfig=settings,
        )

    return _last(slides, segment, seen)


def monai(folder: Path, threads: int, out: Path, slides: list[Path]) -> Figures:
    """sliding_window_inference on the whole slide, read and shrunk by OpenSlide and Pillow; labels as .npy.

    It knows no tissue: glass is computed like all else.
    """
    import openslide
    import torch
    from monai.inferers import sliding_window_inference
    from PIL import Image

    network, seen = _load(folder / "network.pt", threads), []

    def predict(images):
        seen.append(len(images))
        return network(images)

    @torch.inference_mode()
    def segment(slide: Path) -> None:
        with openslide.OpenSlide(slide) as source:
            width, height = (round(side * SLIDE_MPP / MPP) for side in source.dimensions)
            image = (
                source.read_region((0, 0), 0, source.dimensions)
                .convert("RGB")
                .resize((width, height), Image.Resampling.BOX)
            )
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
        overlap = 1 - STRIDE / WINDOW
        labels = sliding_window_inference(pixels, WINDOW, BATCH, predict, overlap=overlap)[0].argmax(0)
        np.save(out / f"{slide.stem}.npy", labels.to(torch.uint8).numpy())

    return _last(slides, segment, seen)


def lazyslide(folder: Path, threads: int, out: Path, slides: list[Path]) -> Figures:
    """seg.semantic on the tiles of the tissue that it finds; polygons as GeoJSON, the only output it has."""
    from types import SimpleNamespace

    import lazyslide as zs
    import torch
    from wsidata import open_wsi

    network, seen = _load(folder / "network.pt", threads), []

    class Network:
        def to(self, device):
            return self

        def get_transform(self):
            return lambda image: torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float()

        def segment(self, images):
            seen.append(len(images))
            return SimpleNamespace(probability_map=network(images))

    def segment(slide: Path) -> None:
        wsi = open_wsi(str(slide), store=str(out / f"{slide.stem}.zarr"))
        zs.pp.find_tissues(wsi)
        zs.pp.tile_tissues(wsi, WINDOW, stride_px=STRIDE, mpp=MPP, edge=True, background_fraction=1.0)  # as all others
        zs.seg.semantic(
            wsi,
            Network(),
            mode="constant",
            threshold=0.25,  # untrained, no class reaches its default of 0.5
            ignore_index=None,
            batch_size=BATCH,
            device="cpu",
            class_names=["TE", "NEC", "LYM", "TAS"],
        )
        (out / f"{slide.stem}.geojson").write_text(wsi["anatomical_structures"].to_json())

    return _last(slides, segment, seen)


def bare(folder: Path, threads: int, count: int = 5) -> dict[str, float | str]:
    """The network alone on windows in memory, one by one and by `BATCH`; ms a window."""
    import torch

    network = _load(folder / "network.pt", threads)
    windows = torch.randint(0, 256, (BATCH, 3, WINDOW, WINDOW)).float()
    found: dict[str, float | str] = {"torch": torch.__version__}
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
    with suppress(ImportError):
        from wsss_mm.wsi.cores import predict_by_window

        predict = predict_by_window(network, threads, None)
        images = windows.permute(0, 2, 3, 1).to(torch.uint8).numpy()
        predict(images)
        start = time.perf_counter()
        predict(np.concatenate([images] * count))
        found["ms_by_core"] = round((time.perf_counter() - start) / BATCH / count * 1000, 2)
    return found
