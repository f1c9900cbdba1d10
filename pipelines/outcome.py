"""What a run of the whole line has made, in a few lines: how good, which gates, where to look, what to type next."""

import csv
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pipelines.progress import duration, ended_since
from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.evaluation.confusion import class_ious
from wsss_mm.files import read_json
from wsss_mm.formats import read_object
from wsss_mm.gates import GATES, report_path
from wsss_mm.places import FIGURES, GATE_REPORT, REGISTRATION

_WIDTH = 9  # of the first column
_NOTHING = "Nothing to do: all of it is as it was."


def outcome(root: Path, began: float, line: Collection[str]) -> list[str]:
    """What there is after a run that went well.

    Args:
        root: The project.
        began: When the run began, s since 1970.
        line: The stages of the line.
    """
    ran = len(ended_since(began) if line else [])
    took = duration(time.time() - began)
    first = f"The line is through: {ran} of {len(line)} stages ran anew, in {took}." if ran else _NOTHING
    parts = (_quality, _gates, _slides, _model, _look, _next)
    return [first, *(f"  {name:{_WIDTH}}{text}" for part in parts for name, text in _rows(part(root)))]


def stopped(began: float, line: Collection[str]) -> list[str]:
    """What to say of a run that did not come to its end; why, DVC and the stage have said."""
    ended = ended_since(began)
    done = f"{len(ended)} of {len(line)} stages ran before that; " if line and ended else ""
    lines = [f"Stopped after {duration(time.time() - began)}; {done}`make repro` goes on from there."]
    failed = [name for name in GATES if _report(Path(), name).get("passed") is False]
    if failed:
        lines.append(f"  {'gates':{_WIDTH}}{', '.join(failed)} failed: {places.GATES_PAGE}")
    return lines


def _rows(found: Mapping[str, list[str]]) -> list[tuple[str, str]]:
    """The name of a part stands before the first of its lines."""
    return [(name if not index else "", text) for name, lines in found.items() for index, text in enumerate(lines)]


def _quality(root: Path) -> dict[str, list[str]]:
    figures = _read(root / places.SUMMARY_METRICS)
    miou = figures.get("miou")
    if not isinstance(miou, int | float):
        return {}
    test = _object(root / places.TEST_METRICS)
    interval = _inside(test, "bootstrap", "ungated", "miou")
    whole = isinstance(interval, list) and all(isinstance(end, int | float) for end in interval)
    sure = ", 95 % interval " + " to ".join(f"{end:.3f}" for end in interval) if interval and whole else ""
    of = f" ({test['n_patches']} patches of {test['n_slides']} slides)" if "n_patches" in test else ""
    beside = {
        "pseudo-labels": figures.get("miou_pseudo_labels"),
        "linear probe, the first baseline": _object(root / places.LINEAR_PROBE).get("miou"),
    }
    return {
        "mIoU": [
            f"{miou:.3f} on the test split{of}{sure}",
            ", ".join(f"{code} {_number(value)}" for code, value in class_ious(figures).items()),
            "; ".join(f"{name}: {_number(value)}" for name, value in beside.items() if value is not None),
        ]
    }


def _gates(root: Path) -> dict[str, list[str]]:
    reports = {name: found for name in GATES if (found := _report(root, name))}
    if not reports:
        return {}
    warned = {
        name: count
        for name, found in reports.items()
        if (count := sum(isinstance(check, dict) and not check.get("passed") for check in found.get("checks", ())))
    }
    passed = sum(found.get("passed") is True for found in reports.values())
    said = f"{passed} of {len(reports)} passed"
    if warned:
        said += ", with warnings: " + ", ".join(f"{name} {count}" for name, count in warned.items())
    return {"gates": [f"{said}: {places.GATES_PAGE}"]}


def _slides(root: Path) -> dict[str, list[str]]:
    try:
        with (root / places.RESULTS / places.SLIDES_TABLE).open(encoding="utf-8", newline="") as stream:
            states = [row.get("status") for row in csv.DictReader(stream)]
    except (OSError, ValueError, csv.Error):
        return {}
    done = states.count("done")
    failed = f", {len(states) - done} failed" if done < len(states) else ""
    return {"slides": [f"{done} segmented{failed}: {places.RESULTS / places.OVERVIEW}"]}


def _model(root: Path) -> dict[str, list[str]]:
    name = _object(root / places.REGISTERED, REGISTRATION).get("model")
    return {"model": [f"{places.SEGMENTER}, registered as {name}" if name else f"{places.SEGMENTER}, not registered"]}


def _look(root: Path) -> dict[str, list[str]]:
    pictures = [path for path in (places.TEST_PICTURE, places.PSEUDO_LABEL_PICTURE) if (root / path).is_file()]
    return {
        "look": [
            "wsss-mm view      slides and maps side by side, in the browser",
            "wsss-mm report    this model on one page, report.html",
            "make ui           curves and pictures of all trainings",
            *(str(path) for path in pictures),
        ]
    }


def _next(root: Path) -> dict[str, list[str]]:
    registered = bool(_object(root / places.REGISTERED, REGISTRATION).get("model"))
    return {
        "next": [
            *(["wsss-mm models promote    let it be the champion, if it is better"] if registered else []),
            "wsss-mm segment SLIDE...    segment slides of yours with it",
            "git add params.yaml gates.yaml dvc.lock reports && git commit -m 'A run' && dvc push    keep this state",
        ]
    }


def _report(root: Path, name: str) -> dict[str, Any]:
    return _object(root / report_path(name), GATE_REPORT)


def _object(path: Path, of: Any = FIGURES) -> dict[str, Any]:
    """A file of the line; nothing where there is none, or where a gate would say what is wrong with it."""
    try:
        return read_object(path, of)
    except InputError:
        return {}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _inside(content: Any, *keys: str) -> Any:
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "no truth"
