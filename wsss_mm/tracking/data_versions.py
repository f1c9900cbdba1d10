"""Versions of the patches: each one that git ever had in dvc.lock, and what changed between two of them."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_mm import places
from wsss_mm.dvc_files import LOCK, locked_entries
from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.formats import read_rows
from wsss_mm.patches.manifest import label_sets
from wsss_mm.places import MANIFEST, PATCH_MANIFEST

if TYPE_CHECKING:
    import pandas as pd

_FIELDS = "%H%x09%cs%x09%s"


@dataclass(frozen=True)
class DataVersion:
    """A folder as of a commit.

    Attributes:
        md5: DVC's digest of the folder.
        size: Bytes.
        files: Their number.
        commit: The first commit that has it.
        date: Of that commit, YYYY-MM-DD.
        tags: Git's tags of commits that have it, gto's among them: `patches@v1.2.0`.
        subject: The commit's first line.
    """

    md5: str
    size: int
    files: int
    commit: str
    date: str
    tags: tuple[str, ...]
    subject: str


@dataclass(frozen=True)
class DataChange:
    """What became of the patches, by patch id; `relabelled` gives the label sets before and after."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    relabelled: dict[str, tuple[str, str]]
    moved: dict[str, tuple[str, str]]
    """Patches that changed their split: before, after."""
    redrawn: tuple[str, ...]
    """Patches whose image or mask has other bytes."""

    def __str__(self) -> str:
        counts = {
            "added": len(self.added),
            "removed": len(self.removed),
            "relabelled": len(self.relabelled),
            "in another split": len(self.moved),
            "redrawn": len(self.redrawn),
        }
        return ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "the same patches"


def data_versions(root: Path, path: str = places.PATCHES.as_posix()) -> list[DataVersion]:
    """Versions of an out of the line, newest first, from the history of dvc.lock on this branch.

    Raises:
        InputError: this is no git repository, or no commit has the folder.
    """
    found: dict[str, DataVersion] = {}
    for commit, date, subject in _history(root):
        entry = _locked(root, commit, path)
        if entry is not None:  # an older commit with the same data takes the place: the first one names them
            size, files = int(entry.get("size", 0)), int(entry.get("nfiles", 1))
            found[entry["md5"]] = DataVersion(entry["md5"], size, files, commit, date, (), subject)
    for tag in _git(root, "tag", "--list").split():
        entry = _locked(root, tag, path)
        if entry is not None and entry["md5"] in found:
            version = found[entry["md5"]]
            found[entry["md5"]] = replace(version, tags=(*version.tags, tag))
    if not found:
        raise InputError(f"{root / 'dvc.lock'}: no commit has {path}; run the line and: git add dvc.lock && git commit")
    return list(found.values())


def find_data_version(versions: list[DataVersion], name: str) -> DataVersion:
    """The version called by a tag, or by the beginning of its md5 or commit.

    Raises:
        InputError: none or several are.
    """
    found = [
        item for item in versions if name in item.tags or item.md5.startswith(name) or item.commit.startswith(name)
    ]
    if len(found) != 1:
        raise InputError(f"{name!r} names {len(found)} versions of the data; see: wsss-mm data log")
    return found[0]


def read_version(version: DataVersion, cache: Path) -> tuple["pd.DataFrame", dict[str, str]]:
    """Manifest and files of a version, from DVC's cache.

    Args:
        version: Which.
        cache: DVC's cache, `.dvc/cache`.

    Returns:
        The manifest, indexed by patch_id, and the md5 of each file by path.

    Raises:
        InputError: the cache lacks it, or holds something else.
    """
    try:
        listing = json.loads(_cached(version.md5, cache).read_text(encoding="utf-8"))
        files = {entry["relpath"]: entry["md5"] for entry in listing}
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{version.md5} in {cache}: no listing ({error}); mend it: dvc fetch --force") from None
    if MANIFEST not in files:
        raise InputError(f"{version.md5}: has no {MANIFEST}; give the folder of patches with --path")
    path = _cached(files[MANIFEST], cache)
    if digest(path, "md5") != files[MANIFEST]:
        raise InputError(f"{path}: corrupted; delete it, then: dvc fetch --all-commits")
    try:
        return read_rows(path, PATCH_MANIFEST).set_index("patch_id"), files
    except KeyError:
        raise InputError(f"{path}: no manifest of patches, it has no patch_id; give their folder with --path") from None


def label_counts(manifest: "pd.DataFrame") -> dict[str, int]:
    """Patches that hold each class."""
    return {str(code): int(manifest[code].sum()) for code in manifest.columns if manifest[code].dtype == bool}


def compare(before: tuple["pd.DataFrame", dict[str, str]], after: tuple["pd.DataFrame", dict[str, str]]) -> DataChange:
    """What changed between two versions, each as from `read_version`."""
    old, new = before[0], after[0]
    both = old.index.intersection(new.index).sort_values()
    return DataChange(
        tuple(new.index.difference(old.index).sort_values()),
        tuple(old.index.difference(new.index).sort_values()),
        _changed(_label_sets(old)[both], _label_sets(new)[both]),
        _changed(old["split"].astype(str)[both], new["split"].astype(str)[both]),
        _redrawn(before, after, both),
    )


def _changed(before: "pd.Series", after: "pd.Series") -> dict[str, tuple[str, str]]:
    """By patch, what two columns of the same patches differ in."""
    differ = before.to_numpy() != after.to_numpy()
    return dict(zip(before.index[differ], zip(before[differ], after[differ], strict=True), strict=True))


def _redrawn(
    before: tuple["pd.DataFrame", dict[str, str]], after: tuple["pd.DataFrame", dict[str, str]], patches: "pd.Index"
) -> tuple[str, ...]:
    """Patches whose image or mask has other bytes: by DVC's digests, and of files in shards by their manifest's."""
    found: set[str] = set()
    for column, stated in (("path", "sha256"), ("mask_path", "mask_sha256")):
        versions = []
        for frame, files in (before, after):
            rows = frame.reindex(index=patches, columns=[column, stated])
            digests = [said if isinstance(said, str) else None for said in rows[stated]]
            versions.append(list(zip(map(files.get, rows[column]), digests, strict=True)))
        for patch, old, new in zip(patches, *versions, strict=True):
            known = 0 if old[0] and new[0] else 1
            if old[known] != new[known]:
                found.add(patch)
    return tuple(patch for patch in patches if patch in found)


def cache_folder(root: Path) -> Path:
    """Where DVC keeps the files of this project.

    Raises:
        InputError: this is no DVC project.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            return Path(repo.cache.local.path).parent.parent
    except DvcException as error:
        raise InputError(f"{root}: {error}; run from the project's root") from None


def _label_sets(frame: "pd.DataFrame") -> "pd.Series":
    """By patch, the label set, "TE;LYM?"."""
    import pandas as pd

    return pd.Series(label_sets(frame, label_counts(frame)), index=frame.index, dtype=object)


def _cached(md5: str, cache: Path) -> Path:
    name = md5.removesuffix(".dir")
    if not (len(name) == 32 and name.isalnum()):
        raise InputError(f"dvc.lock: {md5!r} is no md5; restore dvc.lock from git")
    path = cache / "files/md5" / name[:2] / md5[2:]
    if not path.is_file():
        raise InputError(f"{md5} is not in {cache}; get it: dvc fetch --all-commits")
    return path


def _history(root: Path) -> Iterator[tuple[str, str, str]]:
    """Commit, date and subject of the commits that changed dvc.lock, newest first."""
    for line in _git(root, "log", f"--format={_FIELDS}", "--", LOCK).splitlines():
        commit, date, subject = line.split("\t", 2)
        yield commit, date, subject


def _locked(root: Path, revision: str, path: str) -> dict[str, Any] | None:
    """The entry of an out in a revision's dvc.lock, None if it has none or a broken one."""
    try:
        entry = locked_entries(_git(root, "show", f"{revision}:./{LOCK}")).get(path)
    except InputError:
        return None
    sound = entry is not None and all(isinstance(entry.get(key, 0), int) for key in ("size", "nfiles"))
    return entry if sound else None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    if done.returncode:
        says = done.stderr.decode("utf-8", "replace").strip()
        raise InputError(f"{root}: git {arguments[0]}: {says}; run from the project's root")
    return done.stdout.decode("utf-8", "replace")
