"""The script comes from a checked archive, which is that of the package that reads the slides."""

import pytest

from wsss_mm.errors import InputError
from wsss_mm.wsi.viewer import openseadragon
from wsss_mm.wsi.viewer.openseadragon import SCRIPT, archive_path, read_archive


def test_only_the_script_and_its_pictures_are_read(archive):
    assert read_archive(archive) == {SCRIPT: b"var OpenSeadragon;", "images/home_rest.png": b"png"}


def test_an_altered_archive_is_refused(archive):
    archive.write_bytes(archive.read_bytes() + b"x")
    with pytest.raises(InputError, match="as published"):
        read_archive(archive)


def test_a_missing_archive_names_the_command(tmp_path):
    with pytest.raises(InputError, match=r"OpenSeadragon 6.*make setup"):
        read_archive(tmp_path / "none.tar.gz")


def test_it_is_the_locked_version_of_the_package(project_root):
    lock = (project_root / "requirements.lock").read_text(encoding="utf-8")
    begins = lock.index(f"{openseadragon._PACKAGE}=={openseadragon._PACKAGE_VERSION} ")
    assert f"sha256:{openseadragon.SHA256}" in lock[begins : lock.index("==", begins + 40)]


def test_the_installed_archive_is_the_pinned_one():
    path = archive_path()
    if not path.is_file():
        pytest.skip(f"OpenSeadragon {openseadragon.VERSION} is not installed: make setup")
    script = read_archive(path)[SCRIPT]
    assert script.startswith(f"//! openseadragon {openseadragon.VERSION}\n".encode())
