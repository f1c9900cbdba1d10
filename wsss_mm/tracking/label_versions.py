"""Versions of the labels: what journals held at a commit, what changed in words, and what a run says of them."""

import logging
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from wsss_mm.errors import InputError
from wsss_mm.labelling.agreement import agreement_table, mean_kappa
from wsss_mm.labelling.journal import Journal, Journals, ordered, read_journals
from wsss_mm.labelling.settled import Settled, settle_labels
from wsss_mm.names import is_plain_name
from wsss_mm.places import JOURNAL_SUFFIX, LABELS, LABELS_FOLDER, PATCH_MANIFEST
from wsss_mm.tracking.lineage import dvc_digest

logger = logging.getLogger(__name__)

_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class LabelChange:
    """What became of the labels.

    Attributes:
        added: Patches that were labelled.
        slides: On how many slides.
        readers: By whom.
        removed: Patches that were, and are no longer.
        changed: Patches of which something else counts than before.
        present: Patches called each class, before and after, where that changed.
    """

    added: int
    slides: int
    readers: tuple[str, ...]
    removed: int
    changed: int
    present: Mapping[str, tuple[int, int]]

    def __str__(self) -> str:
        said = []
        if self.added:
            number = len(self.readers)
            who = f"{_WORDS[number] if number < len(_WORDS) else number} {'reader' if number == 1 else 'readers'}"
            said.append(f"+{_count(self.added, 'label')} of {_count(self.slides, 'slide')} by {who}")
        said += [f"-{_count(self.removed, 'label')}"] if self.removed else []
        said += [f"{self.changed} changed"] if self.changed else []
        counts = ", ".join(f"{code} {before} -> {after}" for code, (before, after) in self.present.items())
        return "; ".join([*said, *([counts] if counts else [])]) or "the same labels"


def labels_at(root: Path, commit: str) -> Journals:
    """The journals as of a commit; none where it has none.

    Raises:
        InputError: see `Journal.entries`.
    """
    names = _git(root, "ls-tree", "--name-only", "-z", commit, f"{LABELS_FOLDER}/").decode().split("\0")
    entries = {}
    for path in map(Path, filter(None, names)):
        reader = path.name.removesuffix(JOURNAL_SUFFIX)
        if path.name != reader and is_plain_name(reader):
            data = _git(root, "show", f"{commit}:./{path.as_posix()}")
            entries[reader] = ordered(Journal(path, reader).parse(data))
    return Journals(entries)


def label_change(before: Journals, after: Journals) -> LabelChange:
    """What changed between two states of the journals."""
    old, new = ({item.place: item for item in settle_labels(journals)} for journals in (before, after))
    added = [new[place] for place in new.keys() - old.keys()]
    both = old.keys() & new.keys()
    counts = [_present(items.values()) for items in (old, new)]
    codes = sorted(counts[0].keys() | counts[1].keys())
    pairs = {code: (counts[0].get(code, 0), counts[1].get(code, 0)) for code in codes}
    return LabelChange(
        len(added),
        len({item.place.slide for item in added}),
        tuple(sorted({reader for item in added for reader in item.readers})),
        len(old.keys() - new.keys()),
        sum((old[place].states, old[place].artefact) != (new[place].states, new[place].artefact) for place in both),
        {code: pair for code, pair in pairs.items() if pair[0] != pair[1]},
    )


def journals_line(root: Path, commits: tuple[str | None, str]) -> str | None:
    """What changed in the journals between two commits, or, where the first is None, until the second.

    Returns:
        None where there are none; what is wrong with them where they cannot be read.
    """
    try:
        before, after = (Journals() if commit is None else labels_at(root, commit) for commit in commits)
    except InputError as error:
        return str(error)
    return str(label_change(before, after)) if before.readers or after.readers else None


def label_tags(root: Path, patches: Path) -> dict[str, str]:
    """Tags of a run: who labelled the slides that it learns from, how far they agree, and which version that is.

    Args:
        root: The project's root.
        patches: Folder of the manifest of patches.

    Returns:
        `labels.readers`, `labels.patches`, `labels.version` (md5 of the table that was made of the journals), and,
        where they are defined, `labels.kappa` between readers and `labels.self_kappa` of readers with themselves;
        nothing where no reader labelled these slides.
    """
    from wsss_mm.formats import read_rows
    from wsss_mm.patches.manifest import FILE_NAME

    try:
        journals = read_journals(root / LABELS_FOLDER)
    except InputError as error:  # gate patches was content with them, and a training rests on the table
        logger.warning("the run does not say who labelled: %s", error)
        return {}
    if not journals.readers or not (patches / FILE_NAME).is_file():
        return {}
    journals = journals.of_slides(set(read_rows(patches / FILE_NAME, PATCH_MANIFEST, columns=["slide_id"])["slide_id"]))
    readers = [reader for reader in journals.readers if journals.answers(reader)]
    if not readers:
        return {}
    codes = sorted({code for answer in journals.answers() for code in answer.states})
    table = agreement_table(journals, codes)
    kappas = {"labels.kappa": mean_kappa(table), "labels.self_kappa": mean_kappa(table, "within")}
    tags = {"labels.readers": ", ".join(readers), "labels.patches": str(len(journals.by_place()))}
    tags |= {name: f"{value:.3f}" for name, value in kappas.items() if value is not None}
    return tags | ({"labels.version": dvc_digest(root / LABELS)} if (root / LABELS).is_file() else {})


def _present(items: Iterable[Settled]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for item in items:
        for code, state in item.states.items():
            if state == "present":
                counts[code] = counts.get(code, 0) + 1
    return counts


def _count(number: int, what: str) -> str:
    return f"{number} {what if number == 1 else what + 's'}"


def _git(root: Path, *arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip()
        raise InputError(f"{root}: git {arguments[0]}: {why}; run from the project's root")
    return done.stdout
