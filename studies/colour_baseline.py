"""How far colour alone goes: a classifier of single pixels, the yardstick any network must beat.

It is trained on the pseudo-labels of the training patches, or on their masks, and scored on the test split with the
same global confusion matrix as the segmenter.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from wsss_mm import places
from wsss_mm.datasets.patches import pseudo_label_paths
from wsss_mm.errors import InputError
from wsss_mm.evaluation.confusion import confusion_matrix, segmentation_metrics
from wsss_mm.files import read_json, write_json
from wsss_mm.patches import read_manifest
from wsss_mm.patches.images import read_image, read_label_map
from wsss_mm.patches.shards import is_stored
from wsss_mm.settings import load_params
from wsss_mm.vocabulary import IGNORE, Vocabulary, get_vocabulary

logger = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]

STEP = 4
"""Colours nearer than this many grey values are one colour, which is less than a scanner's noise."""


def colour_features(pixels: Pixels) -> npt.NDArray[np.float32]:
    """(N, 3) uint8 RGB to (N, 6) float32: RGB in 0..255 and CIE L*a*b*."""
    lab = cv2.cvtColor(pixels[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
    return np.hstack([pixels.astype(np.float32), lab])


def sample_pixels(
    images: Sequence[Pixels], labels: Sequence[Pixels], count: int, rng: np.random.Generator
) -> tuple[Pixels, Pixels]:
    """Up to `count` labelled pixels of each image: colours (N, 3) and classes (N,), both uint8."""
    colours, classes = [], []
    for image, label in zip(images, labels, strict=True):
        places = np.flatnonzero(label != IGNORE)
        places = rng.choice(places, min(count, len(places)), replace=False)
        colours.append(image.reshape(-1, 3)[places])
        classes.append(label.ravel()[places])
    return np.concatenate(colours), np.concatenate(classes)


def fit_colour_classifier(colours: Pixels, classes: Pixels, *, balanced: bool = False, seed: int = 0) -> Any:
    """Gradient boosting over `colour_features`; `balanced` gives every class the same weight."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=100,
        max_leaf_nodes=15,
        early_stopping=False,
        class_weight="balanced" if balanced else None,
        random_state=seed,
    )
    return model.fit(colour_features(colours), classes)


def colour_table(model: Any) -> Pixels:
    """Class of every colour, in steps of `STEP` grey values: (64, 64, 64) uint8 indexed by red, green, blue."""
    levels = np.arange(0, 256, STEP, dtype=np.uint8) + STEP // 2
    colours = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    return model.predict(colour_features(cast("Pixels", colours))).astype(np.uint8).reshape([len(levels)] * 3)


def predict_by_colour(table: Pixels, image: Pixels) -> Pixels:
    """Class of each pixel of an image (H, W, 3) by `colour_table`: (H, W) uint8."""
    return table[tuple(np.moveaxis(image // STEP, -1, 0))]


def colour_baseline(
    patches: Path,
    vocabulary: Vocabulary,
    *,
    pseudo_labels: Path | None,
    pixels: int = 300,
    balanced: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Train on the training split, score on the test split.

    Args:
        patches: folder of the patch manifest.
        vocabulary: the classes.
        pseudo_labels: folder with a manifest, or with `labels/<patch_id>.png` alone; None trains on the masks of the
            training patches.
        pixels: drawn from each training patch.
        balanced: see `fit_colour_classifier`.
        seed: of the drawing.

    Returns:
        `segmentation_metrics` of the test split, with `n_patches` and `trained_on`.

    Raises:
        InputError: there is nothing to train on or nothing to score.
    """
    manifest = read_manifest(patches, vocabulary)
    train = _training_rows(manifest, patches, pseudo_labels, vocabulary)
    test = manifest[(manifest["split"] == "test") & manifest["mask_path"].notna()]
    if test.empty:
        raise InputError(f"{patches}/manifest.parquet: no test patch has a mask; there is nothing to score on")
    images = _Files(lambda path: read_image(patches / path), train["path"])
    labels = _Files(read_label_map, train["label"])
    colours, classes = sample_pixels(images, labels, pixels, np.random.default_rng(seed))
    if len(np.unique(classes)) < 2:
        raise InputError(f"{pseudo_labels or patches}: the training labels have fewer than two classes; check them")
    table = colour_table(fit_colour_classifier(colours, classes, balanced=balanced, seed=seed))
    confusion = np.zeros((len(vocabulary), len(vocabulary)), dtype=np.int64)
    for row in tqdm(test.itertuples(), desc="score", total=len(test), unit="patch"):
        prediction = predict_by_colour(table, read_image(patches / row.path))
        confusion += confusion_matrix(read_label_map(patches / row.mask_path), prediction, len(vocabulary))
    trained_on = "masks" if pseudo_labels is None else "pseudo-labels"
    metrics = segmentation_metrics(confusion, vocabulary.codes)
    return metrics | {"n_patches": len(test), "trained_on": trained_on}


class _Files(Sequence[Pixels]):
    """Images that are read when they are asked for."""

    def __init__(self, read: Callable[[Any], Pixels], paths: Sequence[Any]) -> None:
        self._read, self._paths = read, list(paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        return self._read(self._paths[index])


def _training_rows(
    manifest: pd.DataFrame, patches: Path, pseudo_labels: Path | None, vocabulary: Vocabulary
) -> pd.DataFrame:
    train = manifest[manifest["split"] == "train"]
    if pseudo_labels is None:
        train = train[train["mask_path"].notna()]
        train = train.assign(label=[patches / path for path in train["mask_path"]])
    else:
        files = {name: pseudo_labels / "labels" / f"{name}.png" for name in train["patch_id"]}
        if (pseudo_labels / places.MANIFEST).is_file():
            files = pseudo_label_paths(pseudo_labels, vocabulary)
        train = train[train["patch_id"].isin(files.keys())]
        train = train.assign(label=[files[name] for name in train["patch_id"]])
        train = train[[is_stored(path) for path in train["label"]]]
    if train.empty:
        place = f"{patches}/masks/train" if pseudo_labels is None else f"{pseudo_labels}/labels"
        raise InputError(f"{place}: holds no label of a training patch; run: dvc repro pseudo_labels")
    return train


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `python -m studies.colour_baseline`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--patches", type=Path, default=places.PATCHES, help="folder of the patch manifest")
    parser.add_argument("--pseudo-labels", type=Path, default=places.PSEUDO_LABELS, help="what to train on")
    parser.add_argument("--masks", action="store_true", help="train on the masks of the training patches instead")
    parser.add_argument("--vocabulary", help="classes, one of vocabularies/; None takes params.yaml's")
    parser.add_argument("--pixels", type=int, default=300, help="pixels drawn from each training patch")
    parser.add_argument("--balanced", action="store_true", help="give every class the same weight")
    parser.add_argument("--seed", type=int, default=0, help="of the drawing")
    parser.add_argument("--out", type=Path, default=places.COLOUR_BASELINE, help="JSON to write")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        metrics = colour_baseline(
            options.patches,
            get_vocabulary(options.vocabulary or load_params().cohort.vocabulary),
            pseudo_labels=None if options.masks else options.pseudo_labels,
            pixels=options.pixels,
            balanced=options.balanced,
            seed=options.seed,
        )
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    write_json(options.out, metrics)
    logger.info("%s: %s", options.out, read_json(options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
