"""What was chosen, and why: the file between stage choose_pseudo_labels and whoever makes pseudo-labels."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm.errors import InputError
from wsss_mm.formats import read_object, write_object
from wsss_mm.places import CHOICE

if TYPE_CHECKING:
    from wsss_mm.cam import PseudoLabeller
    from wsss_mm.models import PatchClassifier

BY_MASKS, BY_LABELS, BY_HAND = "masks", "labels", "params"
"""What decided: true masks of the validation split, statistics of the label sets, or params.yaml alone."""


@dataclass(frozen=True)
class TriedSetting:
    """One setting that was tried, beside what was chosen until then.

    Attributes:
        element: a key of params.yaml, section pseudo_labels.
        value: what was tried.
        miou: over the validation patches, 0..1.
        gain: the difference of mIoU from what was chosen until then.
        low: of the 95 % interval of the gain, paired over patients or slides; of fewer than
            `wsss_mm.choosing.rules.LEAST_UNITS`, the least gain of one of them.
        high: likewise, or the largest.
        verdict: better, worse or cannot tell.
        taken: whether it was chosen.
    """

    element: str
    value: Any
    miou: float
    gain: float
    low: float
    high: float
    verdict: str
    taken: bool = False

    @property
    def shown(self) -> str:
        """The value as params.yaml has it."""
        if isinstance(self.value, bool):
            return str(self.value).lower()
        if isinstance(self.value, tuple | list):
            return ", ".join(item if isinstance(item, str) else f"{item:g}" for item in self.value)
        return str(self.value)


@dataclass(frozen=True)
class Choice:
    """The settings that pseudo-labels are made with.

    Attributes:
        settings: of `wsss_mm.cam.PseudoLabeller`, all but the classifiers.
        given: those of params.yaml that they were chosen over.
        by: one of `BY_MASKS`, `BY_LABELS`, `BY_HAND`.
        says: in one sentence, why.
        miou: on the validation patches: `published` of the settings of params.yaml, `chosen`, and `labels_alone` of
            label sets without a picture; None without masks.
        patches: validation patches that were tried on.
        unit: what is independent of each other, patient or slide; older files have patch, too.
        units: how many there are.
        trials: all that was tried, in order.
        advice: what labels cannot teach, a sentence each.
        few: whether `units` are too few to decide alone, so that `TriedSetting.low` and `high` are no interval.
    """

    settings: Mapping[str, Any]
    given: Mapping[str, Any]
    by: str
    says: str
    miou: Mapping[str, float | None] = field(default_factory=dict)
    patches: int = 0
    unit: str = ""
    units: int = 0
    trials: tuple[TriedSetting, ...] = ()
    advice: tuple[str, ...] = ()
    few: bool = False

    def labeller(self, classifier: "PatchClassifier", *others: "PatchClassifier") -> "PseudoLabeller":
        """What makes pseudo-labels with these settings, of the mean of the CAMs of all classifiers."""
        from wsss_mm.cam import PseudoLabeller

        return PseudoLabeller(classifier, others=others, **self.settings)


def write_choice(path: Path, choice: Choice) -> None:
    """Write it as JSON; equal choices give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_object(path, CHOICE, asdict(choice), exact=("settings", "given"))


def read_choice(path: Path) -> Choice:
    """Read it.

    Raises:
        InputError: there is none, or it is damaged.
    """
    from wsss_mm.cam import PseudoLabeller

    content = read_object(path, CHOICE)
    classifiers = {"model", "others"}
    settings, known_settings = content.get("settings"), {item.name for item in fields(PseudoLabeller)} - classifiers
    if (
        not isinstance(settings, dict)
        or not settings.keys() <= known_settings
        or not isinstance(content.get("given"), dict)
    ):
        raise InputError(f"{path}: damaged: names no settings of pseudo-labels; {CHOICE.again}")
    try:
        known: dict[str, Any] = {item.name: content[item.name] for item in fields(Choice) if item.name in content}
        known["trials"] = tuple(TriedSetting(**trial) for trial in known.get("trials", ()))
        known["advice"] = tuple(known.get("advice", ()))
        return Choice(**known)
    except TypeError as error:
        raise InputError(f"{path}: damaged: {error}; {CHOICE.again}") from None
