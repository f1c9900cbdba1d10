"""What the viewer shows: slides and maps by the names of results, each looked at anew when it is asked for."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import leads_outside
from wsss_mm.wsi.viewer.results import Result
from wsss_mm.wsi.viewer.tiles import Tiles

if TYPE_CHECKING:
    from wsss_mm.wsi.viewer.labels import LabelTiles
    from wsss_mm.wsi.viewer.project import Project

logger = logging.getLogger(__name__)

_OPEN = 16  # slides and maps held open
_MAPS = {"map": places.LABEL_MAP, "confidence": places.CONFIDENCE}


class Shown:
    """What can be asked for: results and slides by name, some of them held open.

    Attributes:
        results: by name.
        slides: files of those that are found, by the names of results.
        project: knows truth and annotations of slides; None outside of one.
    """

    project: "Project | None" = None

    def __init__(self, results: Mapping[str, Result], slides: Mapping[str, Path]) -> None:
        self.results = results
        self.slides = {name: path.resolve() for name, path in slides.items()}
        self._folders = {name: result.folder.resolve() for name, result in results.items()}
        self._open = lru_cache(maxsize=_OPEN)(Tiles)
        self._known = self._summaries()

    def result(self, name: str) -> Result:
        """A result; 404 if there is none."""
        from flask import abort

        return self.results[name] if name in self.results else abort(404)

    def since(self) -> set[Path]:
        """Folders of results that came or changed since they were read; what is shown of them is older."""
        return {path.parent for path, _ in self._summaries() - self._known}

    def is_older(self, name: str) -> bool:
        """Whether a slide was segmented anew since its figures were read."""
        return self._folders[name] in self.since()

    def _summaries(self) -> set[tuple[Path, int]]:
        found = set()
        for folder in {folder.parent for folder in self._folders.values()}:
            for path in folder.glob(f"*/{places.SUMMARY}"):
                with suppress(OSError):  # being replaced
                    found.add((path, path.stat().st_mtime_ns))
        return found

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

    def thumbnail(self, name: str) -> tuple[str, bytes]:
        """What tells it from others, and the picture of a slide at a glance; 404 where there is no map any more."""
        from flask import abort
        from openslide import OpenSlideError

        from wsss_mm.wsi.viewer.thumbnails import stamp_of, thumbnail

        labels, slide = self.file(name, places.LABEL_MAP), self.slides.get(name)
        if slide is not None and (slide.resolve() != slide or not slide.is_file()):  # a link since, or gone
            slide = None
        try:
            stamps = stamp_of(labels), None if slide is None else stamp_of(slide)
            return "-".join(f"{part:x}" for one in stamps if one for part in one[1:]), thumbnail(*stamps)
        except (InputError, OpenSlideError, OSError) as error:
            logger.warning("%s: has no picture (%s)", name, error)
            abort(404)

    def layers(self, name: str) -> list[str]:
        """Kinds of the layers that can be laid over a slide."""
        result = self.result(name)
        own = [kind for kind in _MAPS if kind != "confidence" or result.certain]
        return own + ([] if self.project is None else self.project.layers(result))

    def layer(self, name: str, kind: str) -> "Tiles | LabelTiles":
        """Tiles of anything but the slide itself; 404 where there are none, or they cannot be read."""
        from flask import abort

        if kind in _MAPS or self.project is None:
            return self.tiles(name, kind) if kind != "slide" else abort(404)
        result = self.result(name)
        try:
            found = self.project.tiles(result, kind) if kind in self.project.layers(result) else None
        except (InputError, OSError) as error:
            logger.warning("%s: %s cannot be shown (%s)", name, kind, error)
            found = None
        return found if found is not None else abort(404)

    def at(self, name: str, x: float, y: float) -> dict[str, Any]:
        """What each layer holds at a place, level-0 px from where the scan begins: a class, or how sure the map is."""
        from werkzeug.exceptions import NotFound

        result = self.result(name)
        scale, found = result.mpp / result.slide_mpp, {}
        for kind in self.layers(name):
            try:
                layer = self.layer(name, kind)
            except NotFound:  # and said
                continue
            if isinstance(layer, Tiles):
                color = layer.color(x / scale, y / scale)
                found[kind] = sureness(color) if kind == "confidence" else _class_of(result, color)
            else:
                named = layer.at(x / scale, y / scale)
                found[kind] = None if named is None else {"name": named.name, "color": named.color}
        return found

    def forget_tiles(self) -> None:
        """Open files anew when they are asked for next."""
        self._open.cache_clear()


def _class_of(result: Result, color: tuple[int, int, int] | None) -> dict[str, Any] | None:
    return next(({"name": item.name, "color": item.color} for item in result.classes if item.color == color), None)


@lru_cache(maxsize=1 << 12)
def sureness(color: tuple[int, int, int] | None) -> float | None:
    """The confidence, 0..1, that a colour of a band stands for; None of what has none."""
    from wsss_mm.wsi.certainty import ramp, share_of

    colors = ramp()
    table = {colors[3 * value : 3 * value + 3]: value for value in range(255, 0, -1)}
    value = None if color is None else table.get(color)
    return None if value is None else round(float(share_of(value)), 3)
