"""What is known of a slide: areas and what they may be, what was left out, whose slide it is, and how it looks."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wsss_mm.errors import InputError
from wsss_mm.evaluation.areas import level_of, ratio_interval
from wsss_mm.findings.program import Program
from wsss_mm.findings.survey import Survey
from wsss_mm.formats import DamagedError, read_object
from wsss_mm.places import SLIDE_SUMMARY, SUMMARY
from wsss_mm.slides.artefacts import CAUSES
from wsss_mm.wsi.viewer.results import Result

Interval = tuple[float, float | None]

_LEAST = 0.0005  # mm2, what is less would be shown as nothing
_OUTSIDE, _UNMEASURED = "Outside of the region of interest", "Pen, folds and blur"
_CAUSE = {"pen": "Pen on the glass", "folds": "Folds of the tissue", "blur": "Tissue out of focus"}
_LOOKS = {
    "unlikeness": "its general look",
    "haematoxylin": "the strength of haematoxylin",
    "eosin": "the strength of eosin",
    "focus": "the focus",
    "grain": "the size of its nuclei",
}


@dataclass(frozen=True)
class Asked:
    """Whose slide it is, as the table of slides says; empty where it says nothing."""

    patient: str = ""
    site: str = ""
    roi: Path | None = None


@dataclass(frozen=True)
class LeftOut:
    """A part of a slide that is in no area, or that is doubtful: what, how much of it (mm2, None if unknown), and why.

    `counted` where it is in the areas all the same.
    """

    what: str
    area_mm2: float | None
    why: str
    counted: bool = False


@dataclass(frozen=True)
class Findings:
    """A slide.

    Attributes:
        result: its files, and what was measured.
        asked: whose it is.
        program: the model; None where it is not known.
        survey: of its map.
        intervals: of the area of each class, mm2; None where there are none.
        ratio: of the tumour-stroma ratio; None where there is none.
        left_out: what is in no area.
        unlike: why it may be none of the model's kind of slides; empty where nothing speaks for it.
    """

    result: Result
    asked: Asked
    program: Program | None
    survey: Survey
    intervals: tuple[tuple[float, float], ...] | None
    ratio: Interval | None
    left_out: tuple[LeftOut, ...]
    unlike: str

    @property
    def lost_mm2(self) -> float | None:
        """What was left out, but for what lies outside of a region; None where pen, folds and blur are unknown."""
        if any(item.what == _UNMEASURED for item in self.left_out):
            return None
        return sum(item.area_mm2 or 0 for item in self.left_out if not item.counted and item.what != _OUTSIDE)


def findings_of(
    result: Result, asked: Asked, program: Program | None, found: Survey, outside_mm2: float | None = None
) -> Findings:
    """Put together what is known of a slide.

    Args:
        result: its results.
        asked: whose it is.
        program: its model.
        found: what its map holds.
        outside_mm2: how much of it lies outside of its region of interest, where that is known.

    Raises:
        InputError: its summary is damaged.
    """
    path = result.folder / SUMMARY
    try:
        summary = read_object(path, SLIDE_SUMMARY)
        unsure = [_amount(values.get("unsure_area_mm2") or 0) for values in _by_class(summary, result)]
        threshold = summary["parameters"].get("unsure_below", "off")
        pixels = _with_unsure(found.pixels, unsure, threshold, result.mpp)
        left_out = _left_out(summary, result, sum(unsure), threshold, outside_mm2)
        unlike = _unlike(summary.get("appearance"), result.slide_mpp)
    except InputError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise DamagedError(f"{path}: damaged: not a summary ({error!r:.200}); segment the slide again") from None
    intervals, ratio = intervals_of(pixels, program, result) if result.certain else (None, None)
    if result.tumour_stroma_ratio is None:
        ratio = None
    return Findings(
        result,
        asked,
        program,
        Survey(pixels, found.places),
        intervals,
        ratio,
        left_out,
        unlike,
    )


def intervals_of(
    pixels: npt.NDArray[np.float64], program: Program | None, result: Result
) -> tuple[tuple[tuple[float, float], ...] | None, Interval | None]:
    """Of the areas of the classes, mm2, and of the tumour-stroma ratio; None where validation says nothing."""
    if program is None or program.errors is None or not pixels.any():
        return None, None
    errors, square_mm = program.errors, result.mpp**2 / 1e6

    def between(members: Sequence[int]) -> tuple[float, float]:
        low, high = errors.interval(pixels, members)
        return low * square_mm, high * square_mm

    intervals = tuple(between([index]) for index in range(len(pixels)))
    tumour, stroma = program.members("tumour"), program.members("stroma")
    ratio = ratio_interval(between(tumour), between(stroma)) if tumour and stroma else None
    return intervals, ratio


def _by_class(summary: Mapping[str, Any], result: Result) -> list[Mapping[str, Any]]:
    return [summary["classes"][item.code] for item in result.classes]


def _with_unsure(
    pixels: npt.NDArray[np.float64], unsure: Sequence[float], threshold: Any, mpp: float
) -> npt.NDArray[np.float64]:
    """Pixels of a map with those that were left out as unsure, at half the confidence that was asked for."""
    if not any(unsure) or not isinstance(threshold, int | float):
        return pixels
    found = pixels.copy()
    found[:, int(level_of(threshold / 2))] += np.array(unsure) / (mpp**2 / 1e6)
    return found


def _left_out(
    summary: Mapping[str, Any], result: Result, unsure: float, threshold: Any, outside_mm2: float | None
) -> tuple[LeftOut, ...]:
    found = []
    whole = result.size[0] * result.size[1] * result.mpp**2 / 1e6
    if summary.get("roi"):
        why = "Only the region that was drawn was looked at."
        found.append(LeftOut(_OUTSIDE, outside_mm2, why))
    if (artefacts := summary.get("artefacts")) is None:
        found.append(LeftOut(_UNMEASURED, None, "Not looked for on this slide.", counted=True))
    else:
        found += _artefacts(artefacts)
    if isinstance(threshold, int | float):
        why = f"Left without a tissue, because the program was less than {100 * threshold:.0f} % certain."
        found.append(LeftOut("Not certain enough", unsure, why))
    if (share := _amount(summary["unreadable_share"])) > 0:
        found.append(LeftOut("Unreadable", share * whole, "The file of the slide is damaged there."))
    return tuple(found)


def _artefacts(artefacts: Mapping[str, Any]) -> Iterator[LeftOut]:
    for cause in CAUSES:
        area, out = _amount(artefacts[cause]["area_mm2"]), bool(artefacts[cause]["left_out"])
        if area >= _LEAST:
            why = "Left out of all areas." if out else "Seen, and counted in the areas all the same: look at it."
            yield LeftOut(_CAUSE[cause], area, why, counted=not out)


def _amount(value: Any) -> float:
    number = float(value)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"amount {value}")
    return number


def _unlike(appearance: Mapping[str, Any] | None, mpp: float) -> str:
    """In which figures a slide is out of the range of those that the model learnt from."""
    if not appearance or not appearance["warning"]:
        return ""
    out = []
    for name, figure in appearance["figures"].items():
        found, least, most = (float(figure[key]) for key in ("found", "least", "most"))
        if not least <= found <= most:
            usual = f"at most {most:.3g}" if least == 0 else f"{least:.3g} to {most:.3g}"
            out.append(f"{_LOOKS.get(name, name)} is {found:.3g} (usual: {usual})")
    said = [", ".join(out)] if out else []
    if appearance["mpp"] is not None:
        said.append(
            f"its nuclei look as if the slide had {float(appearance['mpp']):.3g} \u00b5m per pixel, and it is said to "
            f"have {mpp:.3g}"
        )
    return "; ".join(said)
