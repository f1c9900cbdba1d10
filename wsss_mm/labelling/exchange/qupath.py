"""Patches as rectangles in QuPath: a GeoJSON for each slide, classes as classification and as measurements.

A measurement named by a class is 1 where the patch holds it, 0 where it does not, and 0.5 where nobody is sure. The
classification names the classes that are there (`TE: TAS`), so that QuPath colours the patches by it.
"""

import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss_mm.errors import InputError
from wsss_mm.files import write_text
from wsss_mm.labelling.entries import ARTEFACT_KINDS, Place, State, fault_of_place
from wsss_mm.labelling.exchange.said import PatchLabels, check_once, codes_of, in_order, read_exported, states_of
from wsss_mm.slides.roi import class_names
from wsss_mm.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

SUFFIX = ".geojson"

_VALUES: Mapping[State, float] = {"present": 1.0, "absent": 0.0, "unsure": 0.5}
_STATES = {value: state for state, value in _VALUES.items()}
_IGNORED = "Ignore*"  # QuPath's class of what is not to be measured
_PATCH_MPP, _PATCH_SIZE, _SECONDS = "patch um/px", "patch px", "seconds"
_NEAR = 1.0  # level-0 px: QuPath rounds outlines that are edited


@dataclass(frozen=True)
class Frame:
    """How QuPath counts on a slide: px of level 0 from where the scan begins.

    Attributes:
        origin: x and y of that, level-0 px.
        mpp: um/px at level 0.
    """

    origin: tuple[int, int]
    mpp: float

    def side(self, place: Place) -> float:
        """Of a patch, level-0 px."""
        return place.size * place.mpp / self.mpp


def write_tiles(path: Path, said: Iterable[PatchLabels], frame: Frame, vocabulary: Vocabulary) -> None:
    """Write the patches of a slide, one feature a line; equal content gives equal bytes."""
    lines = (json.dumps(_feature(item, frame, vocabulary), ensure_ascii=False) for item in said)
    write_text(path, '{"type": "FeatureCollection", "features": [\n' + ",\n".join(lines) + "\n]}\n")


def read_tiles(
    path: Path, slide_id: str, frame: Frame, vocabulary: Vocabulary, *, mpp: float, size: int
) -> list[PatchLabels]:
    """Read the patches of a slide, as `write_tiles` wrote them, as QuPath exports them again, or drawn in QuPath.

    The classification counts where it names other classes than the measurements: it is what people change in QuPath.

    Args:
        path: The GeoJSON.
        slide_id: Of which slide.
        frame: How QuPath counts on it.
        vocabulary: Classes may have any of its names.
        mpp: um/px of patches that do not say it.
        size: Their side, px.

    Raises:
        InputError: names the feature and the remedy.
    """
    reading = _Reading(slide_id, frame, vocabulary, mpp, size)
    found = [reading.said(feature, f"{path}: feature {number}") for number, feature in enumerate(_features(path), 1)]
    if changed := sum(differs for _, differs in found):
        message = "%s: %d patches are of other classes than their measurements say; the class counts"
        logger.warning(message, path, changed)
    return check_once((said for said, _ in found), str(path))


def _feature(item: PatchLabels, frame: Frame, vocabulary: Vocabulary) -> dict[str, Any]:
    place, states = item.place, in_order(item.states, vocabulary)
    x, y, side = place.x - frame.origin[0], place.y - frame.origin[1], frame.side(place)
    corners = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    properties: dict[str, Any] = {"objectType": "annotation", "name": f"{place.slide}-{place.x}-{place.y}"}
    present = PatchLabels(place, states).named("present")
    if item.artefact is not None:
        properties["name"] = item.artefact
        properties["classification"] = {"name": _IGNORED, "color": [180, 180, 180]}
    elif present:
        shown = vocabulary.find(present[0])
        color = [128, 128, 128] if shown is None else list(vocabulary.colors[shown])
        names: dict[str, Any] = {"name": present[0]} if len(present) == 1 else {"names": present}
        properties["classification"] = {**names, "color": color}
    seconds = {} if item.seconds is None else {_SECONDS: item.seconds}
    values = {code: _VALUES[state] for code, state in states.items()}
    properties["measurements"] = {**values, _PATCH_MPP: place.mpp, _PATCH_SIZE: place.size, **seconds}
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [corners]}, "properties": properties}


def _features(path: Path) -> Sequence[dict[str, Any]]:
    content = read_exported(path, "GeoJSON", "QuPath")
    features = content.get("features", [content]) if isinstance(content, dict) else content
    if not isinstance(features, list) or not all(isinstance(item, dict) for item in features):
        raise InputError(f"{path}: holds no features of GeoJSON; export it again from QuPath")
    return features


def _measured(measurements: Any, where: str) -> dict[str, float]:
    """Measurements by name, of an object or, as QuPath 0.3 wrote them, a list."""
    if isinstance(measurements, list):
        pairs = [(item.get("name"), item.get("value")) for item in measurements if isinstance(item, dict)]
    else:
        pairs = list(measurements.items()) if isinstance(measurements, dict) else []
    found = {}
    for name, value in pairs:
        if not isinstance(name, str) or isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{where}: measurement {str(name)[:80]!r} is no number; export it again")
        if math.isfinite(value):  # QuPath's NaN says that nothing was measured
            found[name] = float(value)
    return found


@dataclass(frozen=True)
class _Reading:
    """What is known of the patches of a file beforehand."""

    slide_id: str
    frame: Frame
    vocabulary: Vocabulary
    mpp: float
    size: int

    def said(self, feature: Mapping[str, Any], where: str) -> tuple[PatchLabels, bool]:
        """What a feature says of its patch, and whether its class says something else than its measurements."""
        properties = feature.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        measured = _measured(properties.get("measurements"), where)
        place, states = self._place(feature, measured, where), self._states(measured, where)
        seconds = measured.get(_SECONDS)
        names = class_names(feature)
        if names and names[0].casefold() == _IGNORED.casefold():
            kind = properties.get("name")
            return PatchLabels(place, states, kind if kind in ARTEFACT_KINDS else "other", seconds), False
        present = codes_of(names, self.vocabulary, where)
        if not (states or present):
            known = ", ".join(self.vocabulary.codes)
            raise InputError(f"{where}: has no class; set one of {known}, or remove it")
        differs = bool(states and present) and set(present) != {code for code in states if states[code] == "present"}
        if differs or not states:
            unsure = [code for code, state in states.items() if state == "unsure" and code not in present]
            states = states_of(list(states or self.vocabulary.codes), present, unsure, where)
        return PatchLabels(place, states, None, seconds), differs

    def _place(self, feature: Mapping[str, Any], measured: Mapping[str, float], where: str) -> Place:
        from shapely.geometry import shape

        try:
            left, top, right, bottom = shape(feature["geometry"]).bounds
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise InputError(f"{where}: no rectangle ({' '.join(str(error).split())[:80]}); remove it") from None
        mpp, size = measured.get(_PATCH_MPP, self.mpp), measured.get(_PATCH_SIZE, self.size)
        if not (all(map(math.isfinite, (left, top, right, bottom))) and size == int(size)):
            raise InputError(f"{where}: its place or size is no number of px; remove it")
        x, y = round(left) + self.frame.origin[0], round(top) + self.frame.origin[1]
        place = Place(self.slide_id, x, y, mpp, int(size))
        if wrong := fault_of_place({"slide": place.slide, **place._asdict()}):
            raise InputError(f"{where}: is no patch of the slide: {wrong}; remove it")
        side = self.frame.side(place)
        if max(abs(right - left - side), abs(bottom - top - side)) > _NEAR:
            raise InputError(
                f"{where}: {right - left:g} x {bottom - top:g} px is no patch, which is {side:g} px wide and high on "
                "this slide; remove it, or draw a square of that size"
            )
        return place

    def _states(self, measured: Mapping[str, float], where: str) -> dict[str, State]:
        states: dict[str, State] = {}
        for name, value in measured.items():
            if name in (_PATCH_MPP, _PATCH_SIZE, _SECONDS) or (index := self.vocabulary.find(name)) is None:
                continue
            if value not in _STATES:
                raise InputError(
                    f"{where}: measurement {name!r} is {value:g}; give 1 (present), 0 (absent) or 0.5 (unsure)"
                )
            states[self.vocabulary.codes[index]] = _STATES[value]
        return states
