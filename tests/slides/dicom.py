"""Whole-slide images as DICOM, by the few lines that the standard asks for: explicit VR, little endian, JPEG tiles."""

import hashlib
import io
import struct

import numpy as np
from PIL import Image

WSI = "1.2.840.10008.5.1.4.1.1.77.1.6"
JPEG = "1.2.840.10008.1.2.4.50"
_LONG = ("OB", "OW", "SQ", "UT")
_ENDLESS = 0xFFFFFFFF


def uid(text):
    return f"2.25.{int(hashlib.sha256(text.encode()).hexdigest()[:24], 16)}"


def element(tag, vr, value):
    group, number = tag >> 16, tag & 0xFFFF
    if vr == "SQ":
        data = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in value)
    elif vr in ("US", "UL", "FD", "FL"):
        values = value if isinstance(value, list) else [value]
        data = struct.pack("<" + {"US": "H", "UL": "I", "FD": "d", "FL": "f"}[vr] * len(values), *values)
    else:
        data = value if isinstance(value, bytes) else str(value).encode("ascii")
        data += (b"\0" if vr in ("UI", "OB") else b" ") * (len(data) % 2)
    head = struct.pack("<HH2s", group, number, vr.encode())
    return head + (struct.pack("<HI", 0, len(data)) if vr in _LONG else struct.pack("<H", len(data))) + data


def pixel_data(frames):
    """Encapsulated frames, with an empty table of offsets."""
    head = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, _ENDLESS)
    items = [b"", *(frame + b"\0" * (len(frame) % 2) for frame in frames)]
    body = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    return head + body + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def jpeg(tile, *, rgb):
    """A JPEG whose channels are red, green and blue, or luminance and chroma as usual."""
    stream = io.BytesIO()
    Image.fromarray(tile).save(stream, "JPEG", quality=95, subsampling=0, keep_rgb=rgb)
    return stream.getvalue()


def write_dicom(path, image, *, mpp=0.5, said="YBR_FULL_422", rgb=False, series="series", number=1, tile=64):
    """Write a level (H, W, 3) as a file of a series.

    Args:
        path: the file.
        image: its pixels.
        mpp: um/px.
        said: photometric interpretation that the file claims.
        rgb: whether its JPEGs hold RGB in truth.
        series: levels of one slide have it in common.
        number: of the file in it.
        tile: px.
    """
    height, width = image.shape[:2]
    rows, columns = -(-height // tile), -(-width // tile)
    padded = np.pad(image, ((0, rows * tile - height), (0, columns * tile - width), (0, 0)), mode="edge")
    tiles = [padded[y * tile : (y + 1) * tile, x * tile : (x + 1) * tile] for y in range(rows) for x in range(columns)]
    own = uid(f"{series} {number}")
    first = number == 1
    spacing = element(0x00280030, "DS", f"{mpp / 1000:.9g}\\{mpp / 1000:.9g}")
    measures = element(0x00289110, "SQ", [element(0x00180050, "DS", "0.001") + spacing])
    origin = element(0x0040072A, "DS", "0") + element(0x0040073A, "DS", "0")
    path_ = element(0x00480106, "SH", "0") + element(0x00480112, "DS", "20")
    body = [
        element(
            0x00080008, "CS", "ORIGINAL\\PRIMARY\\VOLUME\\NONE" if first else "DERIVED\\PRIMARY\\VOLUME\\RESAMPLED"
        ),
        element(0x00080016, "UI", WSI),
        element(0x00080018, "UI", own),
        element(0x00080020, "DA", "20200102"),
        element(0x00080030, "TM", "101112"),
        element(0x00080050, "SH", ""),
        element(0x00080060, "CS", "SM"),
        element(0x00080090, "PN", ""),
        element(0x00100010, "PN", "Phantom"),
        element(0x00100020, "LO", "P1"),
        element(0x00100030, "DA", ""),
        element(0x00100040, "CS", ""),
        element(0x0020000D, "UI", uid("study")),
        element(0x0020000E, "UI", uid(series)),
        element(0x00200010, "SH", "1"),
        element(0x00200011, "IS", "1"),
        element(0x00200013, "IS", number),
        element(0x00200052, "UI", uid("frame of reference " + series)),
        element(0x00201040, "LO", "SLIDE_CORNER"),
        element(0x00209311, "CS", "TILED_FULL"),
        element(0x00280002, "US", 3),
        element(0x00280004, "CS", said),
        element(0x00280006, "US", 0),
        element(0x00280008, "IS", len(tiles)),
        element(0x00280010, "US", tile),
        element(0x00280011, "US", tile),
        element(0x00280100, "US", 8),
        element(0x00280101, "US", 8),
        element(0x00280102, "US", 7),
        element(0x00280103, "US", 0),
        element(0x00282110, "CS", "01"),
        element(0x00400512, "LO", "SLIDE1"),
        element(0x00400560, "SQ", [_specimen()]),
        element(0x00480001, "FL", width * mpp / 1000),
        element(0x00480002, "FL", height * mpp / 1000),
        element(0x00480003, "FL", 0.001),
        element(0x00480006, "UL", width),
        element(0x00480007, "UL", height),
        element(0x00480008, "SQ", [origin]),
        element(0x00480102, "DS", "0\\-1\\0\\-1\\0\\0"),
        element(0x00480105, "SQ", [path_]),
        element(0x00480302, "UL", 1),
        element(0x00480303, "UL", 1),
        element(0x52009229, "SQ", [measures]),
        pixel_data([jpeg(np.ascontiguousarray(item), rgb=rgb) for item in tiles]),
    ]
    meta = b"".join(
        (
            element(0x00020001, "OB", b"\0\1"),
            element(0x00020002, "UI", WSI),
            element(0x00020003, "UI", own),
            element(0x00020010, "UI", JPEG),
            element(0x00020012, "UI", uid("writer")),
        )
    )
    path.write_bytes(b"\0" * 128 + b"DICM" + element(0x00020000, "UL", len(meta)) + meta + b"".join(body))


def _specimen():
    return element(0x00400551, "LO", "SPECIMEN1") + element(0x00400554, "UI", uid("specimen"))
