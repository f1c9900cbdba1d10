"""The picture of docs/slides.md: part of a slide, segmented as published and by default. Run after `make repro`.

docs/pictures/stitching.jpg shows CMU-1-Small-Region.svs (Carnegie Mellon University, CC0), OpenSlide's test data.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import tifffile

from wsss_mm import places
from wsss_mm.files import atomic_path
from wsss_mm.pictures import SheetRow, contact_sheet, overlays
from wsss_mm.slides import open_slide
from wsss_mm.vocabulary import Vocabulary
from wsss_mm.wsi import SlideModel, segment_slide

_VARIANTS: dict[str, dict[str, Any]] = {
    "uniform windows, every bright pixel a hole": {"weighting": "uniform", "min_hole": 0.0},
    "the default": {},
}


def main() -> None:
    """Segment the slide both ways, and lay a square of the maps side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("slide", type=Path, help="whole-slide image")
    parser.add_argument("--model", default=places.SEGMENTER.as_posix(), help="folder of a segmenter")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/stitching.jpg"), help="picture to write")
    parser.add_argument(
        "--square", type=int, nargs=3, default=(480, 760, 600), metavar=("X", "Y", "SIDE"), help="map px"
    )
    arguments = parser.parse_args()
    model = SlideModel.from_folder(arguments.model, precision="fp32")
    x, y, side = arguments.square
    maps = []
    with tempfile.TemporaryDirectory() as scratch:
        for number, options in enumerate(_VARIANTS.values()):
            folder = Path(scratch) / str(number)
            segment_slide(arguments.slide, model, folder, **options)
            maps.append(tifffile.imread(folder / places.LABEL_MAP, key=0)[y : y + side, x : x + side])
    with open_slide(arguments.slide) as slide:
        factor = model.mpp / slide.mpp
        image = slide.read(slide.bounds[0] + x * factor, slide.bounds[1] + y * factor, (side, side), model.mpp)
    panels = overlays(image, maps, Vocabulary("model", model.classes))
    sheet = contact_sheet([SheetRow(panels)], ["the slide", *_VARIANTS], side=420)
    with atomic_path(arguments.out) as path:
        sheet.save(path, quality=82)


if __name__ == "__main__":
    main()
