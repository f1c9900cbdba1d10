"""The script comes from a checked archive, and what is missing is said in one line."""

import shutil
import sys

import pytest

from wsss_mm.errors import InputError
from wsss_mm.wsi.viewer import openseadragon
from wsss_mm.wsi.viewer.openseadragon import archive_path, fetch_archive, read_archive


def test_only_the_script_and_its_pictures_are_read(archive):
    assert read_archive(archive) == {"openseadragon.min.js": b"var OpenSeadragon;", "images/home_rest.png": b"png"}


def test_an_altered_archive_is_refused(archive):
    archive.write_bytes(archive.read_bytes() + b"x")
    with pytest.raises(InputError, match="as published"):
        read_archive(archive)


def test_a_missing_archive_names_the_command(tmp_path):
    with pytest.raises(InputError, match="wsss-mm view --setup"):
        read_archive(tmp_path / "none.tgz")


def test_without_npm_the_message_says_how_else(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(InputError, match=r"npm pack openseadragon@\d"):
        fetch_archive(tmp_path / "a.tgz")


def _npm(tmp_path, monkeypatch, body):
    """A command that stands for npm: arguments are pack NAME --silent --pack-destination FOLDER."""
    script = tmp_path / "npm"
    script.write_text(f"#!{sys.executable}\nimport pathlib, shutil, sys\nfolder = pathlib.Path(sys.argv[5])\n{body}\n")
    script.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(script))


def test_npms_archive_is_checked_before_it_is_kept(tmp_path, monkeypatch, archive):
    target = tmp_path / "share" / archive.name
    _npm(tmp_path, monkeypatch, f"(folder / {archive.name!r}).write_bytes(b'other')")
    with pytest.raises(InputError, match="as published"):
        fetch_archive(target)
    assert not target.exists()
    _npm(tmp_path, monkeypatch, f"shutil.copy({str(archive)!r}, folder)")
    fetch_archive(target)
    assert target.read_bytes() == archive.read_bytes()


def test_npm_offline(tmp_path, monkeypatch):
    _npm(tmp_path, monkeypatch, "sys.exit('getaddrinfo failed')")
    with pytest.raises(InputError, match="getaddrinfo failed"):
        fetch_archive(tmp_path / "a.tgz")


def test_the_installed_archive_is_the_pinned_one():
    path = archive_path()
    if not path.is_file():
        pytest.skip(f"OpenSeadragon {openseadragon.VERSION} is not installed: wsss-mm view --setup")
    assert len(read_archive(path)["openseadragon.min.js"]) > 100_000
