"""Reading images and masks that may come from anywhere, and writing patches the way the manifest describes them."""

import hashlib
import io
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path
from wsss_mm.patches.vocabulary import IGNORE, Vocabulary

Pixels = npt.NDArray[np.uint8]

Keep = Callable[..., dict[str, Any]]
"""What becomes of a patch: takes patch_id, split, `image` and `mask`; gives what a manifest says of its files."""

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
MAX_PIXELS = 1 << 26
"""Patches and regions are far smaller; a file that claims more is a decompression bomb or no patch."""

GLASS_GREY = 210
"""Pixels brighter than this grey value are glass."""

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")  # no other decoder is ever tried, whatever the file says it is


def read_image(path: Path) -> Pixels:
    """Read an image as RGB.

    Returns:
        (H, W, 3) uint8. An alpha channel is composed on white, as glass is.

    Raises:
        InputError: the file is no image, is damaged, or has more than `MAX_PIXELS` pixels.
    """
    image = _decode(path)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return np.asarray(image.convert("RGB"))


def read_label_map(path: Path) -> Pixels:
    """Read a label map: a palette or grey image whose pixel values are class indices.

    Returns:
        (H, W) uint8, the values as they are in the file.

    Raises:
        InputError: as for `read_image`, or the file is a colour image, which has no class indices.
    """
    image = _decode(path)
    if image.mode not in ("P", "L", "1"):
        raise InputError(f"{path}: a mask of mode {image.mode}; write class indices as a palette or 8-bit grey PNG")
    return np.array(image, dtype=np.uint8)


def read_mask(path: Path, classes: int, ignored: Collection[int] = ()) -> Pixels:
    """Read a mask and normalise it to values 0..classes-1 and `IGNORE`.

    Args:
        path: palette or grey image of class indices.
        classes: number of classes C.
        ignored: further values that mean "ignore" in this data set; 255 always does.

    Returns:
        (H, W) uint8.

    Raises:
        InputError: as for `read_label_map`, or a value is neither a class nor ignored.
    """
    mask = read_label_map(path)
    table = np.arange(256, dtype=np.uint8)
    table[classes:] = IGNORE
    table[list(ignored)] = IGNORE
    unknown = sorted({int(value) for value in np.unique(mask)} - set(range(classes)) - set(ignored) - {IGNORE})
    if unknown:
        raise InputError(
            f"{path}: mask value {unknown[0]} is none of the {classes} classes; "
            f"expected 0..{classes - 1} and {', '.join(str(value) for value in sorted({*ignored, IGNORE}))} for ignore"
        )
    return table[mask]


def write_image(path: Path, image: Pixels) -> str:
    """Write (H, W, 3) uint8 as RGB PNG, without metadata; give the sha256 of the file."""
    return _write_png(path, Image.fromarray(image))


def write_mask(path: Path, mask: Pixels, vocabulary: Vocabulary) -> str:
    """Write (H, W) uint8, values 0..C-1 and `IGNORE`, as palette PNG; give the sha256 of the file."""
    image = Image.fromarray(mask)
    image.putpalette(vocabulary.palette)
    return _write_png(path, image)


def tissue_share(image: Pixels) -> float:
    """Share of an RGB image, 0..1, that is not glass: grey value up to `GLASS_GREY` (METHOD.md section 6)."""
    return float((cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) <= GLASS_GREY).mean())


def store_patch(
    out: Path, patch_id: str, split: str, *, image: Pixels, mask: Pixels | None, vocabulary: Vocabulary
) -> dict[str, Any]:
    """Write a patch and its mask where the manifest expects them.

    Args:
        out: the manifest's folder.
        patch_id: a plain file name.
        split: train, valid or test.
        image: (size, size, 3) uint8.
        mask: (size, size) uint8, values 0..C-1 and `IGNORE`, or None.
        vocabulary: gives the mask its palette.

    Returns:
        What the manifest says of the files: patch_id, split, size, path, mask_path, sha256, mask_sha256, tissue.
    """
    path = f"images/{split}/{patch_id}.png"
    mask_path = f"masks/{split}/{patch_id}.png" if mask is not None else None
    return {
        "patch_id": patch_id,
        "split": split,
        "size": image.shape[0],
        "path": path,
        "mask_path": mask_path,
        "sha256": write_image(out / path, image),
        "mask_sha256": None if mask is None else write_mask(out / str(mask_path), mask, vocabulary),
        "tissue": tissue_share(image),
    }


def _write_png(path: Path, image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def _decode(path: Path) -> Image.Image:
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(
                    f"{path}: claims {image.width} x {image.height} px, which is no patch; remove the file"
                )
            image.load()
            return image
    except InputError:
        raise
    except Exception as error:  # broken files make decoders raise anything, a lack of memory too
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read as an image ({reason}); get it again or remove it") from None
