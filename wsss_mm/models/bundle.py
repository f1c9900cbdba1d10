"""A model as one file for another machine: a segmenter, its classifier, card and vocabulary, under their digest.

The file is a ZIP without compression: any program looks into it, nothing in it is larger than it says, and equal models
give equal bytes. bundle.json names each file with its sha256; its own digest covers that, and is part of the name.
"""

import hashlib
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.files import atomic_folder, atomic_path, digest, rounded
from wsss_mm.formats import numbered, read_object
from wsss_mm.models.description import (
    DIGEST,
    HELD,
    VALIDATED,
    check_digest,
    described,
    folder_digest,
    read_description,
)
from wsss_mm.models.members import MEMBERS, count_classifiers, load_classifiers, member_folders
from wsss_mm.models.store import load_model
from wsss_mm.models.trust import CONFIGS
from wsss_mm.names import safe_name
from wsss_mm.places import BUNDLE, BUNDLE_NOTE, BUNDLE_VOCABULARY, CARD
from wsss_mm.vocabulary import Vocabulary
from wsss_mm.yaml_values import dumped

KINDS = ("segmenter", "classifier")
"""Folders of models in a bundle; the first there is what the bundle is of."""

_OF_MODEL = (places.DESCRIPTION, places.WEIGHTS, places.CONFIG, CARD)
_NEEDED = frozenset((places.DESCRIPTION, places.WEIGHTS))
_ALLOWED = frozenset(
    (BUNDLE_NOTE, BUNDLE_VOCABULARY, CARD, *(f"{kind}/{name}" for kind in KINDS for name in _OF_MODEL))
)
_OF_MEMBER = re.compile(rf"classifier/{places.MEMBERS}/[1-9][0-9]?/(?:{'|'.join(map(re.escape, _OF_MODEL))})")
_ENDING, _IN_NAME = ".zip", 16  # hexadecimal digits
_NAMED = re.compile(rf"-([0-9a-f]{{{_IN_NAME}}})(?:[ ._(-].*)?{re.escape(_ENDING)}")  # copies are called "... (1).zip"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a ZIP can say
_MODE = 0o100644 << 16
_FOREIGN = "not a bundle of `wsss-mm model export`"
_GIVE = "give the file that the export wrote"
_AGAIN = "copy it again from where it was exported"


def write_bundle(folders: Iterable[Path], target: Path, name: str, *, card: str | None = None) -> Path:
    """Write a bundle.

    Args:
        folders: Of a segmenter, of a classifier, or of both.
        target: Folder that gets the file, NAME-DIGEST.zip.
        name: What the model is called.
        card: Markdown for its front; the first model's own if None.

    Returns:
        The file. One that is there already is written anew, with equal bytes.

    Raises:
        InputError: a model was changed since it was made, or two are of one kind or of differing classes.
    """
    infos: dict[str, dict[str, Any]] = {}
    files: dict[str, Path | bytes] = {}
    for folder in folders:
        info = read_description(folder / places.DESCRIPTION)
        check_digest(folder, info)
        kind = info["kind"]
        if kind in infos:
            raise InputError(f"{folder}: a second {kind}; a bundle holds one segmenter and one classifier")
        infos[kind] = info
        for place in (folder, *_members(folder, info)):
            here = PurePosixPath(kind, place.relative_to(folder).as_posix())
            files |= {(here / part).as_posix(): place / part for part in _OF_MODEL if (place / part).is_file()}
    kind = next(kind for kind in KINDS if kind in infos)
    vocabulary = Vocabulary.from_json(infos[kind], places.DESCRIPTION)
    for other in infos.values():
        if Vocabulary.from_json(other, places.DESCRIPTION).codes != vocabulary.codes:
            raise InputError(f"a {other['kind']} of other classes than the {kind}'s; leave it out: --classifier none")
    files[BUNDLE_VOCABULARY] = _vocabulary_text(vocabulary).encode()
    files[CARD] = card.encode() if card is not None else files.get(f"{kind}/{CARD}", b"")
    note = _sealed(
        {
            "name": name,
            "kind": kind,
            "models": {of: info.get(DIGEST) for of, info in infos.items()},
            VALIDATED: infos[kind].get(VALIDATED),
            "files": {part: _sha256(content) for part, content in files.items()},
        }
    )
    path = target / f"{safe_name(name)}-{note[DIGEST][:_IN_NAME]}{_ENDING}"
    files[BUNDLE_NOTE] = (json.dumps(note, indent=2, sort_keys=True) + "\n").encode()
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for part, content in sorted(files.items()):
            entry = zipfile.ZipInfo(part, _EPOCH)
            entry.external_attr = _MODE
            with archive.open(entry, "w", force_zip64=True) as stream:
                if isinstance(content, bytes):
                    stream.write(content)
                else:
                    with content.open("rb") as source:
                        shutil.copyfileobj(source, stream)
    return path


def _members(folder: Path, info: Mapping[str, Any]) -> list[Path]:
    """Folders of the further classifiers that belong to a model."""
    found = member_folders(folder, count_classifiers(folder) - 1)
    if [folder_digest(place) for place in found] != info.get(MEMBERS, []):
        raise InputError(
            f"{folder / places.MEMBERS}: not the classifiers that {places.DESCRIPTION} names; bring all from one "
            f"place: dvc checkout {folder}"
        )
    return found


@contextmanager
def opened_bundle(path: Path, wanted: str | None = None, *, configs: Path = CONFIGS) -> Iterator[tuple[Path, dict]]:
    """Look at all of a bundle, and yield a folder with what it holds, and the content of its bundle.json.

    Nothing in it is executed: weights are loaded as plain tensors, and a network is built of trusted parts alone, see
    `load_model`. The folder goes when the block ends.

    Args:
        path: The file, or the folder of one that was unpacked.
        wanted: Digest, or its first digits, that it must have, from whoever exported it.
        configs: See `load_model`.

    Raises:
        InputError: there is none, it is none of ours, damaged, or changed since it was exported.
    """
    with tempfile.TemporaryDirectory() as scratch:
        if path.is_dir():
            folder = path
            names = {file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir()}
        else:
            folder = Path(scratch)
            names = _unpack(path, folder)
        _check_names(path, names)
        try:
            note = read_object(folder / BUNDLE_NOTE, BUNDLE)
        except InputError as error:
            raise InputError(f"{path}: {str(error).removeprefix(f'{folder}/')}") from None
        _check(path, folder, names, note, wanted)
        for kind in note["models"]:
            _check_model(path, folder / kind, kind, note, configs)
        yield folder, note


def unpack_bundle(folder: Path, target: Path) -> None:
    """Copy what `opened_bundle` looked at into a new folder.

    Raises:
        InputError: there is something already.
    """
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise InputError(f"{target}: is there already; name a new folder, or remove it")
    with atomic_folder(target) as new:
        shutil.copytree(folder, new, dirs_exist_ok=True)


def _unpack(path: Path, folder: Path) -> set[str]:
    """Take the files of a bundle out, whose names are those that a bundle may have and no others."""
    if not path.is_file():
        raise InputError(f"{path}: no such bundle; correct its path")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = {entry.filename for entry in entries}
            _check_names(path, names)
            packed = any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries)
            if packed or sum(entry.file_size for entry in entries) > path.stat().st_size or len(names) < len(entries):
                raise InputError(f"{path}: {_FOREIGN}, it was packed by another program; {_GIVE}")
            for entry in entries:
                place = folder / PurePosixPath(entry.filename)
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, place.open("wb") as file:
                    shutil.copyfileobj(source, file)
            return names
    except zipfile.BadZipFile as error:
        why = f"damaged ({error})" if zipfile.is_zipfile(path) else _FOREIGN
        raise InputError(f"{path}: {why}; {_AGAIN}") from None
    except (EOFError, NotImplementedError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError(f"{path}: damaged ({' '.join(str(error).split())[:80]}); {_AGAIN}") from None


def _check_names(path: Path, names: set[str]) -> None:
    """Refuse what is none of ours before anything of it is read."""
    if BUNDLE_NOTE not in names:
        raise InputError(f"{path}: {_FOREIGN}, it holds no {BUNDLE_NOTE}; {_GIVE}")
    if odd := {name for name in names - _ALLOWED if _OF_MEMBER.fullmatch(name) is None}:
        raise InputError(f"{path}: {_FOREIGN}, it holds {min(odd)[:80]!r}; {_GIVE}")


def _check(path: Path, folder: Path, names: set[str], note: Mapping[str, Any], wanted: str | None) -> None:
    """Whether the files are those that bundle.json names, and it is the one that the name and the user say."""
    files, models = note.get("files"), note.get("models")
    if not (isinstance(files, dict) and isinstance(models, dict) and models and models.keys() <= set(KINDS)):
        raise InputError(f"{path}: {_FOREIGN}, its {BUNDLE_NOTE} names no models; {_GIVE}")
    for kind in models:
        if lacking := sorted(f"{kind}/{part}" for part in _NEEDED if f"{kind}/{part}" not in files):
            raise InputError(f"{path}: lacks {lacking[0]}; {_AGAIN}")
    if odd := sorted((files.keys() | {BUNDLE_NOTE}) ^ names):
        raise InputError(f"{path}: damaged: {str(odd[0])[:80]} is missing, or not of it; {_AGAIN}")
    for part, sha256 in sorted(files.items()):
        if (found := digest(folder / part)) != sha256:
            raise InputError(f"{path}: damaged: {part} has sha256 {found[:12]} instead of {str(sha256)[:12]}; {_AGAIN}")
    own = _sealed(note)[DIGEST]
    said = _NAMED.search(path.name)
    for other, where in ((note.get(DIGEST), BUNDLE_NOTE), (said and said[1], "its name"), (wanted, "--digest")):
        if other is not None and not (len(str(other)) >= 8 and own.startswith(str(other).lower())):
            raise InputError(
                f"{path}: not what was exported: digest {own[:16]}, and {where} says {str(other)[:16]}; {_AGAIN}"
            )
    if DIGEST not in note:
        raise InputError(f"{path}: {_FOREIGN}, its {BUNDLE_NOTE} has no digest; {_GIVE}")


def _check_model(path: Path, folder: Path, kind: str, note: Mapping[str, Any], configs: Path) -> None:
    """Load a model as whoever uses it will, unless it asks for an encoder's file that may come later."""
    try:
        info = read_description(folder / places.DESCRIPTION, configs)
        if HELD in info:
            check_digest(folder, info)
        else:
            load = load_classifiers if kind == "classifier" else load_model
            _, info = load(folder, configs=configs)
    except InputError as error:
        raise InputError(f"{path}: {str(error).replace(f'{folder.parent}/', '')}") from None
    if info["kind"] != kind or info.get(DIGEST) != (note["models"][kind] or info.get(DIGEST)):
        raise InputError(f"{path}: {kind}/{places.DESCRIPTION}: another model than {BUNDLE_NOTE} names; {_AGAIN}")


def with_validated(folder: Path, copy: Path, registered: Path = places.REGISTERED) -> Path:
    """A model that says how it was validated: itself, or a copy with what stage register left of the line's model.

    The copy is the model that the registry has, with the same digest.
    """
    from wsss_mm.models.store import copy_model

    info = described(folder)
    if VALIDATED in info or not registered.is_file():
        return folder
    note = read_object(registered, places.REGISTRATION)
    if not note.get(VALIDATED) or note.get("weights_md5") != digest(folder / places.WEIGHTS, "md5"):
        return folder
    copy_model(folder, copy, {VALIDATED: note[VALIDATED]})
    return copy


def _sealed(note: Mapping[str, Any]) -> dict[str, Any]:
    """The content of bundle.json with the digest of all that it says."""
    content = numbered(rounded({key: value for key, value in note.items() if key != DIGEST}), BUNDLE)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return content | {DIGEST: hashlib.sha256(text.encode()).hexdigest()}


def _sha256(content: Path | bytes) -> str:
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else digest(content)


def _vocabulary_text(vocabulary: Vocabulary) -> str:
    """As `vocabularies/<name>.yaml` has it."""
    classes = [
        {key: value for key, value in item.items() if key != "aliases" or value}
        for item in vocabulary.to_json()["classes"]
    ]
    head = f"# Save as vocabularies/{safe_name(vocabulary.name or 'imported')}.yaml to train with these classes.\n"
    return head + dumped({"classes": classes}, default_flow_style=None)
