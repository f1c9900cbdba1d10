"""A fault, and ways to do harm to a clean project: each gives back what does it, given the project's root."""

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import tifffile
from PIL import Image

from tests.gates.project import CODES, LUNG, SIZE, edit, make_patches, tissue_image, write_slide
from wsss_mm.gates.quarantine import PATH as QUARANTINE
from wsss_mm.gates.quarantine import Entry, write_quarantine
from wsss_mm.patches.images import read_image, read_label_map, write_image, write_mask
from wsss_mm.patches.vocabulary import IGNORE


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        says: What went wrong, in words.
        gate: The first gate that can know.
        check: What catches it there.
        inject: Does it to a clean project, given its root.
        also: Other checks that it breaks too.
        champion: Given to gate segmenter.
    """

    says: str
    gate: str
    check: str
    inject: Callable[[Path], Any]
    also: tuple[str, ...] = ()
    champion: dict[str, Any] | None = None


SLIDES, PATCHES = "data/cohort/slides.csv", "data/patches/manifest.parquet"
LABELS, MODEL = "data/pseudo_labels/manifest.parquet", "models/classifier/model.json"
CLASSIFIER, TEST = "reports/metrics/classifier.json", "reports/metrics/test.json"
CONFUSION = "reports/plots/test_confusion.csv"
RESULT = "results/slides/slide-test"
SUMMARY, GEOJSON = f"{RESULT}/summary.json", f"{RESULT}/segmentation.geojson"


def cells(file: str, name: str, **values: Any) -> Callable[[Path], None]:
    """Set cells of the row whose first column (or patch_id) is `name`."""

    def change(table: pd.DataFrame) -> None:
        key = "patch_id" if "patch_id" in table else table.columns[0]
        for column, value in values.items():
            table.loc[table[key] == name, column] = value

    return lambda root: edit(root / file, change)


def table(path: str, change: Callable[[pd.DataFrame], Any]) -> Callable[[Path], None]:
    """Change a whole table."""
    return lambda root: edit(root / path, change)


def content(path: str, change: Callable[[dict], Any]) -> Callable[[Path], None]:
    """Change a JSON file."""
    return lambda root: edit(root / path, change)


def gone(path: str) -> Callable[[Path], None]:
    """Delete a file."""
    return lambda root: (root / path).unlink()


def written(path: str, data: bytes) -> Callable[[Path], Any]:
    """Overwrite a file."""
    return lambda root: (root / path).write_bytes(data)


def cut_short(path: str) -> Callable[[Path], Any]:
    """Leave the first half of a file."""
    return lambda root: (root / path).write_bytes((root / path).read_bytes()[: (root / path).stat().st_size // 2])


def slide(change: Callable[[np.ndarray], np.ndarray], mpp: float | None = 0.5) -> Callable[[Path], None]:
    """Repaint slide-train."""

    def inject(root: Path) -> None:
        image = np.full((480, 640, 3), 245, np.uint8)
        image[:, :480] = tissue_image(np.random.default_rng(0), 480, 480)
        write_slide(root / "data/cohort/slides/slide-train.tiff", change(image), mpp)

    return inject


def image(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """Repaint a patch, and let the manifest know its new sha256."""

    def inject(root: Path) -> None:
        path = root / f"data/patches/images/{name.split('-', maxsplit=1)[0]}/{name}.png"
        digest = write_image(path, np.ascontiguousarray(change(read_image(path))))
        cells(PATCHES, name, sha256=digest)(root)

    return inject


def images(split: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """Repaint all patches of a split."""

    def inject(root: Path) -> None:
        for path in sorted((root / f"data/patches/images/{split}").iterdir()):
            image(path.stem, change)(root)

    return inject


def mask(name: str, change: np.ndarray | Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], Any]:
    """Replace or repaint the mask of a patch, and let the manifest know its new sha256."""

    def inject(root: Path) -> None:
        path = root / f"data/patches/masks/{name.split('-', maxsplit=1)[0]}/{name}.png"
        labels = change(read_label_map(path)) if callable(change) else change
        digest = write_mask(path, np.ascontiguousarray(labels), LUNG)
        cells(PATCHES, name, mask_sha256=digest)(root)

    return inject


def masks(split: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """Repaint all masks of a split."""

    def inject(root: Path) -> None:
        for path in sorted((root / f"data/patches/masks/{split}").iterdir()):
            mask(path.stem, change)(root)

    return inject


def swapped(kind: str, *columns: str) -> Callable[[Path], None]:
    """Exchange the files (images or masks) of two test patches, and `columns` of the manifest with them."""

    def inject(root: Path) -> None:
        one, other = (root / f"data/patches/{kind}/test/test-0{number}.png" for number in (0, 3))
        first, second = one.read_bytes(), other.read_bytes()
        one.write_bytes(second)
        other.write_bytes(first)
        rows = pd.read_parquet(root / PATCHES).set_index("patch_id")
        for name, from_other in (("test-00", "test-03"), ("test-03", "test-00")):
            cells(PATCHES, name, **{column: rows.loc[from_other, column] for column in columns})(root)

    return inject


def exchanged(a: str, b: str, split: str | None = None) -> Callable[[Path], None]:
    """Exchange two columns of the manifest, in all rows or in those of a split."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        rows = frame["split"] == split if split else frame["split"].notna()
        return frame.assign(**{a: frame[a].mask(rows, frame[b]), b: frame[b].mask(rows, frame[a])})

    return table(PATCHES, change)


def remade(change: Callable[[Path], Any]) -> Callable[[Path], None]:
    """Change the cohort, given its folder, and cut the patches again: the manifest says what the cohort says."""

    def inject(root: Path) -> None:
        change(root / "data/cohort")
        shutil.rmtree(root / "data/patches")
        make_patches(root)

    return inject


def truth(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """Change the truth of slide-test, given the cohort's folder."""

    def inject(folder: Path) -> None:
        path = folder / "truth/slide-test.tif"
        tifffile.imwrite(path, change(tifffile.imread(path)), tile=(64, 64), compression="zlib")

    return inject


def all_but_emptied(labels: np.ndarray) -> np.ndarray:
    labels = labels.copy()
    labels[2:] = IGNORE
    return labels


def turned_classes(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == IGNORE, IGNORE, (labels + 1) % len(CODES)).astype(np.uint8)


def jpeg(pixels: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=60)
    return np.asarray(Image.open(buffer))


def again(name: str, change: Callable[[np.ndarray], np.ndarray], mpp: float = 0.5) -> Callable[[Path], None]:
    """A slide shows what slide-test shows, changed."""

    def inject(root: Path) -> None:
        folder = root / "data/cohort/slides"
        write_slide(
            folder / f"{name}.tiff", np.ascontiguousarray(change(tifffile.imread(folder / "slide-test.tiff"))), mpp
        )

    return inject


def copied(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """A training patch shows what a test patch shows, changed."""

    def inject(root: Path) -> None:
        picture = read_image(root / "data/patches/images/test/test-01.png")
        image("train-03", lambda _: change(picture))(root)

    return inject


def drawn(column: str, left: int, top: int, right: int, bottom: int) -> Callable[[Path], None]:
    """A rectangle is drawn on slide-test, level-0 px."""

    def inject(root: Path) -> None:
        ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
        properties = {"classification": {"name": "TE"}}
        feature = {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        (root / "data/cohort/drawn.geojson").write_text(
            json.dumps({"type": "FeatureCollection", "features": [feature]})
        )
        cells(SLIDES, "slide-test", **{column: "drawn.geojson"})(root)

    return inject


def set_aside(patch_id: str) -> Callable[[Path], None]:
    """Someone sets a patch aside, and the patches are not made again."""
    entry = Entry("patch", patch_id, "", "", "ink", "AB", "2024-01-31")
    return lambda root: write_quarantine([entry], root / QUARANTINE)


def label_file(name: str, labels: np.ndarray) -> Callable[[Path], Any]:
    """Replace the file of a pseudo-label."""
    return lambda root: write_mask(root / f"data/pseudo_labels/labels/{name}.png", labels, LUNG)


def same_image(root: Path) -> None:
    """A test patch is a training patch under another name."""
    source = (root / "data/patches/images/train/train-03.png").read_bytes()
    (root / "data/patches/images/test/test-01.png").write_bytes(source)
    digests = pd.read_parquet(root / PATCHES).set_index("patch_id")["sha256"]
    cells(PATCHES, "test-01", sha256=digests["train-03"])(root)


def same_slide(root: Path) -> None:
    folder = root / "data/cohort/slides"
    (folder / "slide-more.tiff").write_bytes((folder / "slide-train.tiff").read_bytes())


def blurred(sigma: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda pixels: cv2.GaussianBlur(pixels, (0, 0), sigma)


def grey(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)


def darker(pixels: np.ndarray) -> np.ndarray:
    return (pixels * 0.25).astype(np.uint8)


def inked(pixels: np.ndarray) -> np.ndarray:
    return (pixels * (0.08, 0.1, 0.4)).astype(np.uint8)


def scaled_labels(factor: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Shares and coverage of all pseudo-labels times `factor`."""
    names = ["coverage", *(f"share_{code}" for code in CODES)]
    return lambda frame: frame.assign(**{name: frame[name] * factor for name in names})


def thin_label_files(root: Path) -> None:
    """Pseudo-labels of a quarter of the pixels, files and manifest alike."""
    frame = pd.read_parquet(root / LABELS)
    manifest = pd.read_parquet(root / PATCHES).set_index("patch_id")
    for name in frame["patch_id"]:
        labels = np.full((SIZE, SIZE), IGNORE, np.uint8)
        present = [index for index, code in enumerate(CODES) if manifest.loc[name, code]]
        labels[: SIZE // 4] = np.repeat(present, SIZE // len(present))[None, :]
        label_file(name, labels)(root)
    edit(root / LABELS, scaled_labels(1 / 3))


def collapsed(root: Path) -> None:
    """Every patch is labelled with all classes, every pixel is taken for TE."""
    edit(root / LABELS, lambda frame: frame.assign(share_TE=0.75, share_NEC=0.0, share_LYM=0.0, share_TAS=0.0))
    labels = np.full((SIZE, SIZE), IGNORE, np.uint8)
    labels[: SIZE * 3 // 4] = 0
    for name in pd.read_parquet(root / LABELS)["patch_id"]:
        label_file(name, labels)(root)


def unseen(root: Path) -> None:
    """Of a patch labelled TE and NEC only TE is found; in file and manifest."""
    labels = np.full((SIZE, SIZE), IGNORE, np.uint8)
    labels[: SIZE * 3 // 4] = 0
    label_file("train-09", labels)(root)
    cells(LABELS, "train-09", share_TE=0.75, share_NEC=0.0)(root)


def rarely(root: Path) -> None:
    """Lymphocytes get a tenth of the pixels their labels let expect."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        more = frame["share_LYM"].where((frame[["share_TE", "share_NEC", "share_TAS"]] > 0).any(axis=1), 0) * 0.96
        first = frame[["share_TE", "share_NEC", "share_TAS"]].idxmax(axis=1)
        for name in ("share_TE", "share_NEC", "share_TAS"):
            frame[name] += more.where(first == name, 0)
        frame["share_LYM"] -= more
        return frame

    edit(root / LABELS, change)


def full(value: int, size: int = SIZE) -> np.ndarray:
    return np.full((size, size), value, np.uint8)


def never_predicted(frame: pd.DataFrame) -> None:
    frame.loc[frame["predicted"] == "LYM", "pixels"] = "0"


def swap_shares(summary: dict) -> None:
    te, tas = summary["classes"]["TE"], summary["classes"]["TAS"]
    te["share"], tas["share"] = tas["share"], te["share"]


def enlarge(collection: dict) -> None:
    for feature in collection["features"]:
        ring = feature["geometry"]["coordinates"][0]
        feature["geometry"]["coordinates"] = [[[x * 1.01, y * 1.01] for x, y in ring]]
