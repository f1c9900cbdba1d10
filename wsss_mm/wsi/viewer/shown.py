"""What the viewer shows: slides and maps by the names of results, each looked at anew when it is asked for."""

import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import leads_outside
from wsss_mm.wsi.viewer.results import Result
from wsss_mm.wsi.viewer.tiles import Tiles

logger = logging.getLogger(__name__)

_OPEN = 16  # slides and maps held open
_MAPS = {"map": places.LABEL_MAP, "confidence": places.CONFIDENCE}


class Shown:
    """What can be asked for: results and slides by name, some of them held open."""

    def __init__(self, results: Mapping[str, Result], slides: Mapping[str, Path]) -> None:
        self.results = results
        self.slides = {name: path.resolve() for name, path in slides.items()}
        self._folders = {name: result.folder.resolve() for name, result in results.items()}
        self._open = lru_cache(maxsize=_OPEN)(Tiles)

    def result(self, name: str) -> Result:
        """A result; 404 if there is none."""
        from flask import abort

        return self.results[name] if name in self.results else abort(404)

    def file(self, name: str, file: str) -> Path:
        """A file of a result, links followed; 404 if it is none any more, or they lead out of the folder."""
        from flask import abort

        self.result(name)
        folder = self._folders[name]
        path = (folder / file).resolve()
        if folder.resolve() != folder or leads_outside(path, folder) or not path.is_file():
            logger.warning("%s: %s is gone, or links lead out of the folder", name, file)
            abort(404)
        return path

    def tiles(self, name: str, kind: str) -> Tiles:
        """Tiles of a `slide` or of one of its `_MAPS`; 404 where there are none, or the file does not open any more."""
        from flask import abort
        from openslide import OpenSlideError

        self.result(name)
        if kind not in ("slide", *_MAPS) or (kind == "slide" and name not in self.slides):
            abort(404)
        path = self.slides[name] if kind == "slide" else self.file(name, _MAPS[kind])
        if path.resolve() != path:  # a link since
            abort(404)
        try:
            return self._open(path)
        except (InputError, OpenSlideError, OSError) as error:
            logger.warning("%s: %s does not open (%s)", name, kind, error)
            abort(404)

    def forget_tiles(self) -> None:
        """Open files anew when they are asked for next."""
        self._open.cache_clear()
