"""Profiles: params.yaml and gates.yaml for a cohort or a scale, as differences from those of the phantom."""

import json
import logging
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from importlib import resources
from io import StringIO
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path, locked
from wsss_mm.settings.params import Params
from wsss_mm.settings.reading import GATES_FILE, PARAMS_FILE, checked
from wsss_mm.yaml_places import YAMLError, parse

if TYPE_CHECKING:
    from wsss_mm.sources import Source

logger = logging.getLogger(__name__)

_PROFILES = resources.files("wsss_mm") / "profiles"
_GATES = _PROFILES / "gates"
_BASE = "phantom"
_PHANTOM = "The default: slides that the project makes, with exact truth. Needs no data; sized for a CPU."
_UNSEEN = "slides"  # of a cohort that nobody has seen
_GATES_KEY, _NEEDS_MASKS = "gates", "test_has_masks"
_NULL = "tag:yaml.org,2002:null"
_BEFORE = ".before"  # ending of the copy of a file that somebody edited


def profile_names() -> list[str]:
    """Names of the profiles that come with the package."""
    return sorted(Path(entry.name).stem for entry in _PROFILES.iterdir() if entry.name.endswith(".yaml"))


def profile_summaries() -> dict[str, str]:
    """What each profile is for, by name, in a sentence: the first line of its file, but of the phantom's."""
    return {name: _PHANTOM if name == _BASE else _first_line(name) for name in profile_names()}


def _first_line(name: str) -> str:
    with (_PROFILES / f"{name}.yaml").open(encoding="utf-8") as stream:
        return stream.readline().removeprefix("#").strip()


def render_profile(name: str, source: Path | None = None) -> str:
    """The text of params.yaml for a profile: the default one, comments and all, with the profile's values."""
    return _rendered(_PROFILES, name, {} if source is None else {"cohort": {"source": _text(source)}})


def render_gates(name: str) -> str:
    """The text of gates.yaml for a profile, likewise."""
    return _rendered(_GATES, name, {})


def write_profile(name: str, params: Path | str = PARAMS_FILE, source: Path | None = None) -> Params:
    """Write params.yaml, and gates.yaml beside it, for a profile: both of them, or none if one cannot be.

    A file that is no profile's, since somebody edited it, is kept beside the new one.

    Raises:
        InputError: the source is not there, or a file cannot be written.
    """
    if source is None and (default := load_profile(name).cohort).name == _BASE and not default.source.exists():
        source = places.CODE_OF_PHANTOM if places.CODE_OF_PHANTOM.is_file() else None
    return _write(name, params, {} if source is None else {"cohort": {"source": _text(source)}})


def write_imported(
    row: "Source",
    source: Path,
    vocabulary: str,
    *,
    mpp: float,
    size: int,
    masks: bool = True,
    params: Path | str = PARAMS_FILE,
) -> Params:
    """Write both files for a data set: by its profile if there is one, else as for slides that nobody has seen.

    Args:
        row: of `sources.yaml`.
        source: the data set's folder.
        vocabulary: name of its classes.
        mpp: um/px of its images.
        size: side of patches, px.
        masks: whether there are any; without, gate patches only warns of that.
        params: the file to write.

    Raises:
        InputError: see `write_profile`, or a setting that `sources.yaml` gives is none.
    """
    if row.name in profile_names() and (published := load_profile(row.name)).cohort.name == row.name:
        changed: dict[str, dict[str, Any]] = {"cohort": {"source": _text(source)}, "patches": {"mpp": mpp}}
        if size != published.patches.size:
            changed["patches"]["size"] = size
            changed["segmenter"] = {"crop": min(published.segmenter.crop, size)}
        return _write(row.name, params, changed)
    values: dict[str, dict[str, Any]] = {
        "cohort": {"name": row.name, "source": _text(source), "vocabulary": vocabulary},
        "patches": {"mpp": mpp, "size": size},
        "register": {"model_name": f"segmenter-{row.name}"},
    }
    unseen = load_profile(_UNSEEN)
    settings = {name: said for name, said in row.settings.items() if name != _GATES_KEY}
    for section, own in ({"segmenter": {"crop": min(unseen.segmenter.crop, size)}} | settings).items():
        values[section] = {**values.get(section, {}), **own}
    gates: dict[str, dict[str, Any]] = {name: dict(said) for name, said in row.settings.get(_GATES_KEY, {}).items()}
    if not masks:
        patches = gates.setdefault("patches", {})
        patches["warnings"] = [*patches.get("warnings", ()), _NEEDS_MASKS]
    for name, said in gates.items():  # beside those that only warn anyway
        if "warnings" in said and hasattr(unseen.gates, name):
            said["warnings"] = [*getattr(unseen.gates, name).warnings, *said["warnings"]]
    try:
        return _write(_UNSEEN, params, values, gates)
    except KeyError as error:
        raise InputError(f"sources.yaml: {row.name}.settings: {error.args[0]}") from None


def _write(
    name: str, params: Path | str, values: Mapping[str, Any], thresholds: Mapping[str, Any] = MappingProxyType({})
) -> Params:
    params = Path(params)
    gates = params.with_name(GATES_FILE)
    if params == gates:
        raise InputError(f"{params}: thresholds of gates belong there; give the parameters' file another name")
    loaded = _loaded(name, values, thresholds)
    if not loaded.cohort.source.exists():
        made = {
            "slides": "make it with: wsss-mm cohort add SLIDE..., or ",
            _BASE: "begin a project with: wsss-mm init FOLDER, and choose its profile there; or ",
        }.get(loaded.cohort.name, "")
        raise InputError(
            f"{loaded.cohort.source}: not found; {made}name the folder of patches or table of slides with --source"
        )
    with locked(params):  # two at once: both files are one's, or both the other's
        before = params.read_bytes() if params.is_file() else None
        _keep_edits(params, profiles_of_params, _rendered(_PROFILES, name, values))
        _keep_edits(gates, profiles_of_gates, _rendered(_GATES, name, thresholds))
        try:
            with atomic_path(gates) as new_gates, atomic_path(params) as new_params:
                new_gates.write_text(_rendered(_GATES, name, thresholds), encoding="utf-8")
                new_params.write_text(_rendered(_PROFILES, name, values), encoding="utf-8")
        except BaseException:
            _put_back(params, before)
            raise
    return loaded


def load_profile(name: str, source: Path | None = None) -> Params:
    """The settings of a profile, whatever stands in the project's own files."""
    return _loaded(name, {} if source is None else {"cohort": {"source": _text(source)}})


def _loaded(name: str, values: Mapping[str, Any], thresholds: Mapping[str, Any] = MappingProxyType({})) -> Params:
    gates = parse(_rendered(_GATES, name, thresholds)).content
    content = parse(_rendered(_PROFILES, name, values)).content | {"gates": gates}
    source = values.get("cohort", {}).get("source")
    return checked(content, f"profile {name}" if source is None else f"profile {name} with source {source}")


def profiles_of_params(text: str) -> set[str]:
    """Names of the profiles whose params.yaml this is, to the letter but for where the source of the cohort lies."""
    try:
        source = Path(parse(text).content["cohort"]["source"])
        return {name for name in profile_names() if text == render_profile(name, source)}
    except (YAMLError, LookupError, TypeError, ValueError):
        return set()


def profiles_of_gates(text: str) -> set[str]:
    """Names of the profiles whose gates.yaml this is, to the letter."""
    return {name for name in profile_names() if text == render_gates(name)}


def _keep_edits(path: Path, profiles_of: Callable[[str], set[str]], new: str) -> None:
    """Copy a file that would be lost: it is there, is not what is written now, and no profile is it."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else new
    if text == new or profiles_of(text):
        return
    content, endings = path.read_bytes(), (f"-{number}" if number > 1 else "" for number in count(1))
    names = (path.with_name(f"{path.name}{_BEFORE}{ending}") for ending in endings)
    kept = next(place for place in names if not place.exists() or (place.is_file() and place.read_bytes() == content))
    with atomic_path(kept) as temporary:
        temporary.write_bytes(content)
    logger.warning("%s was edited; what it said is kept in %s", path, kept.name)


def _rendered(folder: Any, name: str, values: Mapping[str, Any]) -> str:
    cohort = _cohort(folder, name) | values.get("cohort", {})
    if cohort.get("name") == "slides" and "source" in cohort:  # DVC is to read the table, not a folder with all slides
        table, labels = _tables(Path(cohort["source"]))
        found = {"source": _text(table)} | ({"labels": _text(labels)} if labels.is_file() else {})
        values = {**values, "cohort": {**values.get("cohort", {}), **found}}
    return _dumped(folder, name, json.dumps(dict(values)))


@cache
def _cohort(folder: Any, name: str) -> dict[str, Any]:
    """Section `cohort` of a profile, empty for gates.yaml."""
    files = [folder / f"{each}.yaml" for each in dict.fromkeys((_BASE, name))]
    parts = [parse(file.read_text(encoding="utf-8")).content for file in files if file.is_file()]
    return (
        {key: value for part in parts for key, value in part.get("cohort", {}).items()} if folder == _PROFILES else {}
    )


@lru_cache(maxsize=64)  # 40 ms each, and asked for again by whoever compares a file with those of all profiles
def _dumped(folder: Any, name: str, values: str) -> str:
    """The phantom's text, with what the profile and these values, JSON, say instead."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 4096  # no line is broken
    yaml.representer.add_representer(type(None), lambda dumper, _: dumper.represent_scalar(_NULL, "null"))
    content = yaml.load((folder / f"{_BASE}.yaml").read_text(encoding="utf-8"))
    if name != _BASE and (folder / f"{name}.yaml").is_file():
        _merge(content, yaml.load((folder / f"{name}.yaml").read_text(encoding="utf-8")))
    _merge(content, json.loads(values))
    stream = StringIO()
    yaml.dump(content, stream)
    return stream.getvalue()


def _tables(source: Path) -> tuple[Path, Path]:
    """The table of slides, and that of labels which may lie beside it."""
    table = source / places.SLIDES_TABLE if source.is_dir() else source
    return table, table.with_name(places.LABELS_TABLE)


def _text(path: Path) -> str:
    return path.as_posix().encode().decode()  # DVC has no other paths than UTF-8


def _merge(base: Any, overlay: Any) -> None:
    for key, value in overlay.items():
        if key not in base:
            raise KeyError(f"profile sets {key}, which the files of profile {_BASE} do not have")
        if isinstance(value, dict) and isinstance(base[key], dict):
            _merge(base[key], value)
        else:
            base[key] = value


def _put_back(path: Path, content: bytes | None) -> None:
    """Let a file be as it was."""
    if content is None:
        path.unlink(missing_ok=True)
    elif path.read_bytes() != content:
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
