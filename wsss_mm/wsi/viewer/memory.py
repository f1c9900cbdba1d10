"""Where slides lay when they were segmented, so that the viewer finds them a minute later.

Results say no folder of a slide, because they are passed on. This stays on the machine, in work_dirs of the folder in
which the command ran; without it, or where it does not fit, slides are looked for as ever.
"""

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import locked, read_json, write_json
from wsss_mm.wsi.viewer.results import Result

logger = logging.getLogger(__name__)


def remember(slides: Mapping[Path, Path], path: Path = places.SEGMENTED) -> None:
    """Note the slides of results; what is noted of results that are gone is forgotten.

    Args:
        slides: files of slides by the folders of their results.
        path: the memory.
    """
    new = {str(folder.absolute()): str(slide.absolute()) for folder, slide in slides.items()}
    try:
        with locked(path):
            known = {folder: slide for folder, slide in _read(path).items() if Path(folder).is_dir()}
            write_json(path, {"slides": known | new})
    except (InputError, OSError, ValueError) as error:  # names that are no text, a folder that is not ours
        logger.debug("%s: not written (%s)", path, error)


def remembered_slides(results: Iterable[Result], path: Path = places.SEGMENTED) -> list[Path]:
    """Files of slides that are still where they were when these results were made."""
    known = _read(path)
    found = (known.get(str(result.folder.absolute())) for result in results) if known else ()
    return [Path(slide) for slide in found if slide is not None and Path(slide).is_file()]


def _read(path: Path) -> dict[str, str]:
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        slides = read_json(path)["slides"].items()
        return {folder: slide for folder, slide in slides if isinstance(slide, str) and "\0" not in slide}
    return {}
