"""The tissue classes of a cohort, from `vocabularies/<name>.yaml`: the same wherever they are counted or shown."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from wsss_mm.errors import InputError
from wsss_mm.names import is_plain_name
from wsss_mm.places import AFTER_CLASSES, BEFORE_CLASSES
from wsss_mm.yaml_places import Place, YamlDocument, read, suggestion

IGNORE = 255
"""Value of a mask, pseudo-label or slide map where there is no class: background, or truth that is to be ignored."""

IGNORE_COLOR = (255, 255, 255)

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

Role = Literal["tumour", "stroma", "lymphocytes", "necrosis", "normal", "other"]
ROLES: tuple[Role, ...] = get_args(Role)

FOLDER = Path("vocabularies")
"""The project's; its `<name>.yaml` is what `cohort.vocabulary` in params.yaml names."""

MOST_CLASSES, MOST_ALIASES, LONGEST_NAME = 254, 64, 200
CODE = "[A-Za-z0-9_-]{1,32}"
"""What the code of a class is."""
LEAST_DIFFERENCE = 5.0
"""See `wsss_mm.colours.least_difference`: colours that are more alike are taken for one another."""

_SHIPPED = Path(__file__).with_name("vocabularies")  # in a checkout a link to the project's
_KEYS = ("code", "name", "color", "role", "aliases")
_LEAST_WHITE = 250  # of each channel


@dataclass(frozen=True)
class TissueClass:
    """A class.

    Attributes:
        code: names manifest columns and metrics.
        name: is for people.
        color: RGB.
        role: what figures such as the tumour-stroma ratio ask for.
        aliases: further names that annotations may use.
    """

    code: str
    name: str
    color: tuple[int, int, int]
    role: Role = "other"
    aliases: tuple[str, ...] = ()

    @property
    def hex_color(self) -> str:
        """As web pages and plots write it, such as #c81e1e."""
        return "#{:02x}{:02x}{:02x}".format(*self.color)

    @property
    def names(self) -> tuple[str, ...]:
        """All that the class is called, as `Vocabulary.find` compares it."""
        return tuple(map(_folded, (self.code, self.name, *self.aliases)))


@dataclass(frozen=True)
class Vocabulary:
    """The classes of a cohort, in the order of label vectors, logits and mask values."""

    name: str
    classes: tuple[TissueClass, ...]

    @property
    def codes(self) -> tuple[str, ...]:
        """Class codes in order."""
        return tuple(item.code for item in self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """RGB colours in order."""
        return tuple(item.color for item in self.classes)

    @property
    def palette(self) -> list[int]:
        """768 values for `PIL.Image.putpalette`: the classes from 0, white everywhere else, so also at `IGNORE`."""
        colors = [channel for color in self.colors for channel in color]
        return colors + list(IGNORE_COLOR) * (256 - len(self))

    def find(self, name: str) -> int | None:
        """Index of the class with this code, name or alias, in any case; None if there is none."""
        name = _folded(name)
        return next((index for index, item in enumerate(self.classes) if name in item.names), None)

    def with_role(self, role: Role) -> tuple[int, ...]:
        """Indices of the classes with a role."""
        return tuple(index for index, item in enumerate(self.classes) if item.role == role)

    def to_json(self) -> dict[str, Any]:
        """What model.json says of the classes: `vocabulary`, the name, and `classes`, all there is of each."""
        classes = [asdict(item) | {"color": list(item.color), "aliases": list(item.aliases)} for item in self.classes]
        return {"vocabulary": self.name, "classes": classes}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], where: Path | str) -> "Vocabulary":
        """Of model.json, whose types are checked already; what older versions wrote has no roles and no aliases.

        Args:
            content: as `to_json` gives it. Without a role a class has that of the shipped class with its code.
            where: what the message names as the place of a fault.

        Raises:
            InputError: two classes have a code or a name in common.
        """
        shipped: dict[str, Role] = {}
        if any(item.get("role") is None for item in content["classes"]):
            of_all = (read_vocabulary(_SHIPPED / f"{name}.yaml").classes for name in _names(_SHIPPED))
            shipped = {item.code: item.role for classes in of_all for item in classes}
        classes = tuple(
            TissueClass(
                item["code"],
                item["name"],
                tuple(item["color"]),
                item.get("role") or shipped.get(item["code"], "other"),
                tuple(item.get("aliases") or ()),
            )
            for item in content["classes"]
        )
        for _, says in _shared_names(classes):
            raise InputError(f"{where}: classes: {says}; export the model again")
        return cls(str(content.get("vocabulary", "")), classes)


def get_vocabulary(name: str) -> Vocabulary:
    """The vocabulary called `name`: the project's if the working directory has one, else one that is shipped.

    Raises:
        InputError: there is none of that name, or see `read_vocabulary`.

    Examples:
        >>> lung = get_vocabulary("lung")
        >>> lung.codes
        ('TE', 'NEC', 'LYM', 'TAS')
        >>> lung.find("Lymphocytes"), lung.with_role("tumour")
        (2, (0,))
    """
    for folder in (FOLDER, _SHIPPED):
        if name in _names(folder):
            return read_vocabulary(folder / f"{name}.yaml")
    raise InputError(unknown_vocabulary(name))


def vocabulary_names() -> list[str]:
    """The names there are: those of the project, or, where no project is, of the vocabularies that are shipped."""
    return _names(FOLDER if FOLDER.is_dir() else _SHIPPED)


def unknown_vocabulary(name: str) -> str:
    """What to say where there is no vocabulary called `name`."""
    names = vocabulary_names()
    wanted = FOLDER / f"{name}.yaml" if is_plain_name(name) else f"a file in {FOLDER}"
    if is_plain_name(name) and (FOLDER / f"{name}.yml").is_file():
        return f"no vocabulary {name!r}: rename {FOLDER / name}.yml to {name}.yaml"
    return (
        f"no vocabulary {str(name)[:40]!r}; choose from {', '.join(names)}, or write {wanted}{suggestion(name, names)}"
    )


def read_vocabulary(path: Path) -> Vocabulary:
    """Read and check the classes that a YAML file lists.

    Raises:
        InputError: it is missing or no YAML, a class lacks something or has it of the wrong kind, two classes have a
            code, a name or a colour in common, a colour is white or so much like another that readers with or without
            red-green blindness take them for one, or there are none or too many; the message gives the line.
    """
    document = read(path, absent="restore it with git checkout")
    for place, says in _faults(document):
        raise document.fault(place, says)
    return Vocabulary(path.stem, tuple(_class(item) for item in document.content["classes"]))


def _faults(document: YamlDocument) -> Iterator[tuple[Place, str]]:
    """What is wrong, and where; what follows relies on nothing before it being wrong."""
    content = document.content
    if not isinstance(content, dict) or "classes" not in content:
        yield (), "has no list `classes`; give one item a class, with code, name, color and role"
        return
    for key in content:
        if key != "classes":
            yield (str(key),), f"{str(key)[:40]!r} is nothing of a vocabulary{suggestion(str(key), ['classes'])}"
    items = content["classes"]
    if not isinstance(items, list) or not items:
        yield ("classes",), "classes is no list, or empty; give one item a class, with code, name, color and role"
        return
    if len(items) > MOST_CLASSES:
        yield ("classes", MOST_CLASSES), f"{len(items)} classes; a mask has values for {MOST_CLASSES}"
    for index, item in enumerate(items):
        yield from ((("classes", index, *place), says) for place, says in _faults_of_class(item))
    classes = [_class(item) for item in items]
    yield from ((("classes", index), says) for index, says in _shared_names(classes))
    yield from ((("classes", index, "color"), says) for index, says in _shared_colors(classes))


def _faults_of_class(item: Any) -> Iterator[tuple[Place, str]]:
    if not isinstance(item, dict):
        yield (), f"{_short(item)} is no class; give code, name, color and role"
        return
    for key in item:
        if key not in _KEYS:
            yield (str(key),), f"{_short(key)} is nothing of a class{suggestion(str(key), _KEYS)}"
    for key in ("code", "name", "color", "role"):
        if key not in item:
            yield (), f"{key} is missing"
    for key in ("code", "name"):
        if not isinstance(item[key], str):
            yield (key,), f"{key} {_short(item[key])} is no text; put it in quotation marks"
    if not re.fullmatch(CODE, item["code"]):
        yield ("code",), f"code {_short(item['code'])} names columns; use up to 32 letters, digits, - and _"
    if item["code"] in BEFORE_CLASSES or item["code"] in AFTER_CLASSES:
        yield ("code",), f"code {_short(item['code'])} is a column of every manifest; choose another"
    if (says := _fault_of_color(item["color"])) is not None:
        yield ("color",), says
    if item["role"] not in ROLES:
        yield (
            ("role",),
            f"role {_short(item['role'])} is none of {', '.join(ROLES)}{suggestion(str(item['role']), ROLES)}",
        )
    yield from _faults_of_names(item["name"], [] if item.get("aliases") is None else item["aliases"])


def _faults_of_names(name: str, aliases: Any) -> Iterator[tuple[Place, str]]:
    if not (isinstance(aliases, list) and all(isinstance(text, str) for text in aliases)):
        yield ("aliases",), f"aliases {_short(aliases)} is no list of texts; give one, such as [Tumor, Tumour]"
    if len(aliases) > MOST_ALIASES:
        yield ("aliases",), f"{len(aliases)} aliases, more than {MOST_ALIASES}; leave some out"
    for key, text in (("name", name), *(("aliases", alias) for alias in aliases)):
        if not text.strip() or len(text) > LONGEST_NAME or not text.isprintable():
            yield (key,), f"{_short(text)} is empty, longer than {LONGEST_NAME} characters, or cannot be printed"
        if text.rstrip().endswith("*"):
            yield (key,), f"{_short(text)} ends in *, as the classes that QuPath ignores; leave the asterisk out"


def _fault_of_color(value: Any) -> str | None:
    if not (isinstance(value, list) and len(value) == 3 and all(type(c) is int and 0 <= c <= 255 for c in value)):
        return f"color {_short(value)} is no RGB colour; give three whole numbers up to 255, such as [200, 30, 30]"
    if min(value) >= _LEAST_WHITE:
        return f"color {value} is white, which stands for what has no class; give it a colour"
    return None


def _shared_names(classes: Sequence[TissueClass]) -> Iterator[tuple[int, str]]:
    """Classes that answer to a name of an earlier one, with what to say of it."""
    owners: dict[str, TissueClass] = {}
    for index, item in enumerate(classes):
        for text, name in zip((item.code, item.name, *item.aliases), item.names, strict=True):
            other = owners.setdefault(name, item)
            if other is not item:
                yield index, f"{item.code}: {other.code} is called {text!r} too; give them different names"


def _shared_colors(classes: Sequence[TissueClass]) -> Iterator[tuple[int, str]]:
    """The two classes whose colours readers would take for one another, if there are such."""
    from wsss_mm.colours import least_difference

    if len(classes) > 1:
        least, one, other = least_difference([item.color for item in classes])
        if least < LEAST_DIFFERENCE:
            first, second = classes[one], classes[other]
            yield (
                other,
                f"{second.code}: color {list(second.color)} is too much like {first.code}'s {list(first.color)} over "
                f"H&E, for all readers or for those with red-green blindness ({least:.1f}, and {LEAST_DIFFERENCE:g} "
                "is needed); make one lighter or darker, or change its blue",
            )


def _class(item: Mapping[str, Any]) -> TissueClass:
    aliases = tuple(item.get("aliases") or ())
    return TissueClass(item["code"], item["name"], tuple(item["color"]), item["role"], aliases)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", " ".join(name.split())).casefold()


def _short(value: Any) -> str:
    return repr("null" if value is None else str(value).lower() if isinstance(value, bool) else str(value))[:60]


def _names(folder: Path) -> list[str]:
    """Names of the vocabularies in a folder."""
    return sorted(path.stem for path in folder.glob("*.yaml") if is_plain_name(path.stem))
