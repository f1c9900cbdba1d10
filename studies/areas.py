"""How often the true area of a class lies in the interval that a page of findings gives it: phantom slides with truth.

Slides of a seed that no training has seen are generated and segmented, and areas are compared with the truth: of all
true tissue, and of that which the map calls tissue too, since the interval knows of tissues taken for one another
alone. The model's own validation and test slides take no part.

    python -m studies.areas --slides 12
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from wsss_mm import places
from wsss_mm.findings.program import Program, read_program
from wsss_mm.findings.slide import Asked, Findings, findings_of
from wsss_mm.findings.survey import survey
from wsss_mm.slides.labels import label_bands, read_label_tiff, resample_labels
from wsss_mm.slides.phantom.cohort import PHANTOM_MPP, generate_cohort
from wsss_mm.vocabulary import IGNORE
from wsss_mm.wsi import SlideModel, segment_slide
from wsss_mm.wsi.viewer.results import read_result

_WORK = places.WORK / "areas"


def areas_of_truth(truth: Path, segmentation: Path, classes: int, mpp: float) -> tuple[list[float], list[float]]:
    """mm2 of each class: of all of the truth, and of it where the map has tissue."""
    exact = read_label_tiff(truth)
    whole = np.bincount(exact.ravel(), minlength=256)[:classes] * PHANTOM_MPP**2 / 1e6
    within = np.zeros(256)
    for top, band in label_bands(segmentation):
        scale = exact.shape[1] / band.shape[1]
        target = resample_labels(exact, 0, top * scale, band.shape[::-1], scale)
        within += np.bincount(target[band != IGNORE], minlength=256)
    return whole.tolist(), (within[:classes] * mpp**2 / 1e6).tolist()


def slides(work: Path, folder: Path, count: int, size: int, seed: int) -> Iterator[tuple[Findings, Path]]:
    """Findings and truth of each slide; those that are there already are taken."""
    program = read_program(folder)
    if not (work / places.TRUTH / f"phantom-test-{count:02d}.tif").is_file():
        generate_cohort(work, {"test": count}, size, seed, vocabulary=program.vocabulary, workers=1)
    model = SlideModel.from_folder(folder)
    for number in range(1, count + 1):
        name = f"phantom-test-{number:02d}"
        out = work / "results" / name
        segment_slide(work / "slides" / f"{name}.tiff", model, out, confidence=True, skip_done=True)
        result = read_result(out)
        yield findings_of(result, Asked(), program, survey(result)), work / places.TRUTH / f"{name}.tif"


def _ratio(areas: Sequence[float], program: Program | None) -> float:
    if program is None:
        raise ValueError("results without a model")
    tumour, stroma = (sum(areas[index] for index in program.members(role)) for role in ("tumour", "stroma"))
    return tumour / stroma


def main() -> None:
    """Print how often the truth lies in the interval, and how wide that is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--slides", type=int, default=12, help="how many")
    parser.add_argument("--seed", type=int, default=4711, help="of the slides; another than params.yaml's")
    parser.add_argument("--size", type=int, default=4096, help="of a slide, px at 0.5 um/px")
    parser.add_argument("--model", type=Path, default=places.SEGMENTER, help="folder of a segmenter")
    parser.add_argument("--work", type=Path, default=_WORK, help="gets slides and results; what is there is taken")
    arguments = parser.parse_args()
    rows: dict[str, list[tuple[bool, bool, float, float]]] = {}
    made = slides(arguments.work, arguments.model, arguments.slides, arguments.size, arguments.seed)
    for found, truth in made:
        result = found.result
        if found.intervals is None:
            raise SystemExit(f"{arguments.model}: says nothing of areas; train it again")
        whole, within = areas_of_truth(truth, result.folder / places.LABEL_MAP, len(result.classes), result.mpp)
        for index, item in enumerate(result.classes):
            low, high = found.intervals[index]
            inside = (low <= whole[index] <= high, low <= within[index] <= high)
            half, off = (high - low) / 2, abs(item.area_mm2 - whole[index])
            rows.setdefault(item.name, []).append((*inside, half / whole[index], off / whole[index]))
        if found.ratio is not None and result.tumour_stroma_ratio is not None:
            low, high = found.ratio[0], found.ratio[1] or np.inf
            ratios = [_ratio(areas, found.program) for areas in (whole, within)]
            half, off = (high - low) / 2, abs(result.tumour_stroma_ratio - ratios[0])
            inside = (low <= ratios[0] <= high, low <= ratios[1] <= high)
            rows.setdefault("Tumour-stroma ratio", []).append((*inside, half / ratios[0], off / ratios[0]))
    print("| | slides | true area in the interval | where the map has tissue | half of the interval | error |")
    print("|---|---|---|---|---|---|")
    for name, values in rows.items():
        whole, within, half, off = np.mean(values, axis=0)
        print(f"| {name} | {len(values)} | {whole:.3f} | {within:.3f} | {100 * half:.1f} % | {100 * off:.1f} % |")


if __name__ == "__main__":
    main()
