"""Whether a label map lies where its slide does: how well it explains the slide's colours there, and elsewhere."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_NEAR, _FAR = 1, 3  # px: as good as in place, and surely elsewhere


def explained_colors(
    picture: NDArray[np.uint8], labels: NDArray[np.uint8], inside: NDArray[np.bool_], *, elsewhere: bool = True
) -> tuple[float, float]:
    """Share of the colours' variance that lies between the labels, 0..1: in place, and at best elsewhere.

    Elsewhere is each shift (around the edges), of the labels as they are, mirrored and turned.

    Args:
        picture: (h, w, 3) RGB.
        labels: (h, w), what the pixels are.
        inside: (h, w), the pixels that count.
        elsewhere: whether to look elsewhere.
    """
    count = max(1, int(inside.sum()))
    colors = (picture / 255.0 - picture[inside].sum(axis=0) / (255.0 * count)) * inside[..., None]
    total = float((colors**2).sum())
    values = np.unique(labels[inside])
    if total < 1e-9 * count or len(values) < 2:
        return 0.0, 0.0
    channels = np.stack([inside, *np.moveaxis(colors, 2, 0)])
    spectra = np.fft.rfft2(channels)
    place, best = 0.0, 0.0
    for number, (turned, seen) in enumerate(_turns(labels, inside)):
        shares = _between(spectra, turned, seen, values) / total
        if number == 0:
            distance = np.maximum(*np.meshgrid(*map(_from_zero, shares.shape), indexing="ij"))
            place = float(shares[distance <= _NEAR].max())
            if not elsewhere:
                break
            shares = shares[distance > _FAR]
        best = max(best, float(shares.max(initial=0.0)))
    return place, best


def _turns(labels: NDArray[np.uint8], inside: NDArray[np.bool_]) -> Iterator[tuple[NDArray, NDArray]]:
    """The labels as they are, then mirrored and turned into the same shape."""
    for transposed in (False, True)[: 1 + (labels.shape[0] == labels.shape[1])]:
        one, other = (item.T if transposed else item for item in (labels, inside))
        for rows in (1, -1):
            for columns in (1, -1):
                yield one[::rows, ::columns], other[::rows, ::columns]


def _between(spectra: NDArray, labels: NDArray, inside: NDArray, values: NDArray) -> NDArray[np.float64]:
    """Sum of squares between labels at each shift of them, (h, w): what they cover outside does not count."""
    between, all_sums = np.zeros(labels.shape), np.zeros((len(spectra), *labels.shape))
    for value in values:
        cover = np.fft.rfft2((labels == value) & inside)
        sums = np.fft.irfft2(np.conj(cover) * spectra, s=labels.shape)
        between = between + _squares(sums)
        all_sums = all_sums + sums
    return between - _squares(all_sums)


def _squares(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each label's colour sums (3), after its pixels (1): their squares over its pixels."""
    pixels = np.round(sums[0])
    return np.where(pixels > 0, (sums[1:] ** 2).sum(axis=0) / np.maximum(pixels, 1), 0.0)


def _from_zero(length: int) -> NDArray[np.int64]:
    steps = np.arange(length)
    return np.minimum(steps, length - steps)
