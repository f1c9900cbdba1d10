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

from tests.gates.project import (
    CODES,
    LUNG,
    SIZE,
    edit,
    make_patches,
    tissue_image,
    write_counts,
    write_scores,
    write_slide,
)
from wsss_mm.evaluation.report import pseudo_label_metrics
from wsss_mm.evaluation.tables import count_table, counts_of, write_plot
from wsss_mm.files import digest, rounded
from wsss_mm.labelling import Journal, journal_path, new_entry
from wsss_mm.patches import read_manifest
from wsss_mm.patches.images import read_image, read_label_map, write_image, write_mask
from wsss_mm.patches.quarantine import PATH as QUARANTINE
from wsss_mm.patches.quarantine import Entry, write_quarantine
from wsss_mm.places import LABELS_FOLDER
from wsss_mm.vocabulary import IGNORE


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        says: What went wrong, in words.
        gate: The first gate that can know.
        check: What catches it there.
        inject: Does it to a clean project, given its root.
        also: Other checks that it breaks too.
    """

    says: str
    gate: str
    check: str
    inject: Callable[[Path], Any]
    also: tuple[str, ...] = ()


SLIDES, PATCHES = "data/cohort/slides.csv", "data/patches/manifest.parquet"
LABELS, MODEL = "data/pseudo_labels/manifest.parquet", "models/classifier/model.json"
CLASSIFIER, TEST = "reports/metrics/classifier.json", "reports/metrics/test.json"
CONFUSION, COUNTS = "reports/plots/test_confusion.csv", "reports/plots/test_counts.csv"
CHOICE = "reports/choices/pseudo_labels.json"
PSEUDO, LABEL_COUNTS = "reports/metrics/pseudo_labels.json", "reports/plots/pseudo_label_counts.csv"
SCORES, HEADLINE = "reports/plots/classifier_scores.csv", "reports/metrics/summary.json"
SEGMENTER, TRAINING = "models/segmenter/model.json", "reports/metrics/segmenter.json"


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


def another_slide(root: Path) -> None:
    """A test patch is on another slide, and shows what one of slide-test shows, mirrored."""
    rows = table(PATCHES, lambda t: t.assign(slide_id=t["slide_id"].mask(t["patch_id"] == "test-03", "slide-more")))
    rows(root)
    picture = read_image(root / "data/patches/images/test/test-01.png")
    image("test-03", lambda _: picture[:, ::-1])(root)


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


def marked(pixels: np.ndarray) -> np.ndarray:
    """A green stroke over the right half."""
    pixels = pixels.copy()
    pixels[:, 320:] = (20, 115, 75)
    return pixels


def inked(pixels: np.ndarray) -> np.ndarray:
    return (pixels * (0.08, 0.1, 0.4)).astype(np.uint8)


def scores(change: Callable[[pd.DataFrame, pd.Series], Any]) -> Callable[[Path], None]:
    """Another classifier: change its probabilities, given them by patch and the patches' splits; figures follow."""

    def inject(root: Path) -> None:
        frame = pd.read_csv(root / SCORES).set_index("patch_id")
        change(frame, frame.index.to_series().str.split("-").str[0])
        write_scores(root, frame.reset_index())

    return inject


def ranked(code: str, place: int, splits: tuple[str, ...] = ("valid",)) -> Callable[[pd.DataFrame, pd.Series], None]:
    """The patches with a class come behind `place` patches without it."""

    def change(frame: pd.DataFrame, split: pd.Series) -> None:
        for name in splits:
            others = frame.index[(split == name) & (frame[code] < 0.5)][:place]
            frame.loc[others, code] = 0.97

    return change


def counts(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """Another segmenter: change its (P, C, C) pixel counts; figures follow."""

    def inject(root: Path) -> None:
        before = counts_of(pd.read_csv(root / COUNTS), "ungated", CODES)
        write_counts(root, change(before))

    return inject


def taken_for(true: str, predicted: str, share: float) -> Callable[[np.ndarray], np.ndarray]:
    """A share of the pixels of a class is given to another one."""

    def change(matrices: np.ndarray) -> np.ndarray:
        row, column = CODES.index(true), CODES.index(predicted)
        moved = (matrices[:, row, row] * share).astype(np.int64)
        matrices[:, row, row] -= moved
        matrices[:, row, column] += moved
        return matrices

    return change


def confused(share: float) -> Callable[[np.ndarray], np.ndarray]:
    """A share of the pixels of each class is given to the next one."""

    def change(matrices: np.ndarray) -> np.ndarray:
        for true, predicted in zip(CODES, CODES[1:] + CODES[:1], strict=True):
            matrices = taken_for(true, predicted, share)(matrices)
        return matrices

    return change


def good_when_gated(root: Path) -> None:
    """Half of the pixels are wrong where the classifier does not help."""
    before = counts_of(pd.read_csv(root / COUNTS), "gated", CODES)
    write_counts(root, confused(0.5)(before.copy()), before)


def relabel(change: Callable[[str, np.ndarray, list[int]], np.ndarray]) -> Callable[[Path], None]:
    """Other pseudo-labels, as a stage gone wrong would leave them: manifest and metrics are those of the new files.

    `change` gets a patch's name, its labels and the indices of its classes.
    """

    def inject(root: Path) -> None:
        sets = pd.read_parquet(root / PATCHES).set_index("patch_id")[list(CODES)]
        frame = pd.read_parquet(root / LABELS).set_index("patch_id")
        for name, path in frame["path"].items():
            file = root / "data/pseudo_labels" / path
            labels = change(name, read_label_map(file), np.flatnonzero(sets.loc[name]).tolist()).astype(np.uint8)
            frame.loc[name, "sha256"] = write_mask(file, np.ascontiguousarray(labels), LUNG)
            frame.loc[name, "coverage"] = (labels != IGNORE).mean()
            for index, code in enumerate(CODES):
                frame.loc[name, f"share_{code}"] = (labels == index).mean()
        described(root, frame.reset_index())

    return inject


def described(root: Path, frame: pd.DataFrame) -> None:
    """A manifest of pseudo-labels, and metrics that follow from it."""
    frame.to_parquet(root / LABELS, index=False)
    means = frame[["coverage", "agreement", *(f"share_{code}" for code in CODES)]].mean().round(6).to_dict()
    edit(root / PSEUDO, lambda metrics: metrics | means)


def drawn_from_set(size: int) -> Callable[[str, np.ndarray, list[int]], np.ndarray]:
    """Classes drawn from the label set, in blocks of `size` px."""

    def change(name: str, labels: np.ndarray, present: list[int]) -> np.ndarray:
        rng = np.random.default_rng(len(name) + int(name[-2:]))
        blocks = rng.choice(present, (SIZE // size, SIZE // size)).repeat(size, axis=0).repeat(size, axis=1)
        return np.where(labels == IGNORE, IGNORE, blocks)

    return change


def one_patch(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    """For `relabel`: one patch alone."""
    return lambda patch, labels, present: change(labels) if patch == name else labels


def rolled(labels: np.ndarray, by: int) -> np.ndarray:
    """Shifted to the right; what is glass stays so."""
    return np.where(labels == IGNORE, IGNORE, np.roll(labels, by, axis=1))


def next_of_set(labels: np.ndarray, present: list[int]) -> np.ndarray:
    """Each class of the patch becomes the next one of its label set."""
    table = np.full(256, IGNORE)
    table[present] = np.roll(present, 1)
    return table[labels]


def repainted(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """Change one label file, and nothing that is said of it."""

    def inject(root: Path) -> None:
        path = root / f"data/pseudo_labels/labels/{name}.png"
        write_mask(path, change(read_label_map(path)).astype(np.uint8), LUNG)

    return inject


def shares_exchanged(name: str, first: str, second: str) -> Callable[[pd.DataFrame], None]:
    """Two shares of a patch, in the manifest alone."""

    def change(frame: pd.DataFrame) -> None:
        here, columns = frame["patch_id"] == name, [f"share_{first}", f"share_{second}"]
        frame.loc[here, columns] = frame.loc[here, columns[::-1]].to_numpy()

    return change


def share_given(frame: pd.DataFrame) -> None:
    """A tenth of a patch is said to be of a class that it lacks."""
    frame.loc[frame["patch_id"] == "train-00", ["share_TE", "share_NEC"]] += (-0.1, 0.1)


def shares_of_the_next(root: Path) -> None:
    """Every share is under another class's name; in the metrics too."""
    names = [f"share_{code}" for code in CODES]
    described(root, pd.read_parquet(root / LABELS).rename(columns=dict(zip(names, names[1:] + names[:1], strict=True))))


def swapped_files(*names: str) -> Callable[[Path], None]:
    """Label files under each other's name, the manifest as it was."""

    def inject(root: Path) -> None:
        paths = [root / f"data/pseudo_labels/labels/{name}.png" for name in names]
        contents = [path.read_bytes() for path in paths]
        for path, data in zip(paths, reversed(contents), strict=True):
            path.write_bytes(data)

    return inject


def swapped_labels(*names: str) -> Callable[[Path], None]:
    """Label files under each other's name, and so in the manifest."""

    def inject(root: Path) -> None:
        swapped_files(*names)(root)
        frame = pd.read_parquet(root / LABELS).set_index("patch_id")
        columns = [name for name in frame.columns if name != "path"]
        frame.loc[list(names), columns] = frame.loc[list(reversed(names)), columns].to_numpy()
        described(root, frame.reset_index())

    return inject


def poor_labels(root: Path) -> None:
    """Pseudo-labels of the judged patches are half wrong; counts and metrics say so."""
    table, manifest = pd.read_csv(root / LABEL_COUNTS), read_manifest(root / "data/patches", LUNG)
    matrices = confused(0.6)(counts_of(table, "labels", CODES))
    write_plot(count_table(table["patch_id"].tolist(), CODES, labels=matrices), root / LABEL_COUNTS)
    judged = manifest.set_index("patch_id").loc[table["patch_id"], ["split"]].assign(known=matrices.sum(axis=(1, 2)))
    metrics = pseudo_label_metrics(pd.read_parquet(root / LABELS), judged, matrices, CODES)
    edit(root / PSEUDO, lambda before: {**rounded(metrics), "weights_md5": before["weights_md5"]})


def retrained(root: Path) -> None:
    """The classifier is another one, and so are its figures; nothing was made of it yet."""
    (root / "models/classifier/weights.pth").write_bytes((root / "models/segmenter/weights.pth").read_bytes())
    edit(root / CLASSIFIER, lambda m: m | {"weights_md5": digest(root / "models/classifier/weights.pth", "md5")})


def rotated(names: str, keys: dict[str, Any]) -> None:
    """Figures of each class under the next one's name."""
    values = [keys[f"{names}.{code}"] for code in CODES]
    keys |= {f"{names}.{code}": value for code, value in zip(CODES, values[1:] + values[:1], strict=True)}


def full(value: int, size: int = SIZE) -> np.ndarray:
    return np.full((size, size), value, np.uint8)


def journals(*said: tuple[Any, ...]) -> Callable[[Path], None]:
    """Let readers say which classes patches of the training slide hold: reader, x, classes, and further fields."""

    def write(root: Path) -> None:
        for reader, x, classes, *further in said:
            states = {code: "present" if held else "absent" for code, held in classes.items()}
            place = {"slide": "slide-train", "x": x, "y": 0, "mpp": 1.0, "size": SIZE}
            entry = new_entry("answer", **place, classes=states, **(further[0] if further else {}))
            Journal(journal_path(reader, root / LABELS_FOLDER), reader).append([entry])

    return write
