"""Small data sets in the layout of each row of sources.yaml: images of 224 px, masks in stripes of all classes."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from wsss_mm.cohort import Cohort
from wsss_mm.cohort.splits import hold_out
from wsss_mm.labelling.exchange.coco import picture_of_mask, write_coco
from wsss_mm.patches.importers import import_patches, list_slides
from wsss_mm.settings import PatchSettings
from wsss_mm.slides.table import write_slide_table
from wsss_mm.sources import SOURCES, Source, without_label
from wsss_mm.vocabulary import IGNORE, Vocabulary, get_vocabulary

SIDE, STRIPE = 224, 16
COLORS = [(10, 20, 30), (200, 10, 10), (10, 200, 10), (10, 10, 200), (200, 200, 10), (10, 200, 200)]
GRADES = ("benign", "malignant")


@dataclass
class Made:
    """What was written: label sets and masks by a piece of the patch_id, or of the image's name."""

    folder: Path
    vocabulary: Vocabulary
    counts: dict[str, int] = field(default_factory=dict)
    labels: dict[str, tuple[bool, ...]] = field(default_factory=dict)
    masks: dict[str, np.ndarray] = field(default_factory=dict)


def vocabulary_of(row: Source) -> Vocabulary:
    return get_vocabulary(row.vocabulary or "lung")


def picture(number: int, side: int = SIDE) -> np.ndarray:
    return np.full((side, side, 3), (170 - number, 90, 150 + number), np.uint8)


def stripes(classes: int, side: int = SIDE) -> np.ndarray:
    """A mask of all classes, whose first stripe is of none."""
    mask = np.repeat(np.arange(side) // STRIPE % classes, side).reshape(side, side).astype(np.uint8)
    mask[:STRIPE] = IGNORE
    return mask


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)
    return path


def sample(row: Source, number: int) -> str:
    """A file name of the data set's shape without label, of another slide for every number."""
    stem = without_label(re.sub(r"\.\w+$", "", row.pattern))
    return re.sub("[A-Za-z0-9]", "ABCDEFGHJKLM"[number], stem, count=1)


def make(row: Source, folder: Path) -> Made:
    """Write a small data set of a row's layout: two or more images of each class, and a test split."""
    made = Made(folder, vocabulary_of(row))
    {"named": _named, "pairs": _pairs, "folders": _folders, "table": _table, "coco": _coco}[row.layout](row, made)
    return made


def _counted(made: Made, split: str) -> None:
    made.counts[split] = made.counts.get(split, 0) + 1


def _named(row: Source, made: Made) -> None:
    classes = len(made.vocabulary)
    for number, label in enumerate([*np.eye(classes, dtype=int).tolist(), [1] * classes]):
        name = sample(row, number)
        save(made.folder / "training" / f"{name}-[{' '.join(map(str, label))}].png", picture(number))
        made.labels[name] = tuple(map(bool, label))
        _counted(made, "train")
    for split, folder, first in (("valid", "val", 6), ("test", "test", 8)):
        for number in (first, first + 1):
            save(made.folder / folder / "img" / f"{sample(row, number)}.png", picture(number))
            mask = stripes(classes)
            mask[mask == IGNORE] = row.ignored[0] if row.ignored else 0
            save(made.folder / folder / "mask" / f"{sample(row, number)}.png", mask)
            made.masks[sample(row, number)] = np.where(np.isin(mask, row.ignored), IGNORE, mask)
            _counted(made, split)


def _pairs(row: Source, made: Made) -> None:
    classes = len(made.vocabulary)
    for number in range(6):
        split = "test" if number > 3 else "train"
        mask = stripes(classes)
        if row.name == "bcss_regions":
            name = f"TCGA-{'OL' if split == 'test' else 'A1'}-A0S{number}-DX1_xmin45749_ymin25055_MPP-0.2500.png"
            codes = {0: 19, 1: 2, 2: 10, 3: 4, IGNORE: 0}
            save(made.folder / "masks" / name, _coded(mask, codes))
            save(made.folder / "rgbs_colorNormalized" / name, picture(number))
            made.masks[f"A0S{number}"] = mask
        elif row.name == "glas":
            name = f"{'testA' if split == 'test' else 'train'}_{number}"
            save(made.folder / f"{name}.bmp", picture(number))
            instances = np.where(mask == 2, 0, np.where(mask == IGNORE, 0, mask + 1 + number))
            save(made.folder / f"{name}_anno.bmp", instances)
            with (made.folder / "Grade.csv").open("a") as stream:
                if number == 0:
                    stream.write("name,patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)\n")
                stream.write(f"{name},{number}, {GRADES[number % 2]}, adenomatous\n")
            made.masks[name] = np.where(instances == 0, 2, number % 2)
        else:
            name = f"{'ABCDEF'[number]}.png"
            save(made.folder / split / "images" / name, picture(number))
            save(made.folder / split / "masks" / name, painted(mask))
            made.masks[f"{split}_{'ABCDEF'[number]}"] = mask
        _counted(made, split)
    if row.name == "masks":
        lines = [f"{item.name},{r},{g},{b}" for item, (r, g, b) in zip(made.vocabulary.classes, COLORS, strict=False)]
        (made.folder / "codes.csv").write_text("\n".join(["label,r,g,b", *lines, "ignore,255,255,255"]) + "\n")


def _coded(mask: np.ndarray, codes: dict[int, int]) -> np.ndarray:
    table = np.zeros(256, np.uint8)
    table[list(codes)] = list(codes.values())
    return table[mask]


def painted(mask: np.ndarray) -> np.ndarray:
    """A mask in colours, white where it is ignored."""
    table = np.full((256, 3), 255, np.uint8)
    table[: len(COLORS)] = COLORS
    return table[mask]


def _folders(row: Source, made: Made) -> None:
    for index, item in enumerate(made.vocabulary.classes):
        for number in range(4):
            letter, split = "ABCD"[number], "test" if number == 3 else "train"
            if row.name == "nct_crc":
                top = "CRC-VAL-HE-7K" if split == "test" else "NCT-CRC-HE-100K"
                path, key = f"{top}/{item.code}/{item.code}-AAAAAAA{letter}.tif", f"{item.code}-AAAAAAA{letter}"
            elif row.name == "kather2016":
                key = f"CRC-Prim-HE-0{number}_{index}{letter}"
                path = f"{item.aliases[0]}/{index}{letter}_CRC-Prim-HE-0{number}_007b.tif_Row_151_Col_301.tif"
            else:
                path, key = f"{split}/{item.name}/{letter}.png", f"{split}_{item.name}_{letter}"
            save(made.folder / path, picture(10 * index + number))
            made.labels[key] = tuple(place == index for place in range(len(made.vocabulary)))
            _counted(made, split)


def _table(row: Source, made: Made) -> None:
    lines = ["path,labels,split,patient_id"]
    for number in range(8):
        split, codes = ("train", "train", "valid", "test")[number % 4], made.vocabulary.codes
        held = {number % len(codes), (number + 1) % len(codes)}
        save(made.folder / "tiles" / f"t{number}.png", picture(number))
        lines.append(f"tiles/t{number}.png,{';'.join(codes[index] for index in sorted(held))},{split},P{number}")
        made.labels[f"t{number}"] = tuple(index in held for index in range(len(codes)))
        _counted(made, split)
    (made.folder / "labels.csv").write_text("\n".join(lines) + "\n")


def _coco(row: Source, made: Made) -> None:
    for split, numbers in (("train", (0, 1, 2)), ("val", (3,)), ("test", (4,))):
        pictures = []
        for number in numbers:
            save(made.folder / split / f"c{number}.png", picture(number))
            mask = stripes(len(made.vocabulary))
            pictures.append(picture_of_mask(f"c{number}.png", mask, made.vocabulary))
            made.masks[f"{split}_c{number}"] = mask
            _counted(made, "valid" if split == "val" else split)
        write_coco(made.folder / split / "_annotations.coco.json", pictures, made.vocabulary)


def edit_json(path: Path, change) -> None:
    """Change what a JSON holds, in place."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def run(name: str, folder: Path, vocabulary: Vocabulary, size: int = SIDE, mpp: float | None = None):
    """Import a folder; the manifest by patch_id, and where the patches are."""
    table, out = folder.with_name("slides.csv"), folder.with_name("patches")
    write_slide_table(hold_out(list_slides(name, folder, vocabulary), 0.3, 0, str(folder)), table)
    mpp = mpp or SOURCES[name].mpp or 0.5
    settings = PatchSettings(
        mpp=mpp, size=size, min_tissue=0.25, leave_out_pen=True, min_class_share=0.03, valid_share=0.3, storage="auto"
    )
    cohort = Cohort.read(table)
    frame = import_patches(name, folder, out, cohort, settings=settings, vocabulary=vocabulary)
    return frame.set_index("patch_id"), out
