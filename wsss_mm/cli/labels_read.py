"""What `wsss-mm labels` reads out of the journals: counts, agreement, and which patches to label next."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.errors import InputError

if TYPE_CHECKING:
    from wsss_mm.labelling.journal import Journals
    from wsss_mm.settings import Params
    from wsss_mm.vocabulary import Vocabulary

_NAMED = 10  # disputes


def wanted(arguments: argparse.Namespace) -> None:
    """`wsss-mm labels wanted`."""
    from wsss_mm.choosing.rules import inseparable
    from wsss_mm.choosing.wanted import wanted_patches, write_wanted
    from wsss_mm.cohort import Cohort
    from wsss_mm.features.store import features_of
    from wsss_mm.labelling.candidates import read_candidates
    from wsss_mm.patches import read_manifest
    from wsss_mm.sources import SOURCES

    params = current_params()
    vocabulary = vocabulary_of(params)
    train = read_manifest(places.PATCHES, vocabulary).query("split == 'train'")
    pairs = inseparable(train[list(vocabulary.codes)].to_numpy(bool), vocabulary.codes)
    for pair in pairs:
        sys.stdout.write(f"{pair}\n")
    if not pairs:
        sys.stdout.write("every class stands without each other one in enough training patches\n")
        return
    if params.cohort.name in SOURCES:
        sys.stdout.write(
            f"{params.cohort.name} is a data set of labelled patches, of which there are no others to label: take "
            "smaller ones, or slides of your own (cohort.name: slides)\n"
        )
        return
    candidates = read_candidates()
    if not (places.FEATURES / places.FEATURES_FILE).is_file():
        raise InputError(
            f"{places.FEATURES}: not found: the classifier has not looked at the candidates; dvc repro features"
        )
    found = features_of(candidates, Cohort.read(), "classifier", codes=vocabulary.codes)
    assert found.scores is not None  # a classifier's
    places_ = zip(train["slide_id"], train["x"], train["y"], strict=True)
    labelled = {f"{slide}-{x}-{y}" for slide, x, y in places_}
    table = wanted_patches(pairs, candidates, found.scores, found.codes, labelled=labelled)
    write_wanted(table, arguments.out)
    sys.stdout.write(f"{arguments.out}: {counted(len(table), 'patch')}; wsss-mm label --queue {arguments.out}\n")


def check(arguments: argparse.Namespace) -> None:
    """`wsss-mm labels check`."""
    from wsss_mm.labelling.agreement import disputes
    from wsss_mm.labelling.entries import STATES
    from wsss_mm.labelling.settled import settle_labels

    journals, params = read_known_journals(arguments.journals), current_params()
    vocabulary = vocabulary_of(params)
    lines = []
    for reader in journals.readers:
        answers = journals.answers(reader)
        twice, skipped = len(journals.repeats(reader)), len(journals.skipped(reader))
        artefacts = sum(answer.artefact is not None for answer in answers)
        slides = len({answer.place.slide for answer in answers})
        lines.append(
            f"{reader}: {counted(len(answers), 'patch')} of {counted(slides, 'slide')}, {twice} seen twice, "
            f"{artefacts} artefacts, {skipped} skipped"
        )
        asked = sorted({code for answer in answers for code in answer.states}, key=_order(vocabulary))
        for code in asked:
            states = [answer.states[code] for answer in answers if code in answer.states]
            lines.append(f"  {code:5} " + ", ".join(f"{states.count(state)} {state}" for state in STATES))
    settled = settle_labels(journals)
    sources = [item.source for item in settled]
    lines.append(", ".join(f"{sources.count(name)} {name}" for name in ("settled", "agreed", "single", "disputed")))
    lines += _of_cohort(journals)
    left = disputes(journals)
    lines += [f"{counted(len(left), 'patch')} to settle"] if left else []
    for dispute in left[:_NAMED]:
        what = ", ".join(dispute.classes) or "artefact"
        lines.append(f"  slide {dispute.place.slide}, {dispute.place.x}, {dispute.place.y}: {what}")
    lines += [f"  ... {len(left) - _NAMED} more"] if len(left) > _NAMED else []
    if marked := journals.marks():
        lines.append(f"{counted(len(marked), 'patch')} marked to be seen again: wsss-mm label shows them first")
    sys.stdout.write("\n".join(lines) + "\n")


def agreement(arguments: argparse.Namespace) -> None:
    """`wsss-mm labels agreement`."""
    from wsss_mm.labelling.agreement import agreement_table, mean_kappa

    journals = read_known_journals(arguments.journals)
    table = agreement_table(journals, vocabulary_of(current_params()).codes, random_alone=arguments.random)
    if table.empty:
        sys.stdout.write("no patch was answered by two readers, and none came twice to one\n")
        return
    lines = [f"{'readers':24} {'class':5} {'patches':>7} {'unsure':>6} {'agreed':>6} {'kappa':>6}  95 % interval"]
    for row in table.to_dict("records"):
        who = f"{row['first']}, again" if row["kind"] == "within" else f"{row['first']}, {row['second']}"
        values = f"{_shown(row['agreed'])} {_shown(row['kappa'])}  {_shown(row['low'])} .. {_shown(row['high'])}"
        lines.append(f"{who:24} {row['class']:5} {row['n']:7} {row['unsure']:6} {values}")
    for kind, what in (("between", "between readers"), ("within", "of readers with themselves")):
        if (mean := mean_kappa(table, kind)) is not None:
            lines.append(f"mean kappa {what}, weighted by patches: {mean:.3f}")
    sys.stdout.write("\n".join(lines) + "\n")


def _of_cohort(journals: "Journals") -> list[str]:
    """Slides that were labelled and are not in the cohort."""
    from wsss_mm.cohort import TABLE, Cohort

    if not TABLE.is_file():
        return []
    known = {slide.slide_id for slide in Cohort.read(TABLE, check_files=False)}
    lost = sorted({answer.place.slide for answer in journals.answers()} - known)
    return [f"not in {TABLE}: {', '.join(lost)}"] if lost else []


def read_known_journals(folder: Path) -> "Journals":
    """The journals in a folder that holds some.

    Raises:
        InputError: there is none, or see `read_journals`.
    """
    from wsss_mm.labelling.journal import read_journals

    journals = read_journals(folder)
    if not journals.readers:
        raise InputError(f"{folder}: holds no journal; {places.LABEL_JOURNAL.absent}")
    return journals


def current_params() -> "Params":
    """The project's params.yaml."""
    from wsss_mm.settings import load_params

    return load_params()


def vocabulary_of(params: "Params") -> "Vocabulary":
    """The classes that are labelled."""
    from wsss_mm.vocabulary import get_vocabulary

    return get_vocabulary(params.cohort.vocabulary)


def _order(vocabulary: "Vocabulary") -> Any:
    codes: Sequence[str] = vocabulary.codes
    return lambda code: (codes.index(code) if code in codes else len(codes), code)


def counted(number: int, what: str) -> str:
    """A number of things, in words: `1 patch`, `2 patches`."""
    plural = f"{what}es" if what.endswith("ch") else f"{what}s"
    return f"{number} {what if number == 1 else plural}"


def _shown(value: float) -> str:
    return f"{value:6.3f}" if value == value else "     -"  # noqa: PLR0124  NaN is not itself
