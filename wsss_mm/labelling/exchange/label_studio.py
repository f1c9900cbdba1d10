"""Patches as tasks of Label Studio: a JSON list, a task a patch, with choices for what it holds."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from wsss_mm.errors import InputError
from wsss_mm.files import write_text
from wsss_mm.labelling.entries import Place, fault_of_place, place_of
from wsss_mm.labelling.exchange.said import (
    PatchLabels,
    artefact_of,
    check_once,
    codes_of,
    in_order,
    read_exported,
    states_of,
)
from wsss_mm.vocabulary import Vocabulary

LABELS, UNSURE, ARTEFACT = "labels", "unsure", "artefact"
"""Names of the choices in the project's labelling configuration, see `configuration`."""
_IMAGE = "image"


def configuration(vocabulary: Vocabulary) -> str:
    """What to paste into the labelling setup of a Label Studio project that these tasks are for."""
    from xml.sax.saxutils import quoteattr

    from wsss_mm.labelling.entries import ARTEFACT_KINDS

    def choices(name: str, values: Iterable[str], choice: str) -> list[str]:
        items = [f"    <Choice value={quoteattr(value)}/>" for value in values]
        head = f'  <Choices name="{name}" toName="{_IMAGE}" choice="{choice}" required="false">'
        return [f'  <Header value="{name}"/>', head, *items, "  </Choices>"]

    lines = [
        *choices(LABELS, vocabulary.codes, "multiple"),
        *choices(UNSURE, vocabulary.codes, "multiple"),
        *choices(ARTEFACT, ARTEFACT_KINDS, "single"),
    ]
    return "\n".join(["<View>", f'  <Image name="{_IMAGE}" value="${_IMAGE}"/>', *lines, "</View>", ""])


def write_tasks(path: Path, said: Iterable[PatchLabels], vocabulary: Vocabulary, images: str = "") -> None:
    """Write tasks, one a line; equal content gives equal bytes.

    Args:
        path: The file.
        said: What was said of each patch, which becomes an annotation of its task.
        vocabulary: The classes.
        images: What stands before `<slide_id>-<x>-<y>.jpg` in the address of a patch's picture.
    """
    lines = (json.dumps(_task(item, vocabulary, images), ensure_ascii=False) for item in said)
    write_text(path, "[\n" + ",\n".join(lines) + "\n]\n")


def read_tasks(
    path: Path, vocabulary: Vocabulary, *, mpp: float, size: int, annotator: str | None = None
) -> list[PatchLabels]:
    """Read tasks that were exported from Label Studio as JSON; those without an annotation are left out.

    Args:
        path: The file.
        vocabulary: Choices may have any of its names. Classes that were not chosen are absent, of those that the task
            says were asked, or else of all.
        mpp: um/px of patches that do not say it.
        size: Their side, px.
        annotator: Whose annotations to take: id or e-mail. Needed where a task has several.

    Raises:
        InputError: names the task and the remedy.
    """
    found = []
    for number, task in enumerate(_tasks(path), 1):
        where = f"{path}: task {number}"
        chosen = _annotation(task, annotator, where)
        if chosen is not None:
            found.append(_said(task, chosen, vocabulary, where, (mpp, size)))
    return check_once(found, str(path))


def _task(item: PatchLabels, vocabulary: Vocabulary, images: str) -> dict[str, Any]:
    place, states = item.place, in_order(item.states, vocabulary)
    name = f"{place.slide}-{place.x}-{place.y}"
    data: dict[str, Any] = {
        "image": f"{images}{name}.jpg",
        "patch_id": name,
        "slide_id": place.slide,
        "x": place.x,
        "y": place.y,
    }
    data |= {"mpp": place.mpp, "size": place.size, "asked": list(states)}
    said = PatchLabels(place, states)
    chosen = {LABELS: said.named("present"), UNSURE: said.named("unsure")}
    chosen |= {ARTEFACT: [item.artefact] if item.artefact else []}
    result = [
        {"from_name": name, "to_name": _IMAGE, "type": "choices", "value": {"choices": values}}
        for name, values in chosen.items()
        if values
    ]
    time = {} if item.seconds is None else {"lead_time": item.seconds}
    return {"data": data, "annotations": [{"result": result, **time}]}


def _tasks(path: Path) -> list[Mapping[str, Any]]:
    content = read_exported(path, "JSON", "Label Studio")
    if not isinstance(content, list) or not all(
        isinstance(task, dict) and isinstance(task.get("data"), dict) for task in content
    ):
        raise InputError(f"{path}: is no list of tasks; export it from Label Studio as JSON, and not as JSON-MIN")
    return content


def _annotation(task: Mapping[str, Any], annotator: str | None, where: str) -> Mapping[str, Any] | None:
    given = task.get("annotations", task.get("completions", []))
    given = [item for item in given if isinstance(item, dict) and not item.get("was_cancelled")]
    if annotator is not None:
        given = [item for item in given if annotator in _who(item)]
    if len(given) > 1:
        who = sorted({name for item in given for name in _who(item)})
        raise InputError(f"{where}: has {len(given)} annotations; say whose to take: --annotator {' or '.join(who)}")
    return given[0] if given else None


def _who(annotation: Mapping[str, Any]) -> set[str]:
    who = annotation.get("completed_by")
    given = [who.get(key) for key in ("id", "email")] if isinstance(who, dict) else [who]
    return {str(name) for name in given if name is not None}


def _said(
    task: Mapping[str, Any],
    annotation: Mapping[str, Any],
    vocabulary: Vocabulary,
    where: str,
    usual: tuple[float, int],
) -> PatchLabels:
    data, chosen = task["data"], {LABELS: [], UNSURE: [], ARTEFACT: []}
    for item in annotation.get("result", []):
        name = item.get("from_name") if isinstance(item, dict) else None
        if name in chosen:
            value = item.get("value")
            choices = value.get("choices") if isinstance(value, dict) else None
            if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
                raise InputError(f"{where}: {name} has no choices; set the project up as docs/own-labels.md says")
            chosen[name] += choices
    asked = data.get("asked", list(vocabulary.codes) if chosen[LABELS] or not chosen[ARTEFACT] else [])
    if not isinstance(asked, list) or not all(isinstance(name, str) for name in asked):
        raise InputError(f"{where}: data.asked is no list of classes; correct it")
    asked, present, unsure = (codes_of(names, vocabulary, where) for names in (asked, chosen[LABELS], chosen[UNSURE]))
    artefact = artefact_of(chosen[ARTEFACT][0] if chosen[ARTEFACT] else "", where)
    seconds = annotation.get("lead_time")
    seconds = float(seconds) if isinstance(seconds, int | float) and not isinstance(seconds, bool) else None
    if not (asked or present or unsure or artefact):
        raise InputError(f"{where}: says nothing of the patch; skip it in Label Studio, or choose something")
    return PatchLabels(_place(data, where, usual), states_of(asked, present, unsure, where), artefact, seconds)


def _place(data: Mapping[str, Any], where: str, usual: tuple[float, int]) -> Place:
    given = {"mpp": usual[0], "size": usual[1], **data, "slide": data.get("slide_id")}
    if wrong := fault_of_place(given):
        raise InputError(f"{where}: data names no patch: {wrong}; it needs slide_id, and x and y in level-0 px")
    return place_of(given)
