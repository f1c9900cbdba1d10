"""Reading images and masks that may come from anywhere, and writing patches the way the manifest describes them."""

import hashlib
import io
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from imagecodecs import PNG, png_encode
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path
from wsss_mm.patches.shards import file_of, stored_source
from wsss_mm.vocabulary import IGNORE, IGNORE_COLOR, Vocabulary

Pixels = npt.NDArray[np.uint8]

Keep = Callable[..., dict[str, Any]]
"""What becomes of a patch: takes patch_id, split, `image` and `mask`; gives what a manifest says of its files."""

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
MAX_PIXELS = 1 << 26
"""Patches and regions are far smaller; a file that claims more is a decompression bomb or no patch."""

GLASS_GREY = 210
"""Pixels brighter than this grey value are glass."""

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")  # no other decoder is ever tried, whatever the file says it is
_ORIENTATION, _SUBFILE, _BITS, _SAMPLES, _PHOTOMETRIC = 274, 254, 258, 339, 262  # tags of EXIF and TIFF
_LEAST_WHITE = 64  # of 255: no stained tissue is darker all over; 14 of 16 bits are, taken for 16


def read_image(path: Path) -> Pixels:
    """Read an image as RGB.

    Returns:
        (H, W, 3) uint8. An alpha channel is composed on white, as glass is; channels of 16 bits are scaled to 8.

    Raises:
        InputError: the file is no image, is damaged, has more than `MAX_PIXELS` pixels or several pictures, lies
            turned, or its values do not say what is black and white: signed and 32-bit numbers, fractions, and 16 bits
            that are not used.
    """
    image, stored = _decode(path)
    if stored.numbers != "unsigned" or image.mode in ("I", "F"):
        raise InputError(
            f"{path}: pixels are {stored.numbers} {stored.bits}-bit numbers, of which none is known to be white; save "
            "it with 8 bits a channel"
        )
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint32)
        grey = ((values * 510 + (1 << stored.bits) - 1) // (2 * ((1 << stored.bits) - 1))).astype(np.uint8)
        image = Image.fromarray(255 - grey if stored.white_is_zero else grey)
    elif image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    pixels = np.asarray(image.convert("RGB"))
    if stored.bits == 16 and pixels.max() < _LEAST_WHITE:
        raise InputError(
            f"{path}: 16 bits a channel, of which the brightest pixel uses a quarter; if they hold 10, 12 or 14 bits, "
            "save it with 8 bits a channel"
        )
    return pixels


def read_listed(reader: Callable[[Path], Pixels], path: Path) -> Pixels:
    """Read a file that the manifest names.

    Raises:
        InputError: it is missing, or `reader` refuses it.
    """
    if not (file := file_of(path)).is_file():
        raise InputError(f"{file}: not found, though the manifest names it; run: dvc checkout, or dvc repro -f patches")
    return reader(path)


def read_label_map(path: Path) -> Pixels:
    """Read a label map: a palette or grey image whose pixel values are class indices.

    Returns:
        (H, W) uint8, the values as they are in the file.

    Raises:
        InputError: as for `read_image`, or the values in the file are no class indices: colours, greys of other than 8
            bits (a picture of 2 bits has greys of 0, 85, 170 and 255), or what JPEG makes of them.
    """
    return np.array(_label_image(path), dtype=np.uint8)


def _label_image(path: Path) -> Image.Image:
    image, stored = _decode(path)
    plain = image.mode == "P" or (image.mode == "L" and stored.bits == 8 and not stored.white_is_zero)
    if not plain or stored.numbers != "unsigned" or image.format == "JPEG":
        kind = f", {stored.numbers} {stored.bits}-bit {image.format}" if image.mode == "L" else ""
        raise InputError(
            f"{path}: a mask of mode {image.mode}{kind}; write class indices as a palette or 8-bit grey PNG"
        )
    return image


def read_mask(
    path: Path, classes: int, ignored: Collection[int] = (), colors: Sequence[tuple[int, int, int]] = ()
) -> Pixels:
    """Read a mask and normalise it to values 0..classes-1 and `IGNORE`.

    Args:
        path: palette or grey image of class indices.
        classes: number of classes C.
        ignored: further values that mean "ignore" in this data set; 255 always does.
        colors: RGB of the classes, for masks from elsewhere: a program that made a palette of the colours in a picture
            numbers them as it likes.

    Returns:
        (H, W) uint8.

    Raises:
        InputError: as for `read_label_map`, a value is neither a class nor ignored, or it has another class's colour.
    """
    image = _label_image(path)
    mask = np.array(image, dtype=np.uint8)
    table = np.arange(256, dtype=np.uint8)
    table[classes:] = IGNORE
    table[list(ignored)] = IGNORE
    unknown = sorted({int(value) for value in np.unique(mask)} - set(range(classes)) - set(ignored) - {IGNORE})
    if unknown:
        raise InputError(
            f"{path}: mask value {unknown[0]} is none of the {classes} classes; "
            f"expected 0..{classes - 1} and {', '.join(str(value) for value in sorted({*ignored, IGNORE}))} for ignore"
        )
    _check_colors(path, image, np.unique(mask).tolist(), colors)
    return table[mask]


def _check_colors(
    path: Path, image: Image.Image, values: Collection[int], colors: Sequence[tuple[int, int, int]]
) -> None:
    known: list[tuple[int, ...]] = [*colors, IGNORE_COLOR]
    inside = [value for value in values if value < len(colors)]
    if image.mode != "P" or not inside:
        return
    palette = image.getpalette() or []
    shown: list[tuple[int, ...]] = [tuple(palette[3 * value : 3 * value + 3]) for value in range(max(inside) + 1)]
    if not set(shown) <= set(known):  # somebody else's colours, which say nothing
        return
    for value in inside:
        if (index := known.index(shown[value])) != value:
            other = f"class {index}" if index < len(colors) else "no class"
            raise InputError(
                f"{path}: value {value} has the colour of {other} in its palette; write class indices as values, "
                "whatever their colours"
            )


def read_values(path: Path) -> Image.Image:
    """An image whose values, or colours, stand for something: as they are stored.

    Raises:
        InputError: as for `read_image`, or the values are not those that were written: JPEG, greys of less than 8 bits,
            signed numbers and fractions.
    """
    image, stored = _decode(path)
    exact = image.mode == "P" or (stored.bits in (8, 16) and not stored.white_is_zero)
    if image.format == "JPEG" or stored.numbers != "unsigned" or not exact:
        raise InputError(
            f"{path}: a mask as {stored.numbers} {stored.bits}-bit {image.format}, which does not keep its values; "
            "save it as a PNG of 8 bits"
        )
    return image


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image, px, of which nothing more is read than that takes.

    Raises:
        InputError: the file is no image.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            return image.size
    except Exception as error:  # broken files make decoders raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read as an image ({reason}); get it again or remove it") from None


def write_image(path: Path, image: Pixels) -> str:
    """Write (H, W, 3) uint8 as RGB PNG, without metadata; give the sha256 of the file.

    What repeats in tissue are runs, on glass, and Paeth's predictor fits it best: to search for more, and to try every
    predictor on each row, as Pillow does, takes five times as long, for files as large.
    """
    whole = np.ascontiguousarray(image)
    return _write(path, bytes(png_encode(whole, strategy=PNG.STRATEGY.RLE, filter=PNG.FILTER.PAETH)))


def write_mask(path: Path, mask: Pixels, vocabulary: Vocabulary) -> str:
    """Write (H, W) uint8, values 0..C-1 and `IGNORE`, as palette PNG; give the sha256 of the file."""
    image = Image.fromarray(mask)
    image.putpalette(vocabulary.palette)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return _write(path, buffer.getvalue())


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
        What the manifest says of the files: patch_id, split, size, path, mask_path, sha256, mask_sha256.
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
    }


def _write(path: Path, content: bytes) -> str:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class _Stored:
    """How the numbers of an image are stored, which Pillow's modes do not tell."""

    bits: int  # a channel
    numbers: str
    white_is_zero: bool

    @classmethod
    def of(cls, image: Image.Image) -> "_Stored":
        """Of an image that is not loaded yet."""
        tags = getattr(image, "tag_v2", {})
        if tags:
            kinds = {1: "unsigned", 2: "signed", 3: "floating-point", 4: "unsigned"}
            bits = tags.get(_BITS, 1)
            numbers = kinds.get(max(np.atleast_1d(tags.get(_SAMPLES, 1))), "unknown")
            return cls(int(max(np.atleast_1d(bits))), numbers, tags.get(_PHOTOMETRIC) == 0)
        tiles = getattr(image, "tile", ())
        raw = str(tiles[0][3]) if tiles else ""
        bits = next((bits for bits in (16, 4, 2, 1) if f";{bits}" in raw), 1 if image.mode == "1" else 8)
        return cls(bits, "unsigned", False)


def _check_whole(path: Path, image: Image.Image) -> None:
    """Refuse what is several pictures, or lies turned: a mask beside it would not, or programs differ in it."""
    turned = 1
    with suppress(Exception):  # damaged EXIF says nothing
        turned = image.getexif().get(_ORIENTATION, 1)
    if turned not in (0, 1):
        raise InputError(
            f"{path}: is stored turned or mirrored (orientation {turned}); save it upright, without that tag"
        )
    if not isinstance(image, TiffImageFile) or image.n_frames == 1:
        return
    for number in range(1, image.n_frames):
        image.seek(number)
        if not image.tag_v2.get(_SUBFILE, 0) & 1:  # smaller copies are no other pictures
            raise InputError(f"{path}: holds {image.n_frames} pictures; save the one that is meant by itself")
    image.seek(0)


def _decode(path: Path) -> tuple[Image.Image, _Stored]:
    try:
        with Image.open(stored_source(path), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(
                    f"{path}: claims {image.width} x {image.height} px, which is no patch; remove the file"
                )
            stored = _Stored.of(image)
            if image.format == "TIFF":  # which Pillow turns itself, and then says nothing of it
                _check_whole(path, image)
            image.load()
            if image.format != "TIFF":  # EXIF may come last
                _check_whole(path, image)
            return image, stored
    except InputError:
        raise
    except Exception as error:  # broken files make decoders raise anything, a lack of memory too
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read as an image ({reason}); get it again or remove it") from None
