"""What turns patches into features: statistics of their pixels, or the stored classifier."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.features.statistics import VERSION, simple_features
from wsss_mm.slides.resolution import are_same
from wsss_mm.slides.stain import Stain

if TYPE_CHECKING:
    from wsss_mm.inference.patches import Batch

logger = logging.getLogger(__name__)

Kind = Literal["classifier", "statistics"]
Pixels = npt.NDArray[np.uint8]
Encoded = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""Of one patch: its features (D,), and its probabilities (C,), none where the encoder knows no classes."""

_BATCH = 32
_POOLED = 1  # goes up when the same classifier's features are pooled otherwise


class HinderedError(InputError):
    """What went wrong is no slide's fault: the others would fare no better."""


class FeatureEncoder(Protocol):
    """Gives each patch its features."""

    @property
    def kind(self) -> Kind:
        """What it is."""
        ...

    @property
    def codes(self) -> tuple[str, ...]:
        """The classes whose probabilities it gives."""
        ...

    @property
    def digest(self) -> str:
        """Hex; equal digests give equal features of equal patches."""
        ...

    @property
    def stain(self) -> Stain | None:
        """What slides are made to look like before it sees them; None where it takes them as they are."""
        ...

    def encode(self, rows: pd.DataFrame, images: Iterator[Pixels]) -> Iterator[Encoded]:
        """Features of patches, one after the other.

        Args:
            rows: of the candidates.
            images: (H, W, 3) uint8 RGB of each row, in their order.
        """
        ...


@dataclass(frozen=True)
class Statistics:
    """`wsss_mm.features.statistics`; needs no network."""

    kind: Kind = "statistics"
    codes: tuple[str, ...] = ()
    stain: None = None

    @property
    def digest(self) -> str:
        """See `FeatureEncoder`."""
        return hashlib.sha256(f"statistics {VERSION}".encode()).hexdigest()

    def encode(self, rows: pd.DataFrame, images: Iterator[Pixels]) -> Iterator[Encoded]:
        """See `FeatureEncoder`."""
        for _, image in zip(range(len(rows)), images, strict=False):
            yield simple_features(image[None])[0], np.zeros(0, np.float32)


@dataclass(frozen=True)
class StoredClassifier:
    """A classifier's folder: its features before the head, averaged over the patch, and its probabilities."""

    folder: Path
    codes: tuple[str, ...]
    model: str  # the model's digest
    stain: Stain | None = None  # what slides are made to look like for it
    kind: Kind = "classifier"

    @property
    def digest(self) -> str:
        """See `FeatureEncoder`."""
        return hashlib.sha256(f"classifier {_POOLED} {self.model}".encode()).hexdigest()

    @cached_property
    def network(self) -> Any:
        """The network, loaded when it is first needed.

        Raises:
            HinderedError: it cannot be loaded.
        """
        from wsss_mm.inference.runtime import choose_device
        from wsss_mm.models import load_model

        try:
            return load_model(self.folder, choose_device(), self.codes)[0]
        except InputError as error:
            raise HinderedError(str(error)) from None

    def encode(self, rows: pd.DataFrame, images: Iterator[Pixels]) -> Iterator[Encoded]:
        """See `FeatureEncoder`."""
        from wsss_mm.inference.patches import predict
        from wsss_mm.inference.runtime import device_of

        def step(batch: "Batch") -> Sequence[Encoded]:
            found = [part.float().cpu().numpy() for part in self.network.describe(batch.images)]
            return list(zip(*found, strict=True))

        device = device_of(self.network)
        seen = predict(rows, None, step, device, name="features", batch_size=_BATCH, quiet=True, images=images)
        for patch in seen:
            yield patch.found


def choose_encoder(kind: str, folder: Path, codes: Sequence[str] | None, *, mpp: float, size: int) -> FeatureEncoder:
    """The encoder for patches of a resolution and size.

    Args:
        kind: `auto` is the classifier if there is one that fits, else statistics.
        folder: of the classifier.
        codes: classes that it must have, in order; any if None.
        mpp: um/px of the patches.
        size: of the patches, px.

    Raises:
        InputError: the classifier is asked for by name, and there is none that fits.
    """
    if kind not in ("auto", "classifier", "statistics"):
        raise ValueError(f"features of kind {kind!r}")
    if kind == "statistics" or (kind == "auto" and not (folder / places.DESCRIPTION).is_file()):
        return Statistics()
    try:
        return _stored(folder, codes, mpp, size)
    except InputError as error:
        if kind == "classifier":
            raise
        logger.warning("%s; features are statistics of colour and texture until then", error)
        return Statistics()


def _stored(folder: Path, codes: Sequence[str] | None, mpp: float, size: int) -> StoredClassifier:
    from wsss_mm.models.description import check_digest, read_description
    from wsss_mm.models.store import stain_of

    info = read_description(folder / places.DESCRIPTION)
    own = tuple(item["code"] for item in info["classes"])
    if codes is not None and own != tuple(codes):
        raise InputError(f"{folder}: has classes {', '.join(own)}, not {', '.join(codes)}; train it again: dvc repro")
    if not are_same(info["mpp"], mpp) or info["size"] != size:
        raise InputError(
            f"{folder}: was trained on patches of {info['size']} px at {info['mpp']:g} um/px, and candidates are of "
            f"{size} px at {mpp:g}; train it again: dvc repro"
        )
    return StoredClassifier(folder, own, check_digest(folder, info), stain_of(info, folder / places.DESCRIPTION))
