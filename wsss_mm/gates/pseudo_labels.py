"""Gate after `pseudo_labels`: are they fit to train a segmenter on?

Reads data/pseudo_labels/manifest.parquet (patch_id, path, coverage, share_<code> as shares of the patch's pixels, so
that they add up to the coverage, agreement, sha256 of the file, and digests of what they were made of) beside
data/patches/manifest.parquet, whose label sets say which classes may appear where they gate, and measures each label
file: its manifest is believed only where the file bears it out. Files may be consistent and wrong: what is ignored must
be the background of the image, some patches are labelled again by models/classifier, and where there are masks the
labels must agree with them, in reports/metrics/pseudo_labels.json and in what it follows from,
reports/plots/pseudo_label_counts.csv.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm import places
from wsss_mm.choosing import read_choice
from wsss_mm.errors import InputError
from wsss_mm.evaluation.confusion import confusion_matrix, label_set_confusion, segmentation_metrics
from wsss_mm.evaluation.report import pseudo_label_metrics
from wsss_mm.evaluation.tables import count_columns, counts_of
from wsss_mm.files import digest
from wsss_mm.formats import read_rows
from wsss_mm.gates.checks import Measured, Table, gate_tables
from wsss_mm.gates.measure import colour_explained
from wsss_mm.gates.reading import figures, read_metrics, read_numbers, weights_md5
from wsss_mm.patches.images import read_label_map, read_mask
from wsss_mm.patches.manifest import FILE_NAME, possible_labels, read_manifest
from wsss_mm.patches.parallel import map_files
from wsss_mm.patches.shards import is_stored_inside, stored_digest
from wsss_mm.patches.stains import patch_reader
from wsss_mm.places import PSEUDO_LABEL_MANIFEST
from wsss_mm.settings import Params
from wsss_mm.vocabulary import IGNORE, get_vocabulary

FOLDER, PATCHES, CLASSIFIER = places.PSEUDO_LABELS, places.PATCHES, places.CLASSIFIER
METRICS, COUNTS = places.PSEUDO_LABEL_METRICS, places.PSEUDO_LABEL_COUNTS

_MAKE = "dvc repro -f pseudo_labels"

INPUTS, PATCHES_TABLE, CLASSES, REMADE, JUDGED, SPLITS_TABLE, FIGURES = gate_tables("pseudo_labels").values()


def measure(params: Params, root: Path) -> Iterator[Measured]:
    """Measure pseudo-labels: patches against their label sets and images, then classes over the cohort, then truth."""
    from wsss_mm.models.members import classifiers_md5

    vocabulary = get_vocabulary(params.cohort.vocabulary)
    codes = list(vocabulary.codes)
    folder = root / FOLDER
    labels = _read(folder, codes)
    manifest = read_manifest(root / PATCHES, vocabulary)
    training = manifest[manifest["split"] == "train"]
    metrics = read_metrics(root / METRICS, _MAKE)
    weights_md5(root / CLASSIFIER, "dvc repro -f train_classifier")  # says what to do where there are none
    classifiers = classifiers_md5(root / CLASSIFIER)
    choice = read_choice(root / places.CHOICE_FILE)
    inputs = {
        "what": "pseudo-labels",
        "chosen_over": json.dumps(dict(choice.given), sort_keys=True),
        "params": json.dumps(params.pseudo_labels.model_dump(mode="json"), sort_keys=True),
        **{name: ", ".join(sorted(set(labels[name].astype(str)))) for name in ("patches", "classifier")},
        "metrics": metrics.get("weights_md5", "not said"),
        "gated_patches": digest(root / PATCHES / FILE_NAME),
        "gated_metrics": classifiers,
        "gated_classifier": classifiers,
    }
    yield INPUTS.of(pd.DataFrame([inputs], dtype=object))
    patches = _patches(labels, training, codes, root, params)
    yield _patches_table(params).of(patches, manifest=digest(folder / FILE_NAME))
    yield CLASSES.of(_classes(labels, training, codes))
    yield REMADE.of(_remade(patches, labels, training, root, params))
    masked = manifest[manifest["mask_path"].notna()]
    counts = read_numbers(root / COUNTS, count_columns(["labels"], codes), _MAKE)
    judged = _judged(counts, masked, patches, root, params)
    yield JUDGED.of(judged)
    splits = masked.set_index("patch_id").loc[counts["patch_id"], ["split"]].assign(known=judged["known"].to_numpy())
    expected = pseudo_label_metrics(labels, splits, counts_of(counts, "labels", codes), codes)
    label_sets = possible_labels(masked.set_index("patch_id").loc[counts["patch_id"]], codes)
    matrices = counts_of(counts, "labels", codes)
    yield SPLITS_TABLE.of(_splits(splits["split"].to_numpy(), matrices, expected, label_sets, codes))
    yield FIGURES.of(figures(root / METRICS, metrics, expected))


def _read(folder: Path, codes: list[str]) -> pd.DataFrame:
    labels = read_rows(folder / FILE_NAME, PSEUDO_LABEL_MANIFEST, remedy=_MAKE)
    numbers = ["coverage", "agreement", *(f"share_{code}" for code in codes)]
    missing = [name for name in ("patch_id", "path", "sha256", "patches", "classifier", *numbers) if name not in labels]
    if missing:
        raise InputError(f"{folder / FILE_NAME}: column {', '.join(missing)} is missing; make it again: {_MAKE}")
    for name in numbers:
        if not pd.api.types.is_numeric_dtype(labels[name]):
            raise InputError(f"{folder / FILE_NAME}: column {name} holds no numbers; make it again: {_MAKE}")
    return labels


def _patches_table(params: Params) -> Table:
    """The checks of label files; label sets say which classes may appear in them only where they gate."""
    if params.pseudo_labels.gating == "labels":
        return PATCHES_TABLE
    checks = (
        replace(check, says="the file holds classes of the vocabulary", do="make them again: " + _MAKE)
        if check.name == "pixels_of_the_label_set"
        else check
        for check in PATCHES_TABLE.checks
        if check.name != "label_set_only"
    )
    return replace(PATCHES_TABLE, checks=tuple(checks))


def _patches(
    labels: pd.DataFrame, training: pd.DataFrame, codes: list[str], root: Path, params: Params
) -> pd.DataFrame:
    """One row a patch that has, or ought to have, a pseudo-label."""
    known = training.set_index("patch_id").reindex(labels["patch_id"])
    shares = labels[[f"share_{code}" for code in codes]].to_numpy()
    labelled = known[codes].fillna(False).to_numpy(dtype=bool)
    possible = possible_labels(known.assign(**{code: labelled[:, i] for i, code in enumerate(codes)}), codes)
    allowed = possible if params.pseudo_labels.gating == "labels" else np.ones_like(labelled)
    rows = list(zip(labels["path"], known["path"], allowed, strict=True))
    read = patch_reader(root / PATCHES, training)
    files = pd.DataFrame(
        map_files(lambda row: _measure(root, *row, read=read, params=params), rows, "measure pseudo-labels"),
        columns=list(_FILE),
    )
    held = np.array([[math.nan] * len(codes) if row is None else row for row in files.pop("shares")])
    measured = labels[["patch_id", "path", "coverage", "agreement"]].assign(
        labels=labels.groupby("patch_id")["patch_id"].transform("size"),
        foreign=(shares * ~allowed).sum(axis=1),
        unaccounted=abs(shares.sum(axis=1) - labels["coverage"]),
        **files,
        stated_sha256=labels["sha256"],
        stated=[None if pd.isna(size) else f"{size:.0f} x {size:.0f}" for size in known["size"]],
        coverage_error=abs(held.sum(axis=1) - labels["coverage"]),
        share_error=abs(held.reshape(shares.shape) - shares).max(axis=1),
        allowed=allowed.sum(axis=1),
        unseen=(labelled & (shares == 0)).sum(axis=1),
        training=labels["patch_id"].isin(training["patch_id"]),
    )
    without = training.loc[~training["patch_id"].isin(labels["patch_id"]), "patch_id"]
    # A patch without a pseudo-label fails `one_per_patch` alone: the other values are those of a good one.
    good = {name: measured[name].mean() if len(measured) else 0.0 for name in ("coverage", "agreement")}
    good |= {"labels": 0, "foreign": 0.0, "unaccounted": 0.0, "file": True, "problem": "none", "unseen": 0}
    absent = pd.DataFrame({"patch_id": without, **good, "training": True})
    return pd.concat([measured, absent], ignore_index=True) if len(absent) else measured


_FILE = ("file", "problem", "sha256", "pixels", "strangers", "shares", "ignored_error", "explained")


def _measure(
    root: Path,
    relative: object,
    image: object,
    allowed: npt.NDArray[np.bool_],
    *,
    read: Callable[[Path], npt.NDArray[np.uint8]],
    params: Params,
) -> dict[str, Any]:
    """What a label file shows; None where it cannot be told, which fails another check."""
    measured: dict[str, Any] = dict.fromkeys(_FILE) | {"file": is_stored_inside(root / FOLDER, relative)}
    measured["problem"] = "none"
    if not measured["file"]:
        return measured
    path = root / FOLDER / str(relative)
    try:
        values = read_label_map(path)
    except InputError as error:
        return measured | {"problem": str(error)}
    fine = np.isin(values, [*np.flatnonzero(allowed), IGNORE])
    measured |= {"sha256": stored_digest(path), "pixels": f"{values.shape[1]} x {values.shape[0]}"}
    measured |= {"strangers": int((~fine).sum()), "shares": [float((values == i).mean()) for i in range(len(allowed))]}
    if isinstance(image, str):
        picture = read(root / PATCHES / image)
        if picture.shape[:2] == values.shape:
            ignored = _background(picture, allowed, params)
            measured["ignored_error"] = float(((values == IGNORE) != ignored).mean())
            measured["explained"] = colour_explained(picture, values)
    return measured


def _background(image: npt.NDArray[np.uint8], present: npt.NDArray[np.bool_], params: Params) -> npt.NDArray[np.bool_]:
    """What a pseudo-label of an image ignores: white, or all of it where its label set is empty."""
    from wsss_mm.patches.background import background_mask

    settings = params.pseudo_labels
    if settings.gating == "labels" and not present.any():
        return np.ones(image.shape[:2], dtype=bool)
    if not settings.background:
        return np.zeros(image.shape[:2], dtype=bool)
    return background_mask(image, settings.background_grey, settings.background_min_area)


def _classes(labels: pd.DataFrame, training: pd.DataFrame, codes: list[str]) -> pd.DataFrame:
    """One row a class that some training patch is labelled with; shares are of the labelled pixels of the cohort.

    `ratio` compares them with the label sets, as if the classes of a patch had equal parts of it.
    """
    sizes = training.set_index("patch_id")["size"].reindex(labels["patch_id"]).fillna(0).to_numpy(dtype=float)
    pixels = {code: float((labels[f"share_{code}"].to_numpy() * sizes**2).sum()) for code in codes}
    total = sum(pixels.values()) or 1.0
    present = training[codes].to_numpy(dtype=float)
    votes = (present / np.maximum(present.sum(axis=1, keepdims=True), 1)).mean(axis=0) if len(present) else [0.0]
    rows = [
        {"class": code, "share": pixels[code] / total, "ratio": pixels[code] / total / vote}
        for code, vote in zip(codes, votes, strict=False)
        if vote > 0
    ]
    return pd.DataFrame(rows, columns=["class", "share", "ratio"])


def _remade(
    patches: pd.DataFrame, labels: pd.DataFrame, training: pd.DataFrame, root: Path, params: Params
) -> pd.DataFrame:
    """One row a patch that the classifier labels again, now."""
    from wsss_mm.cam.store import label_patches
    from wsss_mm.inference.runtime import choose_device
    from wsss_mm.models.members import load_classifiers

    vocabulary = get_vocabulary(params.cohort.vocabulary)
    classifiers, _ = load_classifiers(root / CLASSIFIER, choose_device(), vocabulary.codes)
    labeller = read_choice(root / places.CHOICE_FILE).labeller(*classifiers)
    chosen = training[training["patch_id"].isin(_worth_a_look(patches, params.gates.pseudo_labels.labelled_again))]
    stated, rows = labels.drop_duplicates("patch_id").set_index("patch_id"), []
    for patch in label_patches(labeller, chosen, root / PATCHES, vocabulary, among=training):
        before = stated.loc[patch.row["patch_id"]]
        same = float((read_label_map(root / FOLDER / before["path"]) == patch.labels).mean())
        rows.append((patch.row["patch_id"], same, abs(patch.agreement - before["agreement"])))
    return pd.DataFrame(rows, columns=["patch_id", "same", "agreement_error"])


def _splits(
    splits: npt.NDArray[np.object_],
    counts: npt.NDArray[np.int64],
    metrics: dict[str, Any],
    label_sets: npt.NDArray[np.bool_],
    codes: list[str],
) -> pd.DataFrame:
    """One row a split with masks: mIoU, and what of it, over mixed patches, label sets do not give already."""
    rows = []
    for split in sorted(set(splits)):
        here = (splits == split) & (label_sets.sum(axis=1) > 1)
        blind = label_set_confusion(counts[here].sum(axis=2), label_sets[here])
        miou, alone = (segmentation_metrics(part, codes)["miou"] for part in (counts[here].sum(axis=0), blind))
        gain = None if miou is None or alone is None else miou - alone
        rows.append({"split": split, "miou": metrics[split]["miou"], "gain": gain})
    return pd.DataFrame(rows, columns=["split", "miou", "gain"]).astype({"miou": float, "gain": float})


def _readable(patches: pd.DataFrame) -> pd.DataFrame:
    """Those whose file can be held against their image."""
    return patches[patches["training"] & (patches["pixels"] == patches["stated"])].drop_duplicates("patch_id")


def _worth_a_look(patches: pd.DataFrame, count: int) -> list[str]:
    """Names of patches with a readable file: one half those whose classes differ least in colour, one half any.

    A patch that can be of one class alone says little: others come first.
    """
    right = _readable(patches)
    right = right.assign(alone=right["allowed"] < 2).sort_values(["alone", "explained"], na_position="first")
    odd, rest = right[: (count + 1) // 2], right[(count + 1) // 2 :]
    rest = rest[: max(count // 2, int((~rest["alone"]).sum()))].sort_values("patch_id")
    even = [index * len(rest) // (count // 2) for index in range(count // 2)] if len(rest) else []
    return [*odd["patch_id"], *rest["patch_id"].iloc[even]]


def _judged(
    counts: pd.DataFrame, masked: pd.DataFrame, patches: pd.DataFrame, root: Path, params: Params
) -> pd.DataFrame:
    """One row a patch that has, or ought to have, counts: which share of its pixels they are off.

    Of a training patch all of them follow from files, its mask and its pseudo-label; of others the true ones, which lie
    where its image is no background.
    """
    codes = list(get_vocabulary(params.cohort.vocabulary).codes)
    files = _readable(patches).set_index("patch_id")["path"]
    read = patch_reader(root / PATCHES, masked)

    def truth(row: Any) -> tuple[int, npt.NDArray[np.int64]]:
        mask = read_mask(root / PATCHES / row.mask_path, len(codes))
        present = np.array([getattr(row, code) for code in codes], dtype=bool)
        if row.patch_id in files:
            given = read_label_map(root / FOLDER / files[row.patch_id])
            there = (mask != IGNORE) & (given < len(codes))
            return int((mask != IGNORE).sum()), confusion_matrix(mask[there], given[there], len(codes))
        there = (mask != IGNORE) & ~_background(read(root / PATCHES / row.path), present, params)
        pixels = np.bincount(mask[there], minlength=len(codes))
        return int((mask != IGNORE).sum()), pixels

    rows = list(masked.itertuples(index=False))
    found = dict(zip(masked["patch_id"], map_files(truth, rows, "judge pseudo-labels"), strict=True))
    matrices = counts_of(counts.fillna(-1), "labels", codes)
    judged = []
    for name, matrix in zip(counts["patch_id"], matrices, strict=True):
        known, pixels = found.get(name, (0, matrix))
        own = matrix if pixels.ndim == 2 else matrix.sum(axis=1)
        judged.append((name, int(name in found), known, int(abs(own - pixels).sum()) / max(known, 1)))
    frame = pd.DataFrame(judged, columns=["patch_id", "rows", "known", "off"])
    frame["rows"] *= frame.groupby("patch_id")["patch_id"].transform("size")
    without = pd.DataFrame({"patch_id": [name for name in found if name not in set(frame["patch_id"])]})
    return pd.concat([frame, without.assign(rows=0, known=0, off=0.0)], ignore_index=True)
