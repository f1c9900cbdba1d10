"""Maps as pyramidal tiled TIFFs that OpenSlide, Bio-Formats (QuPath) and tifffile open, written in flat memory.

The files are OME-TIFFs: levels hang below their plane as SubIFDs, where Bio-Formats looks for them. OpenSlide looks for
levels along the chain of top-level pages; a label map has one plane, so its chain leads through the same pages.
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Protocol
from xml.sax.saxutils import quoteattr

import numpy as np
import tifffile
from numpy.typing import NDArray

from wsss_mm.files import atomic_path

_TILE = 256
_BIG = 1 << 31  # bytes before compression; a map shrinks many times, so offsets then still fit 32 bits
_OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


class RowMap(Protocol):
    """An array (height, width) uint8 of which rows are taken by slices: NumPy's, or a map in a file."""

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102

    def __getitem__(self, rows: slice) -> NDArray[np.uint8]: ...


def write_label_pyramid(
    path: Path | str, label_map: RowMap, mpp: float, palette: Sequence[int], name: str = "Tissue class"
) -> None:
    """Write a label map as a tiled pyramid with a colour table.

    Pixel values are the labels (tifffile and Bio-Formats read those), the colour table is how they look (OpenSlide).
    Levels halve down to one tile, each sample taken from the middle of the pixels it stands for: labels are never
    mixed. Equal maps give equal bytes, and a failed write leaves nothing behind.

    Args:
        path: the TIFF.
        label_map: (H, W) uint8; only 256 of its rows are held at a time.
        mpp: um/px, stored as the resolution and in the OME-XML.
        palette: 768 values of 0..255, as for `PIL.Image.putpalette`.
        name: of its channel.
    """
    colours = np.asarray(palette, np.uint16).reshape(256, 3).T * 257
    with atomic_path(path) as temporary:
        _write_pyramid(temporary, [label_map], mpp, [(name, None)], photometric="palette", colormap=colours)
        _chain_levels(temporary)


def write_probability_pyramid(
    path: Path | str,
    maps: Sequence[RowMap],
    mpp: float,
    channels: Sequence[tuple[str, tuple[int, int, int]]],
) -> None:
    """Write one map per class as the channels of a tiled pyramid, with the levels of the label map.

    Args:
        path: the OME-TIFF.
        maps: for each class (H, W) uint8, 0..255 for probabilities 0..1.
        mpp: um/px.
        channels: for each class its name and RGB colour, which QuPath shows.
    """
    with atomic_path(path) as temporary:
        _write_pyramid(temporary, maps, mpp, channels, photometric="minisblack")


def write_planes(path: Path | str, maps: Sequence[RowMap]) -> None:
    """Write maps of one shape as pages of a tiled TIFF without levels, as they are, for `MapLevel` to read.

    Equal maps give equal bytes, and a failed write leaves nothing behind.
    """
    with atomic_path(path) as temporary, tifffile.TiffWriter(temporary, bigtiff=True, ome=False) as tiff:
        for item in maps:
            tiff.write(
                _tiles(item, (item.shape[0], item.shape[1]), 1),
                shape=item.shape,
                dtype=np.uint8,
                tile=(_TILE, _TILE),
                compression="zlib",
                photometric="minisblack",
                metadata=None,
                software=False,
                maxworkers=1,
            )


def _write_pyramid(
    path: Path,
    maps: Sequence[RowMap],
    mpp: float,
    channels: Sequence[tuple[str, tuple[int, int, int] | None]],
    **options: object,
) -> None:
    height, width = maps[0].shape
    steps = _steps((height, width))
    with tifffile.TiffWriter(path, bigtiff=len(maps) * height * width > _BIG, ome=False) as tiff:
        for step in steps:
            shape = _level_shape((height, width), step)
            first = step == 1
            tiff.write(
                (tile for item in maps for tile in _tiles(item, shape, step)),
                shape=shape if len(maps) == 1 else (len(maps), *shape),
                dtype=np.uint8,
                tile=(_TILE, _TILE),
                compression="zlib",
                subfiletype=0 if first else 1,
                subifds=len(steps) - 1 if first else None,
                resolution=(10_000 / (mpp * step),) * 2,
                resolutionunit="CENTIMETER",
                description=_ome_xml((height, width), mpp, channels) if first else None,
                metadata=None,
                software=False,
                maxworkers=1,
                **options,
            )


def level_samples(shape: tuple[int, int]) -> list[tuple[range, range]]:
    """Rows and columns of a map (height, width) that each level of its pyramid takes, the finest first."""
    return [_samples(shape, step) for step in _steps(shape)]


def _steps(shape: tuple[int, int]) -> list[int]:
    steps = [1]
    while max(_level_shape(shape, steps[-1])) > _TILE:
        steps.append(2 * steps[-1])
    return steps


def _level_shape(shape: tuple[int, int], step: int) -> tuple[int, int]:
    rows, columns = _samples(shape, step)
    return len(rows), len(columns)


def _samples(shape: tuple[int, int], step: int) -> tuple[range, range]:
    rows, columns = (range(_first_sample(side, step), side, step) for side in shape)
    return rows, columns


def _first_sample(side: int, step: int) -> int:
    """The middle of the first pixels, or the last one where a side is shorter than that."""
    return min(step // 2, side - 1)


def _tiles(rows: RowMap, shape: tuple[int, int], step: int) -> Iterator[NDArray[np.uint8]]:
    """Tiles of a level from left to right and top to bottom; at the edges they are padded with the last value."""
    height, width = shape
    y, x = (_first_sample(side, step) for side in rows.shape)
    for top in range(0, height, _TILE):
        bottom = min(top + _TILE, height)
        band = rows[y + top * step : y + (bottom - 1) * step + 1 : step][:, x::step]
        band = np.pad(band, ((0, top + _TILE - bottom), (0, -width % _TILE)), mode="edge")
        for left in range(0, width, _TILE):
            yield np.ascontiguousarray(band[:, left : left + _TILE])


def _ome_xml(shape: tuple[int, int], mpp: float, channels: Sequence[tuple[str, tuple[int, int, int] | None]]) -> str:
    """OME-XML in ASCII; lengths are um by the schema's default."""
    height, width = shape
    described = "".join(
        f'<Channel ID="Channel:0:{index}" SamplesPerPixel="1" Name={_attribute(name)}{_color(color)}/>'
        for index, (name, color) in enumerate(channels)
    )
    planes = "".join(f'<TiffData IFD="{index}" FirstC="{index}" PlaneCount="1"/>' for index in range(len(channels)))
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{_OME}" '
        f'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{_OME} {_OME}/ome.xsd"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
        f'Type="uint8" SizeX="{width}" SizeY="{height}" SizeC="{len(channels)}" SizeZ="1" SizeT="1" '
        f'PhysicalSizeX="{mpp:.9g}" PhysicalSizeY="{mpp:.9g}">{described}{planes}</Pixels></Image></OME>'
    )


def _attribute(text: str) -> str:
    return quoteattr(text).encode("ascii", "xmlcharrefreplace").decode("ascii")


def _color(color: tuple[int, int, int] | None) -> str:
    """OME's colour: RGBA in a signed 32-bit integer."""
    return "" if color is None else f' Color="{int.from_bytes(bytes((*color, 255)), "big", signed=True)}"'


def _chain_levels(path: Path) -> None:
    """Let the chain of pages of a file with one plane lead through the levels below it."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        offsets = [page.offset, *(page.subifds or ())]
        big, order = tiff.is_bigtiff, tiff.byteorder
    count, entry, link = (order + "Q", 20, order + "Q") if big else (order + "H", 12, order + "I")
    with path.open("r+b") as file:
        for offset, following in pairwise(offsets):
            file.seek(offset)
            (entries,) = struct.unpack(count, file.read(struct.calcsize(count)))
            file.seek(entries * entry, 1)
            file.write(struct.pack(link, following))
