"""What is exchanged: what was said of a patch, whoever said it and in whatever tool."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss_mm.errors import InputError
from wsss_mm.files import read_json
from wsss_mm.labelling.entries import ARTEFACT_KINDS, Answer, Place, State, new_entry
from wsss_mm.labelling.journal import Journals
from wsss_mm.labelling.settled import Settled
from wsss_mm.vocabulary import Vocabulary


@dataclass(frozen=True)
class PatchLabels:
    """What was said of a patch.

    Attributes:
        place: The patch.
        states: Of the classes that were asked, by code.
        artefact: Why nothing can be said of it, or None.
        seconds: That it took, or None.
        source: Whose word it is, see `wsss_mm.labelling.settled`; empty for one reader's.
    """

    place: Place
    states: dict[str, State] = field(default_factory=dict)
    artefact: str | None = None
    seconds: float | None = None
    source: str = ""

    def named(self, state: State) -> list[str]:
        """Codes of the classes in a state."""
        return [code for code, said in self.states.items() if said == state]


def read_exported(path: Path, kind: str, program: str) -> Any:
    """The content of a file of JSON that another program exported.

    Args:
        path: The file.
        kind: What the program calls it: JSON or GeoJSON.
        program: Its name.

    Raises:
        InputError: there is none, or it is no JSON.
    """
    try:
        return read_json(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give the {kind} that {program} exported") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as {kind} ({error}); export it again from {program}") from None


def said_by(journals: Journals, reader: str) -> list[PatchLabels]:
    """What a reader says, ordered by place.

    Raises:
        InputError: there is no such reader.
    """
    if reader not in journals.readers:
        raise InputError(f"reader {reader!r}: has no journal; the readers are {', '.join(journals.readers) or 'none'}")
    answers = sorted(journals.answers(reader), key=lambda answer: answer.place)
    return [PatchLabels(answer.place, answer.states, answer.artefact, answer.seconds) for answer in answers]


def said_of_all(settled: Iterable[Settled]) -> list[PatchLabels]:
    """What counts of all readers' answers."""
    return [PatchLabels(item.place, item.states, item.artefact, None, item.source) for item in settled]


def journal_entries(
    said: Iterable[PatchLabels], current: Collection[Answer], origin: str
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Answers for a reader's journal, of what was said elsewhere.

    Args:
        said: In another tool.
        current: What counts in the journal now; what says the same there is left out.
        origin: Name of the file that it comes from, which the entries keep.

    Returns:
        The entries, and how many patches are `new`, `changed`, or `as before`.
    """
    known = {answer.place: (answer.states, answer.artefact) for answer in current}
    counts, entries = {"new": 0, "changed": 0, "as before": 0}, []
    for item in said:
        before = known.get(item.place)
        if before == (item.states, item.artefact):
            counts["as before"] += 1
            continue
        counts["new" if before is None else "changed"] += 1
        fields = {**item.place._asdict(), "classes": item.states or None, "artefact": item.artefact}
        entries.append(new_entry("answer", **fields, seconds=item.seconds, imported=origin))
    return entries, counts


def states_of(
    asked: Collection[str], present: Collection[str], unsure: Collection[str], where: str
) -> dict[str, State]:
    """States of classes, in the order they were asked in; those neither present nor unsure are absent.

    Raises:
        InputError: a class is both.
    """
    if both := set(present) & set(unsure):
        raise InputError(f"{where}: {min(both)} is called present and unsure; keep one of them")
    codes = dict.fromkeys([*asked, *present, *unsure])
    return {code: "present" if code in present else "unsure" if code in unsure else "absent" for code in codes}


def codes_of(names: Iterable[str], vocabulary: Vocabulary, where: str) -> list[str]:
    """Codes of classes that are given by code, name or alias, in the vocabulary's order.

    Raises:
        InputError: one is no class.
    """
    found = set()
    for name in names:
        if (index := vocabulary.find(name)) is None:
            known = ", ".join(vocabulary.codes)
            raise InputError(
                f"{where}: {name[:80]!r} is no class of vocabulary {vocabulary.name!r} ({known}); correct it"
            )
        found.add(index)
    return [vocabulary.codes[index] for index in sorted(found)]


def in_order(states: Mapping[str, State], vocabulary: Vocabulary) -> dict[str, State]:
    """States in the order of the vocabulary; classes that it lacks follow."""
    order = {code: index for index, code in enumerate(vocabulary.codes)}
    return {code: states[code] for code in sorted(states, key=lambda code: (order.get(code, len(order)), code))}


def artefact_of(text: str, where: str) -> str | None:
    """A kind of artefact, or None where the text is empty.

    Raises:
        InputError: it is no kind.
    """
    if text and text not in ARTEFACT_KINDS:
        raise InputError(f"{where}: {text[:80]!r} is no artefact ({', '.join(ARTEFACT_KINDS)}); correct it")
    return text or None


def check_once(said: Iterable[PatchLabels], where: str) -> list[PatchLabels]:
    """All that was said, each patch once.

    Raises:
        InputError: a patch is there twice.
    """
    found: dict[Place, PatchLabels] = {}
    for item in said:
        if found.setdefault(item.place, item) is not item:
            place = item.place
            raise InputError(f"{where}: slide {place.slide}, patch at {place.x}, {place.y}: is there twice; keep one")
    return list(found.values())
