"""How much pen on glass is left out, and how much clean tissue with it: strokes drawn over real tissue and its glass.

Real regions, with the density of their stain times 0.5, 1 and 1.6, lie in the middle of 3.2 mm of glass, noise as a
scanner's. Two strokes of a marker run from the glass over the tissue, by Beer-Lambert: 600 um wide as the ink is, and
250 um at 0.3 of its density, denser here and there by 15 %, grainy by 4 %, with soft edges; then JPEG of quality 75 at
2 um/px. Rule and thresholds were chosen on the `choice` regions, figures come from the `report` ones.

    python -m studies.pen --data FOLDER
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from wsss_mm.patches.images import read_image
from wsss_mm.slides import open_slide
from wsss_mm.slides.tissue import coloured, tissue_and_pen

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

INKS = {
    "blue": (35, 60, 150),
    "green": (20, 115, 75),
    "red": (195, 30, 45),
    "black": (28, 28, 34),
    "purple": (95, 40, 135),
    "orange": (240, 115, 30),
    "yellow": (245, 238, 85),
}
"""RGB of each ink at full density on white."""
STAINS, STRENGTHS, WIDTHS = (0.5, 1.0, 1.6), (0.3, 1.0), (250, 600)
WHITE = np.array([245, 243, 243], np.float32)

_TOLD = 0.5  # of the pen on glass: where less is left out, it was taken for tissue
_MPP, _SIDE, _SEEN = 2.0, 1600, 4  # um/px and px of the canvas; the detector's um/px over the canvas's


def stroke(rng: np.random.Generator, side: int, mpp: float, width: float, start: tuple[float, float]) -> Image:
    """Thickness of ink (side, side), about 0..1.5: a stroke of `width` um from a place (x, y) in px over the middle."""
    place, angle = np.array(start, float), np.arctan2(side / 2 - start[1], side / 2 - start[0])
    points = [place.copy()]
    for _ in range(40):
        angle += rng.normal(0, 0.2)
        place += np.array([np.cos(angle), np.sin(angle)]) * 100 / mpp
        points.append(place.copy())
    drawn = np.zeros((side, side), np.uint8)
    cv2.polylines(drawn, [np.round(points).astype(np.int32)], False, 255, round(width / mpp))
    soft = cv2.GaussianBlur(drawn.astype(np.float32) / 255, (0, 0), 12 / mpp)
    uneven = (
        0.15 * _noise(rng, side, 300 / mpp) + 0.08 * _noise(rng, side, 60 / mpp) + 0.04 * _noise(rng, side, 8 / mpp)
    )
    return cast("Image", soft * np.clip(1 + uneven, 0.4, 1.8))


def inked(image: Image, thickness: Image, ink: tuple[int, int, int], strength: float) -> Image:
    """An image through ink, by Beer-Lambert."""
    density = -np.log((np.array(ink, np.float32) + 1) / 256) * strength
    return cast("Image", image * np.exp(-thickness[..., None] * density))


def stained(image: npt.NDArray[np.uint8], times: float) -> Image:
    """An image with the density of its stain multiplied."""
    density = np.log((WHITE + 1) / (image.astype(np.float32) + 1))
    return cast("Image", np.clip((WHITE + 1) * np.exp(-times * density) - 1, 0, 255))


def scanned(image: Image) -> npt.NDArray[np.uint8]:
    """As JPEG makes it."""
    pixels = cv2.cvtColor(np.clip(image, 0, 255).astype(np.uint8), cv2.COLOR_RGB2BGR)
    _, code = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 75])
    decoded: Any = cv2.imdecode(code, cv2.IMREAD_COLOR)
    return cast("npt.NDArray[np.uint8]", cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))


def regions(data: Path, part: str) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    """Name and pixels at 2 um/px of each region to choose rule and thresholds on, or to report."""
    name = {"choice": "CMU-1-Small-Region", "report": "tcga-cr-7395-01a-01-ts1"}[part]
    with open_slide(data / f"slides/{name}.svs", mpp=0.5) as slide:
        size = [int(side * slide.mpp / _MPP) for side in slide.size]
        yield name[:12], slide.read(0, 0, (min(size[0], _SIDE), min(size[1], _SIDE)), _MPP)
    if part == "choice":
        paths = [path for path in sorted((data / "wsss4luad/training").glob("*.png")) if path.name[:3] in _REGIONS]
        for region in _REGIONS:
            yield f"wsss4luad {region[:2]}", _half(_sheet([path for path in paths if path.name[:3] == region], 112))
        return
    for path in sorted((data / "wsss4luad").glob("[tv]*/img/*.png")):
        image = read_image(path)
        if min(image.shape[:2]) >= _LARGE:
            yield f"wsss4luad {path.parent.parent.name} {path.stem}", _half(image)
    patches = sorted((data / "bcss_wsss").glob("t*/**/*.png"))
    images = [path for path in patches if "mask" not in path.parts][:225]
    yield "bcss_wsss patches", _shrunk(_sheet(images, 224), 8)


_REGIONS, _LARGE = ("68-", "57-", "36-"), 400


def _sheet(paths: list[Path], side: int) -> npt.NDArray[np.uint8]:
    """Patches side by side; where they come from in their region does not matter here."""
    columns = max(1, int(np.sqrt(len(paths))))
    rows = len(paths) // columns
    sheet = np.zeros((rows * side, columns * side, 3), np.uint8)
    for index, path in enumerate(paths[: rows * columns]):
        top, left = index // columns * side, index % columns * side
        sheet[top : top + side, left : left + side] = read_image(path)[:side, :side]
    return sheet


def canvas(rng: np.random.Generator, region: npt.NDArray[np.uint8], times: float) -> Image:
    """A region, stained so often, on glass."""
    image = (WHITE + rng.normal(0, 1.5, (_SIDE, _SIDE, 3))).astype(np.float32)
    height, width = (min(side, _SIDE) for side in region.shape[:2])
    top, left = (_SIDE - height) // 2, (_SIDE - width) // 2
    image[top : top + height, left : left + width] = stained(region[:height, :width], times)
    return image


def measure(
    image: Image, tissue: Mask, thickness: Image, ink: tuple[int, int, int], strength: float
) -> dict[str, float]:
    """Shares of pen on glass that was tissue and is none, of clean tissue that is lost, and of inked tissue kept."""
    seen, layer = _shrunk(scanned(inked(image, thickness, ink, strength)), _SEEN), _shrunk(thickness, _SEEN)
    found, _ = tissue_and_pen(seen, _MPP * _SEEN)
    whole = cv2.morphologyEx(tissue.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    glass = (cv2.dilate(whole, np.ones((5, 5), np.uint8)) == 0) & (layer > 0.05)
    bare, under = tissue & (layer < 0.02), tissue & (layer > 0.5)
    return {
        "before": _share(glass & coloured(seen, _MPP * _SEEN), glass),
        "left_out": _share(glass & ~found, glass),
        "lost": _share(bare & ~found, bare),
        "bare": float(bare.sum()),
        "kept": _share(under & found, under),
    }


def _share(part: Mask, whole: Mask) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else float("nan")


def _noise(rng: np.random.Generator, side: int, grain: float) -> Image:
    few = max(2, int(side / grain))
    values = rng.standard_normal((few, few), dtype=np.float32)
    return cast("Image", cv2.resize(values, (side, side), interpolation=cv2.INTER_CUBIC))


def _shrunk(image: Any, times: int) -> Any:
    size = image.shape[1] // times, image.shape[0] // times
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _half(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return _shrunk(image, 2)


def _least(rows: list[dict[str, float]]) -> float:
    return min((row["left_out"] for row in rows if row["left_out"] >= _TOLD), default=float("nan"))


def main() -> None:
    """Print a row an ink: the worst over regions, stains, strengths and widths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of slides, wsss4luad and bcss_wsss")
    parser.add_argument("--part", choices=("choice", "report"), default="report", help="which regions")
    arguments = parser.parse_args()
    rows: dict[str, list[dict[str, float]]] = {ink: [] for ink in INKS}
    without = 0.0
    for number, (name, region) in enumerate(regions(arguments.data, arguments.part)):
        rng = np.random.default_rng(number)
        ends = ((0.15 * _SIDE, 0.5 * _SIDE), (0.5 * _SIDE, 0.1 * _SIDE))
        strokes = [np.maximum(*(stroke(rng, _SIDE, _MPP, width, end) for end in ends)) for width in WIDTHS]
        for times in STAINS:
            image = canvas(rng, region, times)
            clean = _shrunk(scanned(image), _SEEN)
            tissue, pen = tissue_and_pen(clean, _MPP * _SEEN)
            without = max(without, _share(pen, tissue | pen))
            for ink, color in INKS.items():
                for thickness, strength in zip(strokes, STRENGTHS, strict=True):
                    rows[ink].append(measure(image, tissue, thickness, color, strength))
        last = [row for found in rows.values() for row in found[-len(STAINS) * len(WIDTHS) :]]
        said = f"{sum(row['left_out'] < _TOLD for row in last)} of {len(last)} strokes are taken for tissue"
        print(f"{name}: {said}; of the others at least {_least(last):.4f} on glass is left out", flush=True)
    print("| ink | strokes | taken for tissue | tissue before | left out, least of the others | mean of all |", end="")
    print(" clean tissue lost | of one region, most | inked kept, mean |\n|---|---|---|---|---|---|---|---|---|")
    for ink, found in rows.items():
        of = {key: np.array([row[key] for row in found]) for key in found[0]}
        taken, lost = (of["left_out"] < _TOLD).sum(), np.nansum(of["lost"] * of["bare"]) / of["bare"].sum()
        print(
            f"| {ink} | {len(found)} | {taken} | {of['before'].mean():.2f} | {_least(found):.4f} "
            f"| {of['left_out'].mean():.4f} | {lost:.4f} | {np.nanmax(of['lost']):.4f} | {np.nanmean(of['kept']):.2f} |"
        )
    print(f"Clean tissue lost where there is no pen, at most: {without:.4f}")


if __name__ == "__main__":
    main()
