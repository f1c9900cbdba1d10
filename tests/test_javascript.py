"""JavaScript in packages of Python: pinned to bytes, fetched by pip; the files of the archive by name."""

import hashlib
import io
import re
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from scripts import javascript as setup
from tests import warm
from wsss_mm import javascript
from wsss_mm.errors import InputError
from wsss_mm.javascript import Bundle


def _sources(path):
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("a-1/static/a.js")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"var"))


def _wheel(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("static/a.js", b"var")


def _bundle(path):
    return Bundle("A 3", "a", "1", path.name, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture(params=["a-1.tar.gz", "a-1-py3-none-any.whl"])
def packed(request, tmp_path):
    path = tmp_path / request.param
    (_wheel if path.suffix == ".whl" else _sources)(path)
    return path


def test_files_of_an_archive_are_read_once_it_is_checked(packed):
    bundle = _bundle(packed)
    assert bundle.read(packed) == {"static/a.js": b"var"}
    assert bundle.archive.name == packed.name
    packed.write_bytes(packed.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="a 1 as published; delete it, then: make setup"):
        bundle.read(packed)
    with pytest.raises(InputError, match="missing; it holds A 3; fetch it with: make setup"):
        bundle.read(packed.with_name("none"))


def _pip(monkeypatch, brought=None, says="", code=0):
    """What stands for pip; gives the commands it was started with."""
    asked = []

    def run(command, **_):
        asked.append(command)
        if brought is not None:
            shutil.copy(brought, command[-1])
        return subprocess.CompletedProcess(command, code, "", says)

    monkeypatch.setattr(javascript.subprocess, "run", run)
    return asked


def test_what_pip_brings_is_checked_before_it_is_kept(packed, tmp_path, monkeypatch):
    bundle, target = _bundle(packed), tmp_path / "share" / packed.name
    other = tmp_path / "other" / packed.name
    other.parent.mkdir()
    other.write_bytes(b"other")
    _pip(monkeypatch, other)
    with pytest.raises(InputError, match="as published"):
        bundle.fetch(target)
    assert not target.exists()
    asked = _pip(monkeypatch, packed)
    bundle.fetch(target)
    (command,) = asked
    assert target.read_bytes() == packed.read_bytes()
    assert ("--no-binary" in command) == packed.name.endswith(".gz")
    assert {"--require-hashes", "--no-deps"} <= set(command)


def test_offline_and_without_pip_the_message_says_how_else(packed, tmp_path, monkeypatch):
    bundle, target = _bundle(packed), tmp_path / "share" / packed.name
    _pip(monkeypatch, says="WARNING: again\nERROR: No matching distribution found for a==1\n", code=1)
    with pytest.raises(InputError, match=r"A 3: pip cannot fetch a==1 \(ERROR: No matching .*put a-1\S+ at ") as raised:
        bundle.fetch(target)
    assert "\n" not in str(raised.value)
    monkeypatch.setattr(javascript.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip, which fetches it, is missing; .*pip download .* a==1` elsewhere"):
        bundle.fetch(target)
    assert not target.exists()


def test_setup_says_what_it_cannot_fetch_and_goes_on(tmp_path, monkeypatch, capsys):
    def offline(*_):
        raise InputError("pip cannot fetch it")

    monkeypatch.setattr(setup, "get_archive", offline)
    monkeypatch.setattr(setup, "download", offline)
    monkeypatch.setattr(setup, "shared_folder", lambda: tmp_path)
    assert setup.main() == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(";")[0] for line in said] == ["setup: pip cannot fetch it", "setup: goes on"] * 2
    assert "wsss-mm serve" in said[1]
    assert "dvc plots" in said[3]


def test_dvc_is_told_in_a_folder_with_umlauts(tmp_path, monkeypatch):
    root = tmp_path / "Größe 1"
    page = root / ".venv" / "share" / f"plots-{setup.VEGA_VERSION}.html"
    page.parent.mkdir(parents=True)
    page.touch()
    monkeypatch.setattr(setup, "shared_folder", lambda: page.parent)
    monkeypatch.chdir(root)
    subprocess.run([warm.dvc(), "init", "-q", "--no-scm"], check=True)
    setup.plots()
    (told,) = re.findall("html_template = (.*)", (root / ".dvc" / "config.local").read_text(encoding="utf-8"))
    assert (root / ".dvc" / told).resolve() == page


def test_the_page_of_plots_holds_its_script_and_dvc_is_told(tmp_path, monkeypatch):
    asked = _pip(monkeypatch)
    monkeypatch.setattr(setup, "read_archive", lambda _: {})
    monkeypatch.setattr(setup, "get_archive", lambda: None)
    monkeypatch.setattr(setup, "vega", lambda: "var a = '</script>';")
    monkeypatch.setattr(setup, "shared_folder", lambda: tmp_path)
    assert setup.main() == 0
    (page,) = tmp_path.iterdir()
    text = page.read_text(encoding="utf-8")
    assert text.count("</script>") == 1
    assert "{plot_divs}" in text
    assert "http" not in text
    *command, told = asked[-1][1:]
    assert command == ["config", "--local", "plots.html_template"]
    assert Path(".dvc", told).resolve() == page
    monkeypatch.setattr(setup, "vega", None)  # it is there
    assert setup.main() == 0
