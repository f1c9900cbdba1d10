"""The phantom cohort: slides, truth and the table of slides.

A slide is `slides/<slide_id>.tiff`. Its truth, `truth/<slide_id>.tif`, is the label map that drove the rendering, on
the slide's own level-0 grid (0.5 um/px): uint8, tiled, deflate, class indices and 255 for glass, lumina and tears.
`wsss_mm.slides.labels` reads it at any resolution.
"""

import multiprocessing
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import psutil
import tifffile
from numpy.typing import NDArray
from tqdm import tqdm

from wsss_mm.interrupts import deaf_children, ended_children
from wsss_mm.places import TRUTH
from wsss_mm.slides.phantom import nuclei
from wsss_mm.slides.phantom.aperio import write_aperio
from wsss_mm.slides.phantom.fields import Field, smooth_field, spaced_points
from wsss_mm.slides.phantom.layout import LYMPHOCYTES, NECROSIS, PX_PER_UM, STROMA, TUMOUR, make_layout, values_of
from wsss_mm.slides.phantom.matrix import Fibres, fill, make_fibres
from wsss_mm.slides.phantom.stain import colour, draw_stain
from wsss_mm.vocabulary import Split, Vocabulary

PHANTOM_MPP = 0.5
"""um/px of the slides at level 0."""

_MAGNIFICATION = 20
_BYTES_PER_PX = 70  # of memory while a slide is rendered


def generate_cohort(
    folder: Path,
    slides: Mapping[Split, int],
    size: int,
    seed: int,
    *,
    vocabulary: Vocabulary | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Generate slides and truth, one patient a slide.

    Args:
        folder: gets `slides/<slide_id>.tiff` and `truth/<slide_id>.tif`.
        slides: number of slides of each split.
        size: width and height of a slide, px at 0.5 um/px.
        seed: the same seed gives the same bytes, whatever `workers` is.
        vocabulary: gives the truth its order, by the roles of the classes; without one it is that of `layout.TISSUES`.
        workers: processes; by default as many as there are cores and memory for.
        progress: show a progress bar.

    Returns:
        The rows of slides.csv, `path` relative to `folder`.

    Raises:
        InputError: the vocabulary has no class for one of the tissues.
    """
    rows, jobs = [], []
    values = None if vocabulary is None else values_of(vocabulary)
    numbers = [(split, number) for split, count in slides.items() for number in range(1, count + 1)]
    seeds = np.random.SeedSequence(seed).spawn(len(numbers))
    for name in ("slides", TRUTH):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for patient, ((split, number), slide_seed) in enumerate(zip(numbers, seeds, strict=True), start=1):
        slide_id = f"phantom-{split}-{number:02d}"
        path = f"slides/{slide_id}.tiff"
        rows.append({"slide_id": slide_id, "patient_id": f"patient-{patient:02d}", "path": path, "split": split})
        jobs.append((folder / path, folder / TRUTH / f"{slide_id}.tif", size, slide_seed, values))
    workers = min(workers or _affordable_workers(size), len(jobs))
    with tqdm(total=len(jobs), desc="phantom slides", unit="slide", disable=not progress) as bar:
        if workers == 1:
            for job in jobs:
                _write_slide(job)
                bar.update()
        else:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(workers, mp_context=context) as pool, ended_children():
                with deaf_children():
                    done = [pool.submit(_write_slide, job) for job in jobs]  # which begins them
                for future in done:  # and no map, which cancels: the pool prints a traceback of what it finds cancelled
                    future.result()
                    bar.update()
    return pd.DataFrame(rows).assign(mpp="", roi="", annotation="")


def _affordable_workers(size: int) -> int:
    by_memory = psutil.virtual_memory().available // (_BYTES_PER_PX * size * size)
    return max(1, min(os.cpu_count() or 1, by_memory))


def _write_slide(job: tuple[Path, Path, int, np.random.SeedSequence, NDArray[np.uint8] | None]) -> None:
    slide_path, truth_path, size, seed, values = job
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # a process a core
    try:
        image, labels = generate_slide(size, seed)
    finally:
        cv2.setNumThreads(threads)
    write_aperio(slide_path, image, PHANTOM_MPP, _MAGNIFICATION)
    pixels_per_cm = 10_000 / PHANTOM_MPP
    tifffile.imwrite(
        truth_path,
        labels if values is None else values[labels],
        photometric="minisblack",
        tile=(256, 256),
        compression="zlib",
        resolution=(pixels_per_cm, pixels_per_cm),
        resolutionunit="CENTIMETER",
        metadata=None,
        software=False,
        maxworkers=1,
    )


def generate_slide(size: int, seed: np.random.SeedSequence) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Render one slide: (size, size, 3) uint8 RGB before JPEG, and its (size, size) uint8 `Layout.labels`."""
    layout_rng, fibre_rng, nuclei_rng, matrix_rng, stain_rng = map(np.random.default_rng, seed.spawn(5))
    layout = make_layout(layout_rng, size)
    fibres = make_fibres(fibre_rng, size)
    tumour_cells = spaced_points(nuclei_rng, layout.labels == TUMOUR, 11.0 * PX_PER_UM)
    grounds = fill(matrix_rng, layout.labels, fibres, tumour_cells)
    margin = nuclei.MARGIN
    haematoxylin, eosin = (np.pad(plane, margin) for plane in grounds)
    _add_nuclei(nuclei_rng, (haematoxylin, eosin), layout.labels, fibres, tumour_cells)
    inner = np.s_[margin:-margin, margin:-margin]
    # Nuclei may lean over a compartment's border, never over glass.
    tissue = cv2.GaussianBlur((~layout.glass).astype(np.float32), (0, 0), 1.2)
    image = colour(stain_rng, haematoxylin[inner] * tissue, eosin[inner] * tissue, draw_stain(stain_rng))
    return image, layout.labels


def _add_nuclei(
    rng: np.random.Generator,
    canvas: tuple[Field, Field],
    labels: NDArray[np.uint8],
    fibres: Fibres,
    tumour_cells: NDArray[np.int32],
) -> None:
    """Place each tissue's nuclei, and the few strangers every tissue has."""
    um = PX_PER_UM
    crowding = smooth_field(rng, labels.shape, 45 * um)

    def place(kind: nuclei.NucleusKind, points: NDArray[np.int32], scale: float, along: bool = False) -> None:
        library = nuclei.draw_library(rng, kind, scale)
        count = len(points)
        choice = rng.integers(0, len(library), count)
        if along:
            angle = fibres.direction_at(points) + rng.normal(0, 0.18, count)
            choice = np.floor(angle / np.pi * len(library)).astype(int) % len(library)
        gain = np.clip(1 + kind.spread * rng.standard_normal(count), 0.45, 1.6)
        used, choice = np.unique(choice, return_inverse=True)
        nuclei.stamp_nuclei(canvas, library.render(used), points, gain, choice)

    def scatter(label: int, distance: float, keep: float, sway: float = 0.0) -> NDArray[np.int32]:
        points = spaced_points(rng, labels == label, distance * um)
        chance = keep * np.exp(sway * crowding[points[:, 1], points[:, 0]])
        return points[rng.random(len(points)) < chance]

    size = rng.uniform(0.95, 1.06)
    place(nuclei.GHOST, scatter(NECROSIS, 12, 0.55), 1.0)
    place(nuclei.DEBRIS, scatter(NECROSIS, 5, 0.55, 0.4), 1.0)
    place(nuclei.PYKNOTIC, scatter(NECROSIS, 14, 0.3, 0.5), 1.0)
    place(nuclei.SPINDLE, scatter(STROMA, 13, 0.6, 0.4), 1.0, along=True)
    place(nuclei.LYMPHOCYTE, scatter(STROMA, 14, 0.07, 0.8), 1.0)
    place(nuclei.TUMOUR, tumour_cells, size)
    place(nuclei.LYMPHOCYTE, scatter(TUMOUR, 16, 0.05, 0.8), 1.0)
    place(nuclei.SPINDLE, scatter(LYMPHOCYTES, 22, 0.3), 0.9, along=True)
    place(nuclei.LYMPHOCYTE, scatter(LYMPHOCYTES, 6.3, 0.9, 0.1), 1.0)
