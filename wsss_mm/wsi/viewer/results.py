"""What a folder of results holds, read with suspicion: it may come from anywhere."""

import csv
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from wsss_mm.errors import InputError
from wsss_mm.files import leads_outside
from wsss_mm.formats import DamagedError, read_object
from wsss_mm.names import cell_text, shown_name
from wsss_mm.places import CONFIDENCE, IN_PLACE_OF, RESULTS, SLIDE_SUMMARY, SLIDES_TABLE, SUMMARY
from wsss_mm.places import SLIDE_FILES as FILES
from wsss_mm.wsi.viewer.words import in_words

logger = logging.getLogger(__name__)

_LONGEST_WARNING, _LONGEST_ERROR = 600, 300


@dataclass(frozen=True)
class ClassFigures:
    """A line of the table: areas in mm2, `share` of the tissue or None on a slide without any.

    `confidence` is the mean over the class, 0..1; None where it was not written, or the class is nowhere.
    """

    code: str
    name: str
    color: tuple[int, int, int]
    area_mm2: float
    share: float | None
    polygons: int
    confidence: float | None = None


@dataclass(frozen=True)
class Result:
    """A segmented slide.

    Attributes:
        name: of its folder, as it is shown, unique in a run.
        folder: holds `wsss_mm.wsi.segment.FILES`.
        slide_file: name of the slide's file, without a folder.
        slide_bytes: its size, and
        quickhash: what OpenSlide makes of it, to tell it from another of that name; None where it makes nothing.
        slide_mpp: um per level-0 px.
        bounds: x, y, width and height of the slide's content, level-0 px.
        size: width and height of the map, px.
        mpp: um per px of the map.
        tissue_mm2: area that is not background.
        tumour_stroma_ratio: None where the classes or the stroma are missing.
        model: what names the model.
        parameters: of the segmentation.
        classes: in the order of the map's values.
        certain: whether there is a band of confidence.
        warning: how the slide is unlike the model's training, None where it is not.
    """

    name: str
    folder: Path
    slide_file: str
    slide_bytes: int
    quickhash: str | None
    slide_mpp: float
    bounds: tuple[int, int, int, int]
    size: tuple[int, int]
    mpp: float
    tissue_mm2: float
    tumour_stroma_ratio: float | None
    model: str
    parameters: dict[str, str]
    classes: tuple[ClassFigures, ...]
    certain: bool = False
    warning: str | None = None

    @property
    def made(self) -> list[tuple[str, str]]:
        """How it was segmented, in words, and the value of each."""
        return in_words(self.parameters)


def read_all(folder: Path) -> list[Result]:
    """Results of a run, as `read_results` has them, and those of the line in its folder `slides`, if it is in there.

    Raises:
        InputError: there is none that can be read.
    """
    of_line = folder / RESULTS.name
    if (of_line / SUMMARY).is_file() or not any(of_line.glob(f"*/{SUMMARY}")):
        return read_results(folder)
    found = read_results(folder) if any(folder.glob(f"*/{SUMMARY}")) else []
    taken = {result.name for result in found}
    lines = [
        replace(result, name=f"{result.name} ({RESULTS.name})") if result.name in taken else result
        for result in read_results(of_line)
    ]
    return sorted([*found, *lines], key=lambda result: result.name)


def failed_slides(folder: Path) -> dict[str, str]:
    """Slides of a run that failed when they were last segmented, by slide_id, and why; see `read_all`."""
    found: dict[str, str] = {}
    for table in (folder / RESULTS.name / SLIDES_TABLE, folder / SLIDES_TABLE):
        found |= failed_in(table)
    return found


def read_results(folder: Path) -> list[Result]:
    """Results of a run, by name: `folder` holds one folder per slide, or is the folder of one slide.

    Results that cannot be read are reported and left out.

    Raises:
        InputError: there is none that can be read.
    """
    folders = [folder] if (folder / SUMMARY).is_file() else sorted(item.parent for item in folder.glob(f"*/{SUMMARY}"))
    results = []
    for item in folders:
        if leads_outside(item, folder):
            logger.warning("%s: is a link that leads out of %s, and not shown", item, folder)
            continue
        try:
            results.append(read_result(item))
        except InputError as error:
            logger.warning("%s", error)
    if not results:
        raise InputError(f"{folder}: holds no results of `wsss-mm segment`; give the folder named with --out")
    return results


def read_result(folder: Path) -> Result:
    """Results of a slide.

    Raises:
        InputError: a file is missing or the summary is no summary.
    """
    path = folder / SUMMARY
    found = {name: folder / name for name in FILES}
    found |= {name: folder / other for name, other in IN_PLACE_OF.items() if not found[name].is_file()}
    missing = [name for name, file in found.items() if not file.is_file() or leads_outside(file, folder)]
    if missing:
        raise InputError(f"{folder}: lacks {', '.join(missing)}, or has links that lead out of it; segment it again")
    try:
        return _parse(folder, read_object(path, SLIDE_SUMMARY))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise DamagedError(f"{path}: damaged: not a summary ({_short(error)}); segment the slide again") from None


def find_slides(results: Sequence[Result], places: Iterable[Path]) -> dict[str, Path]:
    """Slide files of results, by the results' names; slides that are not found are left out.

    A slide has the name and the size that the summary says, and its quickhash. Where the summary says none, there must
    be one such file alone, among those that are named if not among those in folders. What is not shown for want of this
    is said.

    Args:
        results: of a run.
        places: slide files, and folders that hold slides.

    Raises:
        InputError: a place does not exist.
    """
    named: dict[str, list[Path]] = {}
    held: dict[str, list[Path]] = {}
    for place in places:
        if not place.exists():
            raise InputError(f"{place}: no such slide or folder; correct --slide")
        if place.is_dir():
            for path in place.rglob("*"):
                held.setdefault(shown_name(path.name), []).append(path)
        else:
            named.setdefault(shown_name(place.name), []).append(place)
    found = {}
    for result in results:
        candidates = (_of_size(files.get(result.slide_file, ()), result.slide_bytes) for files in (named, held))
        path = _the_slide(result, *candidates)
        if path is not None:
            found[result.name] = path
    return found


def failed_in(table: Path) -> dict[str, str]:
    """Slides that failed by a run's table of slides, by slide_id, and why; none where there is no table."""
    if not table.is_file():
        return {}
    try:
        with table.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream, strict=True))
        return {
            shown_name(row["slide_id"]): cell_text(row["error"])[:_LONGEST_ERROR]
            for row in rows
            if row["status"] == "failed"
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        logger.warning(
            "%s: not a table of slides (%s); failed slides are not listed", table, " ".join(str(error).split())
        )
        return {}


def _of_size(paths: Iterable[Path], size: int) -> list[Path]:
    """The files among paths of this size, each once however many links lead to it."""
    files = {path.resolve(): path for path in reversed(list(paths)) if path.is_file() and path.stat().st_size == size}
    return list(reversed(files.values()))


def _the_slide(result: Result, named: list[Path], held: list[Path]) -> Path | None:
    """The one that was segmented, of files with its name and size."""
    if result.quickhash is not None:
        for path in (*named, *held):
            if _quickhash(path, result.slide_mpp) == result.quickhash:
                return path
        if named or held:
            other = (*named, *held)[0]
            logger.warning(
                "%s: %s is not its slide, although name and size are (another quickhash)", result.name, other
            )
        return None
    first = named or held
    if len(first) > 1:
        logger.warning(
            "%s: %s and %s could both be its slide, of which the summary has no quickhash; name the right one with "
            "--slide FILE",
            result.name,
            *first[:2],
        )
    return first[0] if len(first) == 1 else None


def _quickhash(path: Path, mpp: float) -> str | None:
    """OpenSlide's, None of what does not open."""
    from wsss_mm.slides import open_slide

    try:
        with open_slide(path, mpp) as slide:
            return slide.quickhash
    except (InputError, OSError):
        return None


def _parse(folder: Path, summary: dict[str, Any]) -> Result:
    slide, figures = summary["slide"], summary["classes"]
    if min(*_whole(slide["bounds"], 4)[2:], *_whole(summary["size"], 2)) < 1:
        raise ValueError(f"size {summary['size']} of {slide['bounds']}")
    ratio = summary["tumour_stroma_ratio"]
    return Result(
        name=shown_name(folder.resolve().name),
        folder=folder,
        slide_file=str(slide["file"]),
        slide_bytes=int(slide["bytes"]),
        quickhash=None if slide.get("quickhash") is None else str(slide["quickhash"]),
        slide_mpp=_positive(slide["mpp"]),
        bounds=cast("tuple[int, int, int, int]", _whole(slide["bounds"], 4)),
        size=cast("tuple[int, int]", _whole(summary["size"], 2)),
        mpp=_positive(summary["mpp"]),
        tissue_mm2=_amount(summary["tissue_area_mm2"]),
        tumour_stroma_ratio=None if ratio is None else _amount(ratio),
        model=_model_name(summary["model"]),
        parameters={str(key): _text(value) for key, value in summary["parameters"].items()},
        classes=tuple(_class_figures(code, figures[code]) for code in summary["model"]["classes"]),
        certain=(folder / CONFIDENCE).is_file(),
        warning=_warning(summary.get("appearance")),
    )


def _warning(appearance: dict[str, Any] | None) -> str | None:
    """What is said of a slide that is unlike the training; older summaries, and models, say nothing."""
    said = None if appearance is None else appearance["warning"]
    return None if said is None else str(said)[:_LONGEST_WARNING]


def _model_name(model: dict[str, Any]) -> str:
    """As the registry calls it, or else by its weights."""
    version = model.get("version")
    return f"{model['name']} version {version}" if version else str(model["weights_md5"])


def _class_figures(code: str, values: dict[str, Any]) -> ClassFigures:
    color = cast("tuple[int, int, int]", _whole(values["color"], 3))
    if not all(0 <= channel <= 255 for channel in color):
        raise ValueError(f"colour {color}")
    share = values["share"]
    area, share = _amount(values["area_mm2"]), None if share is None else _amount(share)
    sure = values.get("confidence")
    confidence = None if sure is None else _amount(sure)
    return ClassFigures(code, str(values["name"]), color, area, share, int(values["polygons"]), confidence)


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _whole(values: Sequence[Any], count: int) -> tuple[int, ...]:
    if len(values) != count:
        raise ValueError(f"{len(values)} numbers instead of {count}")
    return tuple(int(value) for value in values)


def _positive(value: Any) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"resolution {value}")
    return float(value)


def _amount(value: Any) -> float:
    number = float(value)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"amount {value}")
    return number
