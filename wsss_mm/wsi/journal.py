"""What is finished of a slide, so that a process that was killed can go on where it was."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path, rounded
from wsss_mm.formats import NewerError, read_object, write_object
from wsss_mm.places import SLIDE_JOURNAL
from wsss_mm.places import STATE as _STATE
from wsss_mm.wsi.engine import Resumption, Rows


class MapJournal:
    """Notes beside the half-finished map, replaced as a whole after each band: a kill leaves the old or the new ones.

    They hold the number of finished rows and what windows have added to the rows below (see `Rows.carry`), with a
    checksum. They count only for the same slide, model and parameters.

    Args:
        folder: of the half-finished map.
        key: what the result depends on, JSON.
    """

    def __init__(self, folder: Path, key: dict[str, Any]) -> None:
        self._folder, self._key = folder, rounded(key)

    def read(self) -> tuple[Resumption, dict[int, int]] | None:
        """Where to go on and the unreadable pixels by strip, as noted last; None if there is nothing to build on.

        Raises:
            NewerError: a later version of wsss_mm is at work on this slide.
        """
        try:
            state = read_object(self._folder / _STATE, SLIDE_JOURNAL)
            if state["key"] != self._key:
                return None
            content = (self._folder / state["carry"]).read_bytes()
            if zlib.crc32(content) != state["crc"]:
                return None
            carry = np.frombuffer(content, np.float32).reshape(state["shape"])
            return Resumption(state["row"], carry), {int(key): value for key, value in state["unreadable"].items()}
        except NewerError:
            raise
        except (InputError, OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, rows: Rows, unreadable: dict[int, int]) -> None:
        """Note that all up to `rows` is on disk.

        Raises:
            InputError: no space, or no permission to write.
        """
        name, crc = f"carry-{rows.stop}.raw", 0
        with atomic_path(self._folder / name) as temporary, temporary.open("wb") as stream:
            for plane in rows.carry:
                data = np.ascontiguousarray(plane).data.cast("B") if plane.size else b""
                crc = zlib.crc32(data, crc)
                stream.write(data)
        state = {"row": rows.stop, "carry": name, "crc": crc, "shape": rows.carry.shape, "unreadable": unreadable}
        write_object(self._folder / _STATE, SLIDE_JOURNAL, state | {"key": self._key})
        for old in self._folder.glob("carry-*.raw"):
            if old.name != name:
                old.unlink()
