"""Features of stored patches by any encoder: computed once a patch, whatever manifest names it.

A file an encoder in work_dirs/features, keyed by the sha256 of the patch's image, since pixels are all that decides.
PyTorch, whose import takes seconds, is imported where a network is asked.
"""

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm.encoders import checked_file, get_encoder
from wsss_mm.errors import InputError
from wsss_mm.features.statistics import VERSION, simple_features
from wsss_mm.files import atomic_path, digest
from wsss_mm.formats import KEY, check_format
from wsss_mm.patches.images import read_listed
from wsss_mm.patches.parallel import map_files
from wsss_mm.patches.stains import patch_reader
from wsss_mm.places import FEATURES_INDEX, STAIN

if TYPE_CHECKING:
    from wsss_mm.inference.patches import Batch

Values = npt.NDArray[np.float16]

_PIECE = 1024  # patches, after which what was made is kept
_POOLED = 1  # goes up when the same encoder's features are pooled otherwise


@dataclass(frozen=True)
class PatchEncoder:
    """What turns patches into features.

    Attributes:
        name: for people.
        digest: hex; equal digests give equal features of equal images.
        make: features (D,) float of the patches of manifest rows whose paths start in a folder, in their order.
    """

    name: str
    digest: str
    make: "Callable[[pd.DataFrame, Path], Iterable[npt.NDArray[np.floating]]]"

    @classmethod
    def of_network(
        cls, name: str, digest: str, step: "Callable[[Batch], Sequence[npt.NDArray[np.floating]]]", device: str = "cpu"
    ) -> "PatchEncoder":
        """One whose `step` gives features of each patch of a batch on a device, see `wsss_mm.inference`."""

        def make(rows: pd.DataFrame, folder: Path) -> Iterable[npt.NDArray[np.floating]]:
            from wsss_mm.inference.patches import predict

            return (patch.found for patch in predict(rows, folder, step, device, name=f"features, {name}"))

        return cls(name, digest, make)


def statistics() -> PatchEncoder:
    """Colour and texture, see `wsss_mm.features.statistics`: needs no network."""
    said = hashlib.sha256(f"statistics {VERSION}".encode()).hexdigest()

    def make(rows: pd.DataFrame, folder: Path) -> Iterable[npt.NDArray[np.floating]]:
        read = patch_reader(folder, rows)
        paths = [folder / path for path in rows["path"]]
        return map_files(lambda path: simple_features(read_listed(read, path)[None])[0], paths, "features, statistics")

    return PatchEncoder("statistics", said, make)


def published(name: str, root: Path = Path()) -> PatchEncoder:
    """An encoder of encoders.yaml with its published weights: its last feature map, averaged over the patch.

    Raises:
        InputError: there is none of that name, or its file is not here or another one.
    """
    import torch

    from wsss_mm.inference.runtime import choose_device
    from wsss_mm.models.backbones import built, load_initial_weights

    row = get_encoder(name)
    path = checked_file(row, root)
    network: Any = built(row)
    load_initial_weights(network, path)
    device = choose_device()
    network.to(device).eval()
    mean, std = (torch.tensor(value, device=device).view(1, 3, 1, 1) for value in (row.mean, row.std))

    def step(batch: "Batch") -> Sequence[npt.NDArray[np.floating]]:
        maps = network.features((batch.images.float() - mean) / std)
        return list(maps[row.last if row.last in maps else tuple(maps)[-1]].mean(dim=(2, 3)).float().cpu().numpy())

    said = json.dumps([_POOLED, row.sha256, row.config, row.mean, row.std], sort_keys=True)
    return PatchEncoder.of_network(name, hashlib.sha256(said.encode()).hexdigest(), step, device)


def patch_features(rows: pd.DataFrame, folder: Path, encoder: PatchEncoder, memory: Path) -> Values:
    """Features of the patches of manifest rows, in their order.

    Args:
        rows: of the manifest.
        folder: where their paths start.
        encoder: makes those that were never made.
        memory: folder that keeps them.

    Returns:
        (N, D) float16.

    Raises:
        InputError: an image is missing or unreadable, or features cannot be written.
    """
    stain = folder / STAIN  # which recolours what networks are shown
    key = hashlib.sha256(f"{encoder.digest} {digest(stain) if stain.is_file() else ''}".encode()).hexdigest()
    path = memory / f"patches-{key[:16]}.npz"
    known = _read(path, key)
    missing = rows[~rows["sha256"].isin(known.keys())].drop_duplicates("sha256")
    for start in range(0, len(missing), _PIECE):
        piece = missing.iloc[start : start + _PIECE]
        largest = float(np.finfo(np.float16).max)
        for sha256, found in zip(piece["sha256"], encoder.make(piece, folder), strict=True):
            known[str(sha256)] = np.clip(found, -largest, largest).astype(np.float16)
        _write(path, key, known)
    return np.stack([known[sha256] for sha256 in rows["sha256"]]) if len(rows) else np.zeros((0, 0), np.float16)


def _write(path: Path, key: str, known: dict[str, Values]) -> None:
    names = np.frombuffer("".join(known).encode(), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            allow_pickle=False,
            **{KEY: np.int64(FEATURES_INDEX.format), "key": np.frombuffer(key.encode(), np.uint8)},
            names=names,
            values=np.stack(list(known.values())),
        )


def _read(path: Path, key: str) -> dict[str, Values]:
    """What was made before, by sha256; nothing where there is no such file, or a damaged one."""
    with suppress(OSError, ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, InputError):
        with zipfile.ZipFile(path) as archive:  # a few bytes could claim any number of rows
            if any(item.compress_type != zipfile.ZIP_STORED for item in archive.infolist()):
                return {}
        with np.load(path, allow_pickle=False) as file:
            check_format(int(file[KEY]), FEATURES_INDEX, path)
            names, values = bytes(file["names"]).decode("ascii"), file["values"]
            if bytes(file["key"]) == key.encode() and values.dtype == np.float16 and values.ndim == 2:
                length = len(names) // max(len(values), 1)
                if length * len(values) == len(names):
                    parts = (names[start : start + length] for start in range(0, len(names), length))
                    return dict(zip(parts, values, strict=True))
    return {}
