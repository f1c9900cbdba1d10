"""Run lengths of COCO: how many pixels are outside and inside by turns, down one column after the other.

`pycocotools`, the field's library, says the same; it is compiled, and needed here for these few lines alone, so that
tests hold them against it and nobody has to install it.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import shapely

_LOW, _MORE, _SIGN, _FIRST = 0x1F, 0x20, 0x10, 48
"""Of a character: 5 bits of a number, whether more follow, the sign in the last of them, and what stands for 0."""


def run_lengths(columns: Iterable[npt.NDArray[np.bool_]]) -> list[int]:
    """Run lengths of a mask that comes in pieces (H, w) from left to right."""
    counts, inside = [0], False
    for piece in columns:
        flat = piece.ravel(order="F")
        if not flat.size:
            continue
        turns = np.flatnonzero(np.diff(flat)) + 1
        lengths = np.diff(np.concatenate([[0], turns, [flat.size]])).tolist()
        if bool(flat[0]) == inside:
            counts[-1] += lengths.pop(0)
        counts += lengths
        inside = bool(flat[-1])
    return counts


def packed(counts: Sequence[int]) -> str:
    """Run lengths as COCO's compressed text: from the fourth on, how much more each is than the last but one."""
    text = []
    for at, count in enumerate(counts):
        left = count - counts[at - 2] if at > 2 else count
        while True:
            bits = left & _LOW
            left >>= 5
            ended = left == (-1 if bits & _SIGN else 0)
            text.append(chr(bits + (0 if ended else _MORE) + _FIRST))
            if ended:
                break
    return "".join(text)


def unpacked(text: str) -> list[int]:
    """Run lengths of such a text.

    Raises:
        ValueError: it is none.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - _FIRST
        if not 0 <= bits < 2 * _MORE or shift > 60:
            raise ValueError("it is no text of run lengths")
        value |= (bits & _LOW) << shift
        shift += 5
        if not bits & _MORE:
            value -= (bits & _SIGN) and 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("its text breaks off")
    return counts


def area_of(counts: Sequence[int], width: int, height: int) -> shapely.Geometry:
    """What run lengths cover, as polygons along the borders of pixels.

    Raises:
        ValueError: they are none of a mask of this width and height.
    """
    if not all(type(count) is int and count >= 0 for count in counts) or sum(counts) != width * height:
        raise ValueError(f"they are no run lengths of {width} x {height} px")
    ends = np.cumsum(counts, dtype=np.int64)
    starts, stops = ends[0::2][: len(counts) // 2], ends[1::2]
    starts, stops = starts[stops > starts], stops[stops > starts]
    first, top = np.divmod(starts, height)
    last, bottom = np.divmod(stops - 1, height)
    one = first == last
    boxes = [shapely.box(first, top, first + 1, np.where(one, bottom + 1, height))]
    many = ~one
    boxes.append(shapely.box(last[many], 0, last[many] + 1, bottom[many] + 1))
    wide = last > first + 1
    boxes.append(shapely.box(first[wide] + 1, 0, last[wide], height))
    return shapely.simplify(shapely.union_all(np.concatenate(boxes)), 0)


def mask_of(counts: Sequence[int], width: int, height: int) -> npt.NDArray[np.bool_]:
    """What run lengths cover, as a mask (H, W).

    Raises:
        ValueError: they are none of a mask of this width and height.
    """
    if not all(type(count) is int and count >= 0 for count in counts) or sum(counts) != width * height:
        raise ValueError(f"they are no run lengths of {width} x {height} px")
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape((height, width), order="F")
