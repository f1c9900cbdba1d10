"""Patches with what they are trained on: label sets, pseudo-labels or, for validation, masks."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from mmengine.dataset import Compose
from torch.utils.data import Dataset

from wsss_mm import places
from wsss_mm.datasets.keyed import Draw, legacy_seeded, sample_generator
from wsss_mm.datasets.windows import compose, mosaic, window_corner
from wsss_mm.errors import InputError
from wsss_mm.formats import read_rows
from wsss_mm.patches import read_manifest
from wsss_mm.patches.images import Pixels, read_mask
from wsss_mm.patches.manifest import is_inside, known_mask
from wsss_mm.patches.neighbours import Places, check_places
from wsss_mm.patches.stains import patch_reader
from wsss_mm.places import PSEUDO_LABEL_MANIFEST, SHARE
from wsss_mm.registry import DATASETS
from wsss_mm.vocabulary import Vocabulary, get_vocabulary

_log = logging.getLogger(__name__)

CACHE_BYTES = 1 << 30
"""Decoded images are kept in memory where all of a dataset's fit into this."""


class _PatchDataset(Dataset):
    """Records of one split, decoded, cached if small, and passed through the pipeline with the draw's generator."""

    def __init__(
        self,
        records: list[dict[str, Any]],
        read: Callable[[Path], Pixels],
        vocabulary: Vocabulary,
        pipeline: Sequence[dict],
        *,
        seed: int,
        cache_bytes: int,
        image_bytes: int,
    ) -> None:
        self.records, self._read = records, read
        self.seed = seed
        self.vocabulary = vocabulary
        self.classes = len(vocabulary)
        self.pipeline = Compose(pipeline)
        self.metainfo = {"classes": vocabulary.codes, "palette": [list(color) for color in vocabulary.colors]}
        self._cache: dict[int, dict[str, Any]] | None = {} if len(records) * image_bytes <= cache_bytes else None

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int | Draw) -> Any:
        number, draw = (index, 0) if isinstance(index, int | np.integer) else index
        generator = sample_generator(self.seed, draw)
        with legacy_seeded(generator):
            return self._drawn(int(number), {"rng": generator, "draw": draw})

    def _drawn(self, index: int, keys: dict[str, Any]) -> Any:
        return self.pipeline({**self.decoded(index), **keys})

    def decoded(self, index: int) -> dict[str, Any]:
        """A record with its arrays, before any transform; the arrays are shared and read-only."""
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        results = self._decode(self.records[index])
        for value in results.values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        if self._cache is not None:
            self._cache[index] = results
        return results

    def _decode(self, record: dict[str, Any]) -> dict[str, Any]:
        image = self._read(Path(record["img_path"]))
        return {**record, "img": image, "img_shape": image.shape[:2], "ori_shape": image.shape[:2], "seg_fields": []}


@DATASETS.register_module()
class PatchLabelDataset(_PatchDataset):
    """Images with multi-hot label vectors. Its records hold no masks: weak training cannot see them.

    Args:
        root: Folder of the patches' manifest.
        vocabulary: Name of the cohort's vocabulary.
        split: train, valid or test.
        pipeline: Transforms; each gets `img` (H, W, 3) uint8 RGB, `label` (C,) float32, `known` (C,) bool, false where
            nobody is sure whether the patch holds the class, `patch_id` and `rng`.
        seed: Of the augmentation.
        cache_bytes: Keep decoded images in memory where they fit into this.
    """

    def __init__(
        self,
        root: str,
        vocabulary: str,
        split: str,
        pipeline: Sequence[dict] = (),
        *,
        seed: int = 0,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        classes = get_vocabulary(vocabulary)
        frame = _split_of(Path(root), classes, split)
        labels = frame[list(classes.codes)].to_numpy(dtype=np.float32)
        records = [
            {"patch_id": patch_id, "img_path": str(Path(root) / path), "label": label, "known": known}
            for patch_id, path, label, known in zip(
                frame["patch_id"], frame["path"], labels, known_mask(frame, classes.codes), strict=True
            )
        ]
        more = {"seed": seed, "cache_bytes": cache_bytes, "image_bytes": _image_bytes(frame, 3)}
        super().__init__(records, patch_reader(Path(root), frame), classes, pipeline, **more)


@DATASETS.register_module()
class PseudoLabelDataset(_PatchDataset):
    """Images with per-pixel labels: pseudo-labels, or masks where the truth is asked for by name.

    Args:
        root: Folder of the patches' manifest.
        vocabulary: Name of the cohort's vocabulary.
        split: train, valid or test.
        pipeline: Transforms; each gets `img` (H, W, 3) uint8 RGB, `gt_seg_map` (H, W) uint8, `patch_id` and `rng`.
        target: `pseudo` joins the pseudo-labels by patch_id; `masks` takes the masks, for validation and for the
            upper bound. Patches without the one asked for are left out.
        pseudo_labels: Folder of the pseudo-labels' manifest, for `pseudo`.
        window: Side of a square that is shown instead of the patch, px, at a random place over it and the patches of
            its slide that lie around; 0 shows the patch.
        mosaic: Share of the samples that are put together from four; the last transform comes after that.
        seed: Of the augmentation.
        cache_bytes: Keep decoded images in memory where they fit into this.
    """

    def __init__(
        self,
        root: str,
        vocabulary: str,
        split: str,
        pipeline: Sequence[dict] = (),
        *,
        target: Literal["pseudo", "masks"] = "pseudo",
        pseudo_labels: str | None = None,
        window: int = 0,
        mosaic: float = 0.0,
        seed: int = 0,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        classes = get_vocabulary(vocabulary)
        frame = _split_of(Path(root), classes, split)
        if target == "masks":
            labels = {
                patch_id: Path(root) / path
                for patch_id, path in zip(frame["patch_id"], frame["mask_path"], strict=True)
                if path
            }
        elif pseudo_labels is not None:
            labels = pseudo_label_paths(Path(pseudo_labels), classes)
        else:
            raise ValueError("target='pseudo' needs the folder pseudo_labels")
        chosen = frame[frame["patch_id"].isin(labels)]
        records = [
            {
                "patch_id": patch_id,
                "img_path": str(Path(root) / path),
                "seg_map_path": str(labels[patch_id]),
                "mpp": mpp,
            }
            for patch_id, path, mpp in zip(chosen["patch_id"], chosen["path"], chosen["mpp"], strict=True)
        ]
        if not records:
            raise InputError(f"{root}: no {split} patch has {target}; make them, or choose another split")
        if len(records) < len(frame):
            _log.info("%d of %d %s patches have %s", len(records), len(frame), split, target)
        if window:
            check_places(chosen, Path(root), "segmenter.surroundings")
        self.window, self.mosaic, self.places = window, mosaic, Places.of(chosen)
        more = {"seed": seed, "cache_bytes": cache_bytes, "image_bytes": _image_bytes(frame, 4)}
        super().__init__(records, patch_reader(Path(root), frame), classes, pipeline, **more)

    def _drawn(self, index: int, keys: dict[str, Any]) -> Any:
        rng = keys["rng"]
        if not self.mosaic or rng.random() >= self.mosaic:
            return self.pipeline(self._shown(index, keys))
        *augment, pack = self.pipeline.transforms
        parts = [self._shown(int(other), keys) for other in (index, *rng.integers(len(self), size=3))]
        for transform in augment:
            parts = [transform(part) for part in parts]
        return pack(mosaic(parts, rng))

    def _shown(self, index: int, keys: dict[str, Any]) -> dict[str, Any]:
        results = {**self.decoded(index), **keys}
        if self.window:
            corner = window_corner(self.places, index, self.window, keys["rng"])
            image, labels = compose(self.places, index, corner, self.window, self.decoded)
            shape = {"img_shape": image.shape[:2], "ori_shape": image.shape[:2]}
            results |= {"img": image, "gt_seg_map": labels, **shape}
        return results

    def _decode(self, record: dict[str, Any]) -> dict[str, Any]:
        results = super()._decode(record)
        labels = read_mask(Path(record["seg_map_path"]), self.classes)
        if labels.shape != results["img_shape"]:
            raise InputError(f"{record['seg_map_path']}: is not of its patch's size; make it again with dvc repro")
        return {**results, "gt_seg_map": labels, "seg_fields": ["gt_seg_map"], "reduce_zero_label": False}


def _split_of(root: Path, vocabulary: Vocabulary, split: str) -> pd.DataFrame:
    frame = read_manifest(root, vocabulary)
    frame = frame[frame["split"] == split].reset_index(drop=True)
    if frame.empty:
        raise InputError(f"{root}/manifest.parquet: no patch in split {split!r}; give slides that split in slides.csv")
    return frame


def _image_bytes(frame: pd.DataFrame, channels: int) -> int:
    return int(frame["size"].max()) ** 2 * channels


def pseudo_label_paths(folder: Path, vocabulary: Vocabulary) -> dict[str, Path]:
    """Files of the pseudo-labels in a folder, by patch.

    Raises:
        InputError: there is no manifest, it is of other classes, or it names something else than files in its folder.
    """
    path = folder / places.MANIFEST
    frame = read_rows(path, PSEUDO_LABEL_MANIFEST)
    codes = [name.removeprefix(SHARE) for name in frame.columns if name.startswith(SHARE)]
    if codes and codes != list(vocabulary.codes):
        raise InputError(
            f"{path}: of classes {', '.join(codes)[:200]}, and vocabulary {vocabulary.name!r} has "
            f"{', '.join(vocabulary.codes)}; make it again: dvc repro pseudo_labels"
        )
    frame = frame.reindex(columns=["patch_id", "path"])
    for patch_id, name in frame.itertuples(index=False):
        if not (isinstance(name, str) and is_inside(name)):
            raise InputError(f"{path}: path {name!r} leads outside its folder; make it again: dvc repro pseudo_labels")
        if not isinstance(patch_id, str):
            raise InputError(f"{path}: patch_id {patch_id!r} is no text; make it again: dvc repro pseudo_labels")
    return {patch_id: folder / name for patch_id, name in frame.itertuples(index=False)}
