"""Gate after `patches`: is the manifest fit to train on, and what the cohort says?

Reads data/patches/manifest.parquet (every row, as it is: `wsss_mm.patches.read_manifest` would stop at the first fault)
and measures the images and masks it names. Then the patches are made once more, from slides, truth, drawings and labels
or from the data set of patches, without being written, and compared with the manifest; images as small ones.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wsss_mm.cohort import LABELS, TABLE, Cohort
from wsss_mm.errors import InputError
from wsss_mm.features.shared import small_grey
from wsss_mm.files import digest
from wsss_mm.formats import read_rows
from wsss_mm.gates.checks import Measured, gate_tables
from wsss_mm.gates.measure import drift, shown_again
from wsss_mm.gates.readers import measure_readers
from wsss_mm.gates.shared import measure_shared
from wsss_mm.gates.typical import judge
from wsss_mm.names import likeness
from wsss_mm.patches.appearance import STATISTICS, image_statistics
from wsss_mm.patches.digests import judged_digest
from wsss_mm.patches.images import read_image, read_label_map
from wsss_mm.patches.making import make_rows
from wsss_mm.patches.manifest import FILE_NAME, known_mask, label_sets, unsure_classes
from wsss_mm.patches.parallel import map_files
from wsss_mm.patches.quarantine import PATH as QUARANTINE
from wsss_mm.patches.quarantine import quarantined
from wsss_mm.patches.shards import is_stored_inside, stored_digest
from wsss_mm.patches.truth import class_shares
from wsss_mm.patches.twins import READ, look, look_difference, twins
from wsss_mm.places import AFTER_CLASSES, BEFORE_CLASSES, PATCH_MANIFEST
from wsss_mm.places import PATCHES as FOLDER
from wsss_mm.settings import Params
from wsss_mm.sources import SOURCES
from wsss_mm.tables import read_table
from wsss_mm.vocabulary import IGNORE, SPLITS, get_vocabulary

_PLAIN = 0.1  # share of a mask; a class that has it cannot be missed by whoever labels the patch
_WHOLE = 0.95  # share of a mask that has a class; then no further class hides in the rest

_KEPT = 10_000  # patches, of which small pictures are kept for the last check: 9 kB each

_WHOSE = ["slide_id", "patient_id", "split", "mpp", "site"]

_AGAIN = "make them again: dvc repro -f patches"

_TABLES = list(gate_tables("patches").values())[:9]
COLUMNS, PATCHES, GROUPS, SOURCES_OF_LABELS, CLASSES, JUDGED, SPLIT_SIZES, DRIFT, MADE_AGAIN = _TABLES


def measure(params: Params, root: Path) -> Iterator[Measured]:
    """Measure the manifest: its columns, patches, classes, splits and drift; then against patches made again."""
    folder = root / FOLDER
    manifest = read_rows(folder / FILE_NAME, PATCH_MANIFEST)
    codes = list(get_vocabulary(params.cohort.vocabulary).codes)
    yield COLUMNS.of(_columns(manifest, codes))
    if manifest.empty:
        raise InputError(f"{folder / FILE_NAME}: holds no patch; {_AGAIN}")
    files = _files(manifest, codes, folder, params)
    patches = _patches(manifest, codes, files, params)
    judged = judged_digest(manifest[patches["image_file"] & patches["mask_file"]], "test", folder)
    odd = judge(patches.assign(site=manifest["site"]), "patch_id", params.gates.patches, STATISTICS)
    yield PATCHES.of(patches.join(odd.said), like=odd.like, manifest=digest(folder / FILE_NAME), test=judged)
    yield GROUPS.of(odd.groups)
    yield SOURCES_OF_LABELS.of(_sources_of_labels(manifest, params, root))
    yield CLASSES.of(_training_classes(manifest, codes))
    yield JUDGED.of(_judged_classes(manifest, codes, files))
    yield SPLIT_SIZES.of(_splits(manifest, files))
    yield DRIFT.of(_drift(patches))
    yield MADE_AGAIN.of(_made_again(manifest, codes, files, params, root))
    yield from measure_shared(manifest, files, root)
    yield from measure_readers(root, set(manifest["slide_id"]), codes, params.gates.patches)


def _columns(manifest: pd.DataFrame, codes: list[str]) -> pd.DataFrame:
    """One row a column that is or ought to be there, with the kind of value it holds."""
    expected = BEFORE_CLASSES | AFTER_CLASSES | dict.fromkeys(codes, "boolean")
    expected |= {name: "no such class" for name in manifest.columns if name not in expected}
    found = [_kind(manifest[name]) if name in manifest else "none" for name in expected]
    return pd.DataFrame({"column": list(expected), "kind": found, "expected": list(expected.values())})


def _kind(values: pd.Series) -> str:
    types = pd.api.types
    if types.is_bool_dtype(values):
        return "boolean"
    if types.is_integer_dtype(values):
        return "integer"
    if types.is_numeric_dtype(values):
        return "number"
    return "text" if values.dropna().map(lambda value: isinstance(value, str)).all() else "mixed"


def _files(manifest: pd.DataFrame, codes: list[str], folder: Path, params: Params) -> pd.DataFrame:
    """What the files of each patch show."""
    rows = manifest.to_dict("records")
    least = max(_PLAIN, params.patches.min_class_share)
    kept = len(rows) <= _KEPT
    measured = map_files(lambda row: _measure(row, folder, codes, least, keep=kept), rows, "measure patches")
    return pd.DataFrame(measured, index=manifest.index, dtype=object)


def _measure(row: dict[str, Any], folder: Path, codes: list[str], plain: float, *, keep: bool) -> dict[str, Any]:
    """What the files of a patch show; what cannot be told, because a file is bad, is None and fails another check."""
    masked = isinstance(row["mask_path"], str) and bool(row["mask_path"])
    measured: dict[str, Any] = {
        **{"image_file": is_stored_inside(folder, row["path"]), "image": "none", "mask": "none", "mask_strangers": 0},
        "mask_file": not masked or is_stored_inside(folder, row["mask_path"]),
        "mask_file_sha256": None if masked else "none",
        **dict.fromkeys(("pixels", "file_sha256", "look", "grey", "mask_pixels")),
        "mask_content": None if masked else "none",
        **dict.fromkeys(("class_pixels", "truth", "contradictions", *STATISTICS)),
    }
    if measured["image_file"]:
        measured["file_sha256"] = stored_digest(folder / row["path"])
        try:
            image = read_image(folder / row["path"])
            measured |= {"pixels": _pixels(image), "look": look(image), "grey": small_grey(image) if keep else None}
            measured |= image_statistics(image)
        except InputError as error:
            measured["image"] = str(error)
    if masked and measured["mask_file"]:
        measured["mask_file_sha256"] = stored_digest(folder / row["mask_path"])
        try:
            mask = read_label_map(folder / row["mask_path"])
        except InputError as error:
            return measured | {"mask": str(error)}
        shares, labels = class_shares(mask, len(codes)), np.array([row[code] for code in codes])
        known = np.array([code not in unsure_classes(row.get("unsure")) for code in codes])
        gaps = float((mask == IGNORE).mean())
        contradicted = ((shares >= plain) & ~labels & known) | ((shares == 0) & labels & (1 - gaps >= _WHOLE))
        measured |= {
            "mask_pixels": _pixels(mask),
            "mask_strangers": round((1 - gaps - shares.sum()) * mask.size),
            "mask_content": _content(mask),
            "class_pixels": np.round(shares * mask.size),
            "truth": float(shares.sum()),
            "contradictions": int(contradicted.sum()),
        }
    return measured


def _pixels(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"


def _content(mask: np.ndarray) -> str:
    return hashlib.sha256(mask.tobytes()).hexdigest()


def _patches(manifest: pd.DataFrame, codes: list[str], files: pd.DataFrame, params: Params) -> pd.DataFrame:
    """The manifest with what its files show and what only the whole of it can tell of a patch."""
    training = manifest["split"] == "train"
    most_common = manifest.groupby("split")["size"].transform(lambda sizes: sizes.mode().iloc[0])
    places = _places(manifest).where(manifest["x"] >= 0)
    patients = manifest["patient_id"].map(likeness, na_action="ignore").replace("", None)
    ids = manifest[["patch_id", "slide_id", "patient_id"]].map(lambda text: text if str(text).strip() else None)
    return ids.assign(
        split=manifest["split"],
        size=manifest["size"],
        mpp_error=(manifest["mpp"] / params.patches.mpp - 1).abs(),
        expected_size=most_common.mask(training, params.patches.size),
        tissue=manifest["tissue"].fillna(-1).where(training),  # no value outside the training split
        labels=manifest[codes].sum(axis=1).where(training),
        place_copies=places.groupby(places).transform("size"),
        patient_splits=manifest["split"].groupby(patients).transform("nunique"),
        slide_splits=manifest.groupby("slide_id")["split"].transform("nunique"),
        slide_patients=manifest.groupby("slide_id")["patient_id"].transform("nunique"),
        stated_pixels=[f"{size} x {size}" for size in manifest["size"]],
        sha256=manifest["sha256"],
        mask_sha256=manifest["mask_sha256"].fillna("none"),
        **files.drop(columns=["look", "grey", "mask_content", "class_pixels"]),
        image_splits=manifest["split"].groupby(files["file_sha256"]).transform("nunique"),
        **_again(manifest, files["look"]),
    )


def _again(manifest: pd.DataFrame, looks: pd.Series) -> dict[str, np.ndarray]:
    """For each patch another one that shows the same; on one slide places tell, and may overlap."""
    seen, slides = np.flatnonzero(looks.notna()), manifest["slide_id"].where(manifest["x"] >= 0).to_numpy(object)
    pairs = twins(np.stack(list(looks.to_numpy()[seen]))) if len(seen) else []
    pairs = [pair for pair in ((seen[one], seen[other]) for one, other in pairs) if slides[pair[0]] != slides[pair[1]]]
    return shown_again(manifest["patch_id"], manifest["split"], pairs)


def _places(rows: pd.DataFrame) -> pd.Series:
    """What tells a patch from all others: its slide and place, or its id where the source tells no place."""
    return _joined(rows, ["slide_id", "x", "y"], " ").where(rows["x"] >= 0, rows["patch_id"])


def _sources_of_labels(manifest: pd.DataFrame, params: Params, root: Path) -> pd.DataFrame:
    """One row, of training: what labels it lacks where it has no patch; a split without a patch can have no class."""
    return pd.DataFrame([{"split": "train", "lacking": _lacking(manifest, params, root)}])


def _lacking(manifest: pd.DataFrame, params: Params, root: Path) -> str:
    if (manifest["split"] == "train").any():
        return "none"
    if params.cohort.name in SOURCES:
        return "the data set of patches has none for training"
    table = root / TABLE.parent / LABELS
    if not table.is_file():
        return f"there is no {table.relative_to(root).as_posix()}, and so no training patch"
    splits = Cohort.read(root / TABLE, check_files=False).splits
    said = read_table(table, absent="not found", remedy=_AGAIN).get("slide_id", pd.Series(dtype=str))
    labelled = sum(splits.get(name) == "train" for name in said)
    where = f"{table.relative_to(root).as_posix()} names"
    return f"{where} {labelled or 'no'} patches of training slides, and none of them was cut"


def _training_classes(manifest: pd.DataFrame, codes: list[str]) -> pd.DataFrame:
    """One row a class: what is labelled with it in training."""
    training = manifest[manifest["split"] == "train"]
    known = known_mask(training, codes).sum(axis=0)
    sites = training["site"].replace("", None)
    several = sites.nunique() > 1 and sites.notna().all()
    rows = [
        {
            "class": code,
            "split": "train",
            **_counts(training[training[code]]),
            "sites": int(sites[training[code]].nunique()) if several and training[code].any() else None,
        }
        for code in codes
    ]
    return pd.DataFrame(rows).assign(without=lambda classes: known - classes["patches"])


def _judged_classes(manifest: pd.DataFrame, codes: list[str], files: pd.DataFrame) -> pd.DataFrame:
    """One row a class and split: how many patches, and px of their masks, can judge it."""
    rows = []
    for split in ("valid", "test"):
        of_split = manifest["split"] == split
        pixels = files.loc[of_split, "class_pixels"].dropna()
        for index, code in enumerate(codes):
            truth = float(sum(counts[index] for counts in pixels))
            labelled = int((of_split & manifest[code]).sum())
            judged = len(pixels) and labelled
            values = {"patches": labelled, "truth": truth if judged else None}
            rows.append({"class": f"{split} {code}", "split": split, **values})
    return pd.DataFrame(rows)


def _splits(manifest: pd.DataFrame, files: pd.DataFrame) -> pd.DataFrame:
    """One row a split; masks are counted where they matter, in valid and in test."""
    masks = manifest["split"][manifest["mask_path"].notna()].value_counts()
    rows = [{"split": split, **_counts(manifest[manifest["split"] == split])} for split in SPLITS]
    counted = {
        f"{judged}_masks": [int(masks.get(split, 0)) if split == judged else None for split in SPLITS]
        for judged in ("valid", "test")
    }
    truth = files["truth"].astype(float).groupby(manifest["split"]).mean()
    return pd.DataFrame(rows).assign(**counted, truth=[truth.get(split) for split in SPLITS])


def _counts(rows: pd.DataFrame) -> dict[str, int]:
    return {
        "patches": len(rows),
        "slides": int(rows["slide_id"].nunique()),
        "patients": int(rows["patient_id"].nunique()),
    }


def _drift(patches: pd.DataFrame) -> pd.DataFrame:
    """One row a split and statistic: how far it lies from the training patches."""
    values = patches[["split", *STATISTICS]].copy()
    values["focus"] = np.log10(values["focus"].astype(float).clip(lower=1e-3))  # its spread grows with it
    of_split = {split: values[values["split"] == split] for split in SPLITS}
    rows = []
    for split in ("valid", "test"):
        for name in STATISTICS:
            samples = (of_split[part][name].to_numpy(dtype=float) for part in (split, "train"))
            difference, distance = drift(*samples)
            rows.append({"comparison": f"{split} {name}", "difference": difference, "distance": distance})
    return pd.DataFrame(rows)


def _made_again(
    manifest: pd.DataFrame, codes: list[str], files: pd.DataFrame, params: Params, root: Path
) -> pd.DataFrame:
    """The manifest beside what making the patches again gives; patches that it lacks follow at the end."""
    aside = {kind: quarantined(kind, root / QUARANTINE) for kind in ("slide", "patch")}
    side = min(READ, params.patches.size)
    rows = make_rows(params, root, _described, without=aside["slide"], side=side)
    made = pd.DataFrame(rows)
    made = made[~made["patch_id"].isin(aside["patch"]) & ~made["slide_id"].isin(aside["slide"])]
    made = made.set_index(_places(made))
    found = made.reindex(_places(manifest)).set_axis(manifest.index)
    known = found["patch_id"].notna() & ~manifest["patch_id"].isin(aside["patch"])
    known &= (found["patch_id"] == manifest["patch_id"]) | ~manifest["patch_id"].isin(made["patch_id"])
    pairs = zip(files["look"], found["look"].where(known, None), strict=True)
    beside = pd.DataFrame(
        {
            "patch_id": manifest["patch_id"],
            "split": manifest["split"],
            "listed": known.map({True: "none", False: "it is not of the cohort, set aside, or of another place"}),
            "whose": _whose(manifest).where(known),
            "made_whose": _whose(found).where(known),
            "labels": pd.Series(label_sets(manifest, codes), manifest.index).where(known),
            "made_labels": pd.Series(label_sets(found, codes), found.index).where(known),
            "mask": files["mask_content"].where(known),
            "made_mask": found["mask"],
            "tissue_error": (manifest["tissue"].fillna(-1) - found["tissue"].astype(float)).abs(),
            "image_error": [None if a is None or b is None else look_difference(a, b) for a, b in pairs],
        }
    )
    lacking = made.loc[~made.index.isin(_places(manifest)), ["patch_id", "split"]].assign(listed="it is missing")
    return pd.concat([beside, lacking], ignore_index=True)


def _described(patch_id: str, split: str, *, image: np.ndarray, mask: np.ndarray | None) -> dict[str, Any]:
    """What is compared of a patch that was made again."""
    seen = {"look": look(image), "mask": "none" if mask is None else _content(mask)}
    return {"patch_id": patch_id, "split": split, **seen}


def _whose(rows: pd.DataFrame) -> pd.Series:
    """The slide of each patch, and what is known of it; what is empty at the end is not shown."""
    return _joined(rows, _WHOSE, ", ").str.rstrip(", ")


def _joined(rows: pd.DataFrame, columns: list[str], between: str) -> pd.Series:
    """Cells as people write them, those of a row in one text."""
    texts = (rows[column].fillna("").astype(str) for column in columns)
    return pd.Series([between.join(cells) for cells in zip(*texts, strict=True)], rows.index, dtype=str)
