"""champion.json: the model that gate segmenter compares with, pinned where git and DVC see it.

The registry moves its champion at any time; a gate's report is made again when the pin moves, not before. The pin keeps
the champion before, too: a model that has become champion itself is judged as it was the day before.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wsss_mm.errors import InputError
from wsss_mm.formats import read_object, write_object
from wsss_mm.places import CHAMPION
from wsss_mm.places import CHAMPION_PIN as PIN


@dataclass(frozen=True)
class Rival:
    """A registered version that others are compared with.

    Attributes:
        version: Its number in the registry.
        weights_md5: Of its weights.
        miou: Its mean IoU on the test split, None where that is undefined.
        test_split: Digest of the test split it was judged on.
    """

    version: str
    weights_md5: str
    miou: float | None
    test_split: str


@dataclass(frozen=True)
class Pin:
    """The champion of a registered model, and the one before it.

    Attributes:
        name: The registered model; None if nothing is pinned.
        champion: None if it has none.
        before: None if there was none.
    """

    name: str | None = None
    champion: Rival | None = None
    before: Rival | None = None


def read_pin(root: Path) -> Pin:
    """Read champion.json of a project.

    Raises:
        InputError: it is missing or damaged.
    """
    path = root / PIN
    content = read_object(path, CHAMPION)
    try:
        return Pin(content["name"], _rival(content["champion"]), _rival(content["before"]))
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path}: is no pin of a champion; write it anew: wsss-mm models pin") from None


def write_pin(root: Path, pin: Pin) -> None:
    """Write champion.json of a project."""
    write_object(root / PIN, CHAMPION, asdict(pin))


def rival(pin: Pin, name: str | None, weights_md5: str, test_split: str) -> float | None:
    """The mean IoU that a model has to compare with; None if nothing can be compared.

    Args:
        pin: What is pinned.
        name: The registered model that the project makes versions of.
        weights_md5: Of the model to be judged: a champion is compared with the one before it.
        test_split: What it was judged on; figures of another split say nothing.
    """
    if name is None or pin.name != name:
        return None
    other = pin.champion
    if other is not None and other.weights_md5 == weights_md5:
        other = pin.before
    return other.miou if other is not None and other.test_split == test_split else None


def _rival(content: Any) -> Rival | None:
    if content is None:
        return None
    found = Rival(**content)
    if not all(isinstance(item, str) for item in (found.version, found.weights_md5, found.test_split)):
        raise TypeError(content)
    if found.miou is not None and not (isinstance(found.miou, float | int) and 0 <= found.miou <= 1):
        raise ValueError(content)
    return found
