"""Packages of JavaScript: pinned to bytes; the files of the archive by name."""

import base64
import hashlib
import io
import tarfile

import pytest

from wsss_mm.errors import InputError
from wsss_mm.npm import NpmPackage


def test_files_of_an_archive_are_read_once_it_is_checked(tmp_path):
    path = tmp_path / "a-1.tgz"
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("package/build/a.min.js")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"var"))
    integrity = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    package = NpmPackage("a", "1", integrity, setup="fetch it")
    assert package.read(path) == {"package/build/a.min.js": b"var"}
    assert package.archive.name == "a-1.tgz"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="a 1 as published; delete it, then: fetch it"):
        package.read(path)
