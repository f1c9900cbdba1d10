"""Shards: the files of many patches in one, a plain tar of the same PNGs, read by place and without an index.

A hundred thousand small files are slow to add, to push and to check; a few hundred large ones are not. The path of a
file in a shard says where it lies: `images/train/S01-000.tar/S01-0-0.png@1536+40321` is the file S01-0-0.png of
images/train/S01-000.tar, whose 40321 bytes begin at byte 1536, behind their tar header, which has to agree. Whoever
opens, digests or looks for a patch by such a path asks here, and need not know which kind of path it is. Any program
that opens a tar reads one.
"""

import hashlib
import io
import os
import re
import stat
import tarfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pandas as pd

from wsss_mm.errors import InputError
from wsss_mm.files import digest, is_file, leads_outside
from wsss_mm.places import Artefact

ENDING = ".tar"
MOST_PATCHES = 2000
"""In a shard, of which a change of one patch makes all of it be stored again: some 150 MB of 224 px."""
FEW_PATCHES = 100
"""A slide with fewer shares shards with others: of many data sets nobody knows the slides, and each patch is one."""
MOST_BYTES = 1 << 28
"""Of a file in a shard: no PNG of `wsss_mm.patches.images.MAX_PIXELS` is larger."""
MOST_FILES = 50_000
"""More patches than these lie in shards, unless somebody says otherwise; published data sets of patches have fewer."""
FIRST_FORMAT = 1
"""Of manifests that name no shard, so that older releases read on what they can."""

_BLOCK = tarfile.BLOCKSIZE
_PLACE = re.compile(r"(?P<name>.+)@(?P<offset>[1-9][0-9]{0,17})\+(?P<size>0|[1-9][0-9]{0,17})")
_NAME, _SIZE, _MAGIC = slice(0, 100), slice(124, 136), slice(257, 262)  # of a tar header
_AGAIN = "run: dvc checkout, or make it again with its manifest: dvc repro -f patches, or -f pseudo_labels"


@dataclass(frozen=True)
class PackedFile:
    """A file in a shard: `size` bytes from `offset` on."""

    shard: Path
    name: str
    offset: int
    size: int

    @classmethod
    def of(cls, path: Path | PurePosixPath) -> "PackedFile | None":
        """The one that a path names; None if it is that of a file by itself."""
        if path.parent.suffix != ENDING or not (found := _PLACE.fullmatch(path.name)):
            return None
        return cls(Path(path.parent), found["name"], int(found["offset"]), int(found["size"]))

    def read(self, count: int | None = None) -> bytes:
        """The first `count` bytes, or all.

        Raises:
            InputError: the shard is missing, cut short, no file, or holds something else at this place.
        """
        if self.offset % _BLOCK or self.size > MOST_BYTES:
            raise InputError(f"{self.shard}: {self.name} cannot lie at byte {self.offset} with {self.size}; {_AGAIN}")
        try:
            handle = os.open(self.shard, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # no pipe is waited for
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{self.shard}: not found, though the manifest names it; {_AGAIN}") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{self.shard}: cannot be read ({reason}); look at the file and its rights") from None
        try:
            return self._read(handle, self.size if count is None else min(count, self.size))
        finally:
            os.close(handle)

    def _read(self, handle: int, count: int) -> bytes:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"{self.shard}: is no file; {_AGAIN}")
        if self.offset + self.size > found.st_size:
            raise InputError(
                f"{self.shard}: cut short: {self.name} ends at byte {self.offset + self.size} of {found.st_size}; "
                f"{_AGAIN}"
            )
        header = os.pread(handle, _BLOCK, self.offset - _BLOCK)
        name, size = header[_NAME].rstrip(b"\0"), header[_SIZE].rstrip(b"\0 ")
        if header[_MAGIC] != b"ustar" or name != self.name.encode()[:100] or size != b"%011o" % self.size:
            raise InputError(f"{self.shard}: holds something else than {self.name} at byte {self.offset}; {_AGAIN}")
        return os.pread(handle, count, self.offset)


def stored_source(path: Path) -> Path | io.BytesIO:
    """What a decoder opens: the path, or the bytes of a file in a shard.

    Raises:
        InputError: see `PackedFile.read`.
    """
    packed = PackedFile.of(path)
    return path if packed is None else io.BytesIO(packed.read())


def file_of(path: Path) -> Path:
    """The file on the disk that holds it: the shard, or the path itself."""
    packed = PackedFile.of(path)
    return path if packed is None else packed.shard


def name_outside(path: str) -> str:
    """What a file is called where nobody knows of shards: its path, or its name in the shard."""
    packed = PackedFile.of(PurePosixPath(path))
    return path if packed is None else packed.name


def is_stored(path: Path) -> bool:
    """Whether there is such a file, by itself or in a shard; a name from data may be none that a file can have."""
    packed = PackedFile.of(path)
    if packed is None:
        return is_file(path)
    try:
        packed.read(0)
    except InputError:
        return False
    return True


def is_stored_inside(folder: Path, relative: object) -> bool:
    """Whether `relative` names a file in `folder`, by itself or in a shard, and leads nowhere else."""
    if not isinstance(relative, str) or not relative:
        return False
    return is_stored(folder / relative) and not leads_outside(file_of(folder / relative), folder)


def stored_digest(path: Path) -> str:
    """sha256 in hex of a file, by itself or in a shard.

    Raises:
        InputError: see `PackedFile.read`.
    """
    packed = PackedFile.of(path)
    return digest(path) if packed is None else hashlib.sha256(packed.read()).hexdigest()


def any_packed(paths: Iterable[object]) -> bool:
    """Whether any of the paths of a manifest leads into a shard."""
    texts = (path for path in paths if isinstance(path, str) and f"{ENDING}/" in path)  # the cheap question first
    return any(PackedFile.of(PurePosixPath(path)) is not None for path in texts)


def manifest_format(of: Artefact, paths: Iterable[object]) -> Artefact:
    """The format that a manifest of these paths has: releases that know no shards would miss their files."""
    return of if any_packed(paths) else replace(of, format=FIRST_FORMAT)


def store_as(storage: str, rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Leave images and masks as they are written, each by itself, or put them into shards (see `pack_files`).

    Args:
        storage: `patches.storage`: files, shards, or auto, which is shards beyond `MOST_FILES` patches.
        rows: of the manifest.
        folder: where their paths start.

    Returns:
        The rows, as they lie then.
    """
    if storage == "files" or (storage == "auto" and len(rows) <= MOST_FILES):
        return rows
    return pack_files(rows, folder, ("path", "mask_path"))


def pack_files(rows: pd.DataFrame, folder: Path, columns: Collection[str]) -> pd.DataFrame:
    """Put the files of patches into shards, beside which they lay; equal files give equal shards, to the byte.

    A shard holds patches of one slide, in the order of their ids, or of several that have few, by the beginning of
    their ids' digests: what changes a slide leaves the shards of others as they are.

    Args:
        rows: of a manifest, with patch_id and slide_id.
        folder: where their paths start; the files are deleted one after another, so that little space is needed.
        columns: that name files; None where a patch has none.

    Returns:
        The rows, whose columns name the places in the shards.
    """
    packed = rows.copy()
    for column in columns:
        named = rows[rows[column].notna()].sort_values("patch_id", kind="stable")
        parents = named[column].map(lambda path: PurePosixPath(path).parent.as_posix())
        places: dict[str, str] = {}
        for where, group in named.groupby([parents, _shards_of(named["slide_id"], parents)], sort=True)[column]:
            stem, paths = "/".join(map(str, where)), group.tolist()
            for number, start in enumerate(range(0, len(paths), MOST_PATCHES)):
                places |= _write_shard(folder, f"{stem}-{number:03d}{ENDING}", paths[start : start + MOST_PATCHES])
        packed[column] = pd.Series([places.get(path) for path in rows[column]], dtype=object, index=rows.index)
    return packed


def _shards_of(slides: pd.Series, parents: pd.Series) -> pd.Series:
    """What shards are called without their number; no slide is called as those that several share."""
    counts = slides.groupby([parents, slides]).transform("size")
    shared = slides.map(lambda name: f"few/{hashlib.sha256(str(name).encode()).hexdigest()[:2]}")
    return slides.astype(str).where(counts >= FEW_PATCHES, shared).rename("shard")


def _write_shard(folder: Path, shard: str, paths: Sequence[str]) -> dict[str, str]:
    """Move files into a shard; what their paths become."""
    (folder / shard).parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / shard, "x", format=tarfile.PAX_FORMAT) as archive:
        return dict(_moved(archive, folder, shard, paths))


def _moved(archive: tarfile.TarFile, folder: Path, shard: str, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    for path in paths:
        content = (folder / path).read_bytes()
        header = tarfile.TarInfo(PurePosixPath(path).name)  # neither time, owner nor group
        header.size, header.mode = len(content), 0o644
        archive.addfile(header, io.BytesIO(content))
        (folder / path).unlink()
        offset = archive.offset - -(-header.size // _BLOCK) * _BLOCK
        yield path, f"{shard}/{header.name}@{offset}+{header.size}"
