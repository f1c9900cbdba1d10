"""How unlike two colours look to a reader, with and without red-green blindness, when they are laid over H&E."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Color = tuple[int, int, int]

COVER = 0.5
"""How much a class's colour covers of the slide beneath."""

TISSUES = ((104, 74, 142), (168, 116, 170), (226, 152, 186), (240, 214, 226))
"""RGB of nuclei, of cellular tissue, of collagen and of pale tissue on H&E slides."""

# Machado, Oliveira and Fernandes (2009), severity 1: what linear RGB looks like without one sort of cones.
_VISIONS = {
    "all cones": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
}
_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_D65 = (0.95047, 1.0, 1.08883)


def least_difference(colors: Sequence[Color]) -> tuple[float, int, int]:
    """CIEDE2000 between the two colours that are most alike, and their indices.

    Each is laid over each of `TISSUES`, and seen with all cones, without the red and without the green ones; the least
    of these differences counts.
    """
    import numpy as np

    over = np.asarray(TISSUES, float)[None] * (1 - COVER) + np.asarray(colors, float)[:, None] * COVER
    seen = np.stack([to_lab(seen_by(over, vision)) for vision in _VISIONS])  # (visions, colours, tissues, 3)
    one, other = np.triu_indices(len(colors), 1)
    found = difference(seen[:, one], seen[:, other]).min(axis=(0, 2))  # of each pair
    least = int(np.argmin(found))
    return float(found[least]), int(one[least]), int(other[least])


def seen_by(colors: "np.ndarray", vision: str) -> "np.ndarray":
    """RGB 0..255 (..., 3) as somebody of `protanopia` or `deuteranopia` sees it, RGB 0..255."""
    import numpy as np

    linear = np.clip(_linear(colors) @ np.array(_VISIONS[vision]).T, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def to_lab(colors: "np.ndarray") -> "np.ndarray":
    """CIE L*a*b* (D65) of sRGB 0..255, both (..., 3)."""
    import numpy as np

    ratio = _linear(colors) @ np.array(_XYZ).T / np.array(_D65)
    x, y, z = np.moveaxis(np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def difference(one: "np.ndarray", other: "np.ndarray") -> "np.ndarray":
    """CIEDE2000 of L*a*b* colours (..., 3), as Sharma, Wu and Dalal (2005) write it."""
    import numpy as np

    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(one, -1, 0), np.moveaxis(other, -1, 0)
    chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    c1, c2 = np.hypot(a1 * stretch, b1), np.hypot(a2 * stretch, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1 * stretch)) % 360, np.degrees(np.arctan2(b2, a2 * stretch)) % 360
    grey = c1 * c2 == 0
    turn = np.where(grey, 0, (h2 - h1 + 180) % 360 - 180)
    hue = np.where(grey, h1 + h2, (h1 + turn / 2) % 360)
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    t = 1 - 0.17 * np.cos(np.radians(hue - 30)) + 0.24 * np.cos(np.radians(2 * hue))
    t += 0.32 * np.cos(np.radians(3 * hue + 6)) - 0.20 * np.cos(np.radians(4 * hue - 63))
    of_l = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    of_c = (c2 - c1) / (1 + 0.045 * chroma)
    of_h = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * t)
    rotation = -2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    rotation = rotation * np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    return np.sqrt(np.maximum(of_l**2 + of_c**2 + of_h**2 + rotation * of_c * of_h, 0))


def _linear(colors: "np.ndarray") -> "np.ndarray":
    import numpy as np

    share = np.asarray(colors, float) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
