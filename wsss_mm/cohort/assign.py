"""Splits for a user's own slides: by patient, alike in sites and classes, by a seed, and once given kept."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from wsss_mm.errors import InputError
from wsss_mm.names import likeness
from wsss_mm.vocabulary import SPLITS

_ORDER = ("train", "test", "valid")  # which is served first; without valid, stage cohort holds patients out of train

NONE = "none"
"""What tables of people call the split of slides that have none."""


@dataclass(frozen=True)
class SlideFacts:
    """What a split is decided on.

    Attributes:
        slide_id: its name.
        patient_id: whose it is.
        site: where it was made, or empty.
        split: the one it has, or empty.
        classes: codes of those that are labelled or outlined on it.
        annotated: whether it has outlines, the truth that valid and test slides are judged by.
    """

    slide_id: str
    patient_id: str
    site: str
    split: str
    classes: frozenset[str] = frozenset()
    annotated: bool = False


@dataclass(frozen=True)
class SplitPlan:
    """What a division is to be like.

    Attributes:
        valid: share of the patients, 0..1.
        test: likewise.
        seed: chooses among divisions that are as good.
        sites: whole sites, and the split that each is held out for; no other patients come into such a split.
        again: whether splits that slides have are decided anew, too.
    """

    valid: float = 0.2
    test: float = 0.2
    seed: int = 0
    sites: Mapping[str, str] | None = None
    again: bool = False


@dataclass(frozen=True)
class _Patient:
    name: str  # as `likeness` has it: what looks alike stays together
    split: str
    traits: frozenset[tuple[str, str]]  # ("site", "A"), ("class", "TE")
    annotated: bool
    slides: int


def divide(slides: Sequence[SlideFacts], wanted: SplitPlan) -> dict[str, str]:
    """Give each slide a split; no patient, and no two that look alike, come into two.

    The rarest trait is dealt out first, each patient into the split that lacks most of it (Sechidis et al., ECML PKDD
    2011). Which of the patients comes first, their names and the seed say, so the order of the table does not matter.
    Where outlines are there, but not of all patients, those that have some fill valid and test.

    Args:
        slides: all of the table.
        wanted: see there.

    Returns:
        The split of each slide, by slide_id; those that have one are among them, and keep it unless `again`.

    Raises:
        InputError: shares leave nothing to train on, there is no such site, a site that is to be held out is in another
            split already, or a patient is in two.
    """
    if not (wanted.valid >= 0 and wanted.test >= 0 and wanted.valid + wanted.test < 1):
        raise InputError(f"--valid {wanted.valid:g} --test {wanted.test:g}: are shares, which leave some for train")
    kept = [replace(slide, split="") for slide in slides] if wanted.again else list(slides)
    held = _held_out(kept, wanted.sites or {})
    patients = [_patient(name, members, held) for name, members in _by_patient(kept).items()]
    closed = set((wanted.sites or {}).values())
    dealt = _deal(patients, wanted, closed)
    return {slide.slide_id: dealt[likeness(slide.patient_id)] for slide in slides}


def _by_patient(slides: Iterable[SlideFacts]) -> dict[str, list[SlideFacts]]:
    patients: dict[str, list[SlideFacts]] = {}
    for slide in slides:
        patients.setdefault(likeness(slide.patient_id), []).append(slide)
    return patients


def _held_out(slides: Sequence[SlideFacts], sites: Mapping[str, str]) -> dict[str, str]:
    """The split of patients of whom a slide was made at a site that is held out."""
    there = {slide.site for slide in slides}
    for site in sites:
        if site not in there:
            known = ", ".join(sorted(filter(None, there))) or "no slide has a site; give it with: wsss-mm cohort set"
            raise InputError(f"--hold-out-site {site}: no slide is of it; sites are: {known}")
    held: dict[str, str] = {}
    for slide in slides:
        if slide.site in sites:
            split = sites[slide.site]
            if slide.split not in ("", split):
                raise InputError(
                    f"--hold-out-site {slide.site}: {slide.slide_id} is in split {slide.split} already; to decide all "
                    "splits anew, add --again"
                )
            if held.setdefault(likeness(slide.patient_id), split) != split:
                raise InputError(f"patient {slide.patient_id!r} has slides of two sites that are held out differently")
    return held


def _patient(name: str, slides: Sequence[SlideFacts], held: Mapping[str, str]) -> _Patient:
    splits = sorted({slide.split for slide in slides if slide.split} | ({held[name]} if name in held else set()))
    if len(splits) > 1:
        raise InputError(
            f"patient {slides[0].patient_id!r} is in the splits {' and '.join(splits)}; give all its slides one: "
            f"wsss-mm cohort set {slides[0].slide_id} --split {splits[0]}"
        )
    sites = {("site", slide.site) for slide in slides if slide.site}
    classes = {("class", code) for slide in slides for code in slide.classes}
    return _Patient(
        name, "".join(splits), frozenset(sites | classes), any(slide.annotated for slide in slides), len(slides)
    )


def _deal(patients: Sequence[_Patient], wanted: SplitPlan, closed: Collection[str]) -> dict[str, str]:
    """The split of each patient by name; into those that are `closed` nobody comes."""
    among = [patient for patient in patients if patient.split not in closed]
    hands = _Hands(among, _sizes(among, wanted, [split for split in _ORDER if split not in closed]))
    waiting = sorted((p for p in among if not p.split), key=lambda patient: _order(patient.name, wanted.seed))
    left = Counter(trait for patient in waiting for trait in patient.traits)
    splits = {patient.name: patient.split for patient in patients}
    largest = max(waiting, key=lambda patient: patient.slides, default=None)
    if largest is not None and hands.is_most(largest):  # else hardly a slide might be left to learn from
        splits[largest.name] = hands.give(largest, "train")
        waiting.remove(largest)
        left.subtract(largest.traits)
    while waiting:
        rarest = min((trait for trait in left if left[trait]), key=lambda trait: (left[trait], trait), default=None)
        patient = next(p for p in waiting if rarest is None or rarest in p.traits)
        splits[patient.name] = hands.take(patient, sum(other.annotated for other in waiting))
        waiting.remove(patient)
        left.subtract(patient.traits)
    return splits


class _Hands:
    """What each split has of patients and their traits, and what it lacks."""

    def __init__(self, patients: Sequence[_Patient], sizes: Mapping[str, int]) -> None:
        self._sizes, self._members = sizes, Counter(patient.split for patient in patients)
        self._all = Counter(trait for patient in patients for trait in patient.traits)
        self._have = Counter((patient.split, trait) for patient in patients for trait in patient.traits)
        self._whole, self._slides = sum(patient.slides for patient in patients), Counter[str]()
        for patient in patients:
            self._slides[patient.split] += patient.slides
        self._picky = 0 < sum(patient.annotated for patient in patients) < len(patients)

    def take(self, patient: _Patient, annotated: int) -> str:
        """The split that a patient comes into, of whom there are so many `annotated` ones to come, this one counted."""
        split = max(self._choices(patient, annotated), key=lambda name: self._lack(name, patient))
        return self.give(patient, split)

    def give(self, patient: _Patient, split: str) -> str:
        """Let a patient come into this split."""
        self._members[split] += 1
        self._slides[split] += patient.slides
        self._have.update((split, trait) for trait in patient.traits)
        return split

    def is_most(self, patient: _Patient) -> bool:
        """Whether most slides are of this patient, and train can have it."""
        return self._room("train") > 0 and not self._picky and 2 * patient.slides > self._whole

    def _choices(self, patient: _Patient, annotated: int) -> list[str]:
        free = [split for split in self._sizes if self._room(split) > 0]
        if self._picky and "train" in self._sizes:
            judged = [split for split in free if split != "train"]
            if not patient.annotated:
                free = ["train"]
            elif judged and annotated <= sum(map(self._room, judged)):
                free = judged
        return free or (["train"] if "train" in self._sizes else list(self._sizes)) or ["train"]

    def _room(self, split: str) -> int:
        return self._sizes.get(split, 0) - self._members[split]

    def _lack(self, split: str, patient: _Patient) -> tuple[float, ...]:
        """What a split lacks of a patient's rarest trait, then of the others, then of slides and patients."""
        share = self._sizes.get(split, 0) / max(1, sum(self._sizes.values()))
        traits = sorted(patient.traits, key=lambda trait: (self._all[trait], trait))
        lacks = (round(share * self._all[trait] - self._have[split, trait], 6) for trait in traits)
        slides = round(share * self._whole - self._slides[split], 6)
        return (*lacks, slides, self._room(split), -_ORDER.index(split))


def _sizes(patients: Sequence[_Patient], wanted: SplitPlan, open_splits: Sequence[str]) -> dict[str, int]:
    """How many patients each split is to have: test and valid their shares and at least one, if train keeps one."""
    count, shares = len(patients), {"test": wanted.test, "valid": wanted.valid}
    annotated = sum(patient.annotated for patient in patients)
    most = min(annotated or count, count - 1 if "train" in open_splits else count)
    sizes = {
        split: max(1, round(shares[split] * count)) if shares[split] else 0 for split in shares if split in open_splits
    }
    if (total := sum(sizes.values())) > most:
        first, *other = sizes
        sizes[first] = min(most, max(1, round(most * sizes[first] / total)))
        sizes |= dict.fromkeys(other, most - sizes[first])
    if "train" in open_splits:
        sizes["train"] = max(0, count - sum(sizes.values()))
    return {split: sizes[split] for split in open_splits}


def _order(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()


def split_counts(slides: Sequence[SlideFacts]) -> list[list[str]]:
    """How slides, patients, sites and classes are divided: headings, and a row for each.

    Returns:
        Rows of text: what is counted, and how many slides (or patients) of it are in train, valid, test and in none.
    """
    columns = [*SPLITS, *([NONE] if any(not slide.split for slide in slides) else [])]
    rows = [["", *columns]]
    of = {name: [slide for slide in slides if (slide.split or NONE) == name] for name in columns}
    rows.append(["patients", *(str(len({likeness(slide.patient_id) for slide in of[name]})) for name in columns)])
    rows.append(["slides", *(str(len(of[name])) for name in columns)])
    for site in sorted({slide.site for slide in slides if slide.site}):
        rows.append([f"  of site {site}", *(str(sum(s.site == site for s in of[name])) for name in columns)])
    for code in sorted({code for slide in slides for code in slide.classes}):
        rows.append([f"  with {code}", *(str(sum(code in s.classes for s in of[name])) for name in columns)])
    return rows


def split_doubts(slides: Sequence[SlideFacts], held: Collection[str] = ()) -> list[str]:
    """What is to be known of a division before it is used.

    Args:
        slides: with their splits.
        held: sites that are apart because somebody wants it so.
    """
    said = []
    of = {split: [slide for slide in slides if slide.split == split] for split in SPLITS}
    for site in held:
        split = next((slide.split for slide in slides if slide.site == site), "")
        if others := sorted({slide.site or "no site" for slide in of.get(split, ())} - set(held)):
            said.append(f"split {split} was to be of {site} alone, and has slides of {', '.join(others)}, too")
    for split in SPLITS:
        if not of[split]:
            why = {"valid": "stage cohort holds patients out of train", "train": "the line has nothing to learn from"}
            said.append(f"no slide is in split {split}: {why.get(split, 'the line has nothing to be judged on')}")
            continue
        sites = {slide.site for slide in of[split]}
        others = {slide.site for slide in slides if slide.split not in ("", split)}
        if "" not in sites and others and not sites & others and not sites <= set(held):
            said.append(
                f"split {split} is just what was made at {', '.join(sorted(sites))}: what differs between sites and "
                "what differs between splits cannot be told apart"
            )
        codes = {code for slide in of[split] for code in slide.classes}
        missing = sorted({code for slide in slides for code in slide.classes} - codes)
        if missing and codes:
            said.append(f"split {split} has no slide with {', '.join(missing)}")
    return said
