"""What DVC's own files say: dvc.yaml and dvc.lock of stages, a `.dvc` file of the file beside it."""

from pathlib import Path
from typing import Any

from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.yaml_places import YAMLError, not_yaml, parse

LOCK = "dvc.lock"
"""What every stage was made of and made, in the project's root."""


def dvc_file(path: Path) -> Path:
    """The `.dvc` file of a file, whether or not there is one."""
    return path.with_name(f"{path.name}.dvc")


def tracked_md5(path: Path) -> str | None:
    """The md5 that a file has by its `.dvc` file; None without one.

    Raises:
        InputError: the `.dvc` file says none.
    """
    note = dvc_file(path)
    if not note.is_file():
        return None
    try:
        content: Any = parse(note.read_text(encoding="utf-8")).content
        (md5,) = (out["md5"] for out in content["outs"] if out["path"] == path.name)
    except (YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError):
        raise InputError(f"{note}: names no md5 of {path.name}; make it again: dvc add {path}") from None
    return str(md5)


def check_tracked(path: Path) -> None:
    """Refuse a file that is another than the one DVC owns by this name.

    Raises:
        InputError: it is.
    """
    wanted = tracked_md5(path)
    if wanted is not None and path.is_file() and (found := digest(path, "md5")) != wanted:
        raise InputError(
            f"{path}: has md5 {found[:12]}, but {wanted[:12]} in {dvc_file(path).name}: cut off or changed; bring it "
            f"back: dvc checkout --force {dvc_file(path)}, or, if this is the right one: dvc add {path}"
        )


def pipeline_stages(text: bytes | str, name: Path | str) -> dict[str, dict[str, Any]]:
    """Stages in the text of a dvc.yaml or dvc.lock; none in an empty one, as DVC has it.

    Args:
        text: Of the file.
        name: Of the file, for the message.

    Raises:
        InputError: it is no YAML, or holds no stages as DVC writes them.
    """
    read = ""
    try:
        read = text.decode("utf-8") if isinstance(text, bytes) else text
        content = parse(read).content
    except (YAMLError, UnicodeDecodeError) as error:
        raise not_yaml(name, read, error) from None
    stages = {} if content is None else content.get("stages", {}) if isinstance(content, dict) else None
    if not isinstance(stages, dict) or not all(isinstance(stage, dict) for stage in stages.values()):
        raise InputError(f"{name}: holds no stages as DVC writes them; git checkout {name}")
    return stages


def locked_entries(
    text: bytes | str, kind: str = "outs", *, without: str | None = None, name: Path | str = LOCK
) -> dict[str, dict[str, Any]]:
    """Entries with an md5 in the text of a dvc.lock, by path.

    Args:
        text: Of the file.
        kind: `outs`, or `deps`.
        without: The stage that is left out.
        name: Of the file, for the message.

    Raises:
        InputError: it is no YAML, or not as DVC writes it.
    """
    found: dict[str, dict[str, Any]] = {}
    for stage, content in pipeline_stages(text, name).items():
        entries = content.get(kind, []) if stage != without else []
        for entry in entries if isinstance(entries, list) else [entries]:
            md5 = entry.get("md5", "") if isinstance(entry, dict) else None
            if not isinstance(md5, str | int) or not isinstance(entry.get("path", ""), str):
                raise InputError(f"{name}: {stage}: {kind} are not as DVC writes them; git checkout {name}")
            if "path" in entry and "md5" in entry:
                found[entry["path"]] = entry | {"md5": str(md5)}  # DVC takes digits without quotes, too
    return found


def locked_outs(text: bytes | str, *, without: str | None = None, name: Path | str = LOCK) -> dict[str, str]:
    """md5 of every out in the text of a dvc.lock, by path; arguments and errors as of `locked_entries`."""
    return {path: out["md5"] for path, out in locked_entries(text, without=without, name=name).items()}
