"""`wsss-mm init`: a folder becomes a project of its own, whole or not at all."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from wsss_mm import __version__
from wsss_mm.cli.main import main
from wsss_mm.errors import InputError
from wsss_mm.places import PROJECT_NOTE
from wsss_mm.preflight import check_code
from wsss_mm.project import shipped, starting
from wsss_mm.project.note import read_note
from wsss_mm.project.starting import start_project


def files_in(folder):
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("where", "there"), [(".", ""), ("a lab", "cd 'a lab'; ")])
def test_what_to_type_next_begins_where_one_is(where, there, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["init", where]) == 0
    assert f"\nnext: {there}git add -A; git commit -m 'Begin'; make repro\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["lab", "Müllers Labor, Gewebe"])
def test_a_project_is_begun(tmp_path, name, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["init", f"below/{name}"]) == 0
    folder = tmp_path / "below" / name
    found = {path: file for path, file in files_in(folder).items() if not path.startswith(".git/")}
    given = shipped.shipped()
    assert {path: file.read_text(encoding="utf-8") for path, file in found.items() if path != ".wsss-mm.json"} == given
    assert not list(folder.rglob(".init*"))
    for path in (
        "dvc.yaml",
        "params.yaml",
        "gates.yaml",
        "mmconfigs/segmenter.py",
        "pipelines/cohort.py",
        ".dvc/config",
    ):
        assert path in found
    assert {"vocabularies/lung.yaml", "Makefile", ".gitignore", "labels/README.md", "pretrained/None"} <= set(found)
    assert read_note(folder).version == __version__
    assert (folder / ".git").is_dir()
    out = capsys.readouterr().out
    assert "make repro" in out
    assert ("cd below/lab;" if name == "lab" else f"cd 'below/{name}';") in out
    assert main(["init", f"below/{name}"]) == 2
    assert "is a project of wsss_mm 0.1.0 already; to bring it up to date: wsss-mm update" in capsys.readouterr().err


def test_what_a_lab_has_is_not_what_is_in_this_checkout():
    """Labels, quarantine and champion of who builds the package stay with them."""
    given = shipped.shipped()
    assert given["data/labels.csv"].count("\n") == 1
    assert given["data/quarantine.csv"].count("\n") == 1
    assert '"champion": null' in given["champion.json"]
    assert [
        pattern for pattern in shipped.patterns() if pattern.startswith(("data/labels", "data/q", "champion"))
    ] == []


def test_what_a_lab_sets_up_with_is_the_package(project_root):
    given = shipped.shipped()
    assert f"\nwsss-mm[line]=={__version__}\n" in given["requirements.in"]
    assert "\n.[line]\n" in (project_root / "requirements.in").read_text(encoding="utf-8")
    assert given["requirements.lock"] == (project_root / "requirements.lock").read_text(encoding="utf-8")
    assert "wsss-mm" not in given["requirements.lock"]


def test_commands_of_the_labs_makefile_are_those_of_this_one(project_root):
    ours = (project_root / "Makefile").read_text(encoding="utf-8")
    theirs = shipped.shipped()["Makefile"]

    def recipes(text):
        found = {}
        for block in text.split("\n\n"):
            head, *lines = block.splitlines() or [""]
            found[head.partition(":")[0]] = [line for line in lines if line.startswith("\t")]
        return found

    for target in ("help", "repro", "ui", "upper-bound"):
        assert recipes(theirs)[target] == recipes(ours)[target], target
    assert set(recipes(theirs)) - {"SHELL "} >= {"setup", "check"}


def test_every_file_that_stages_name_is_there(tmp_path):
    """All dependencies that no stage makes, with the values of the default profile."""
    start_project(tmp_path / "lab")
    stages = yaml.safe_load((tmp_path / "lab/dvc.yaml").read_text(encoding="utf-8"))["stages"]
    deps = {dep for stage in stages.values() if "foreach" not in stage for dep in stage["deps"]}
    deps |= {file for item in stages["gate"]["foreach"].values() for file in item["files"]}
    made = ("data/", "models/", "reports/", "results/")
    missing = [
        dep for dep in deps if "$" not in dep and not dep.startswith(made) and not (tmp_path / "lab" / dep).exists()
    ]
    assert missing == []
    assert (tmp_path / "lab/data/quarantine.csv").is_file()


class TestRefusals:
    def test_a_folder_that_holds_something(self, tmp_path):
        (tmp_path / "lab").mkdir()
        (tmp_path / "lab/notes.txt").write_text("mine")
        with pytest.raises(InputError, match=r"lab: holds notes\.txt; name a folder that is new or empty"):
            start_project(tmp_path / "lab")
        assert [path.name for path in (tmp_path / "lab").iterdir()] == ["notes.txt"]

    def test_a_file(self, tmp_path):
        (tmp_path / "lab").write_text("mine")
        with pytest.raises(InputError, match="lab: is no folder; name one that is new or empty"):
            start_project(tmp_path / "lab")

    def test_but_an_empty_one_or_an_empty_repository_is_fine(self, tmp_path):
        (tmp_path / "lab").mkdir()
        for name in (".git", ".venv"):
            (tmp_path / "cloned" / name).mkdir(parents=True)
        for name in ("lab", "cloned"):
            start_project(tmp_path / name)
            assert (tmp_path / name / PROJECT_NOTE).is_file()

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_one_that_cannot_be_written_to(self, tmp_path):
        (tmp_path / "lab").mkdir(mode=0o500)
        with pytest.raises(InputError, match="no permission to write"):
            start_project(tmp_path / "lab")

    def test_a_disk_that_fills_up_leaves_nothing(self, tmp_path, monkeypatch):
        written = []

        def full(path, text):
            written.append(path)
            if len(written) == 20:
                raise InputError(f"{path}: no space left on device")

        monkeypatch.setattr("wsss_mm.project.starting.write_text", full)
        with pytest.raises(InputError, match="no space"):
            start_project(tmp_path / "above/lab")
        assert not (tmp_path / "above/lab").exists()


class TestCodeOfAnotherVersion:
    def test_stages_refuse_it(self, tmp_path):
        start_project(tmp_path)
        check_code(tmp_path)
        path = tmp_path / "code/cohort.sha256"
        path.write_text(path.read_text().replace("  wsss_mm/errors.py", "0  wsss_mm/errors.py"))
        with pytest.raises(InputError) as error:
            check_code(tmp_path)
        assert str(error.value) == (
            f"code: wsss_mm/errors.py of the installed wsss_mm {__version__} is another; bring the project up to date: "
            "wsss-mm update"
        )

    def test_a_checkout_watches_its_own_files(self, project_root):
        assert not (project_root / "code").exists()
        check_code(project_root)


def test_two_that_begin_one_at_the_same_time_leave_one_whole_project(tmp_path, monkeypatch):
    folder, files = tmp_path / "lab", {"a.txt": "a\n", "b/c.txt": "c\n"}

    def while_another_begins_it():
        monkeypatch.setattr(starting, "shipped", lambda: files)
        start_project(folder)
        return files

    monkeypatch.setattr(starting, "shipped", while_another_begins_it)
    with pytest.raises(InputError, match="is a project of wsss_mm"):
        start_project(folder)
    assert set(files_in(folder)) == {*files, ".wsss-mm.json"}


KILLED = """
import os, signal, sys
from pathlib import Path
from wsss_mm.project import starting

left = [int(sys.argv[3])]

def dying(original):
    def call(*args):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args)
    return call

if sys.argv[2] == "rename":
    note = starting.write_note
    def write_note(*args):
        note(*args)
        Path.rename = dying(Path.rename)
    starting.write_note = write_note
else:
    setattr(starting, sys.argv[2], dying(getattr(starting, sys.argv[2])))
starting.start_project(Path(sys.argv[1]))
"""


def killed(folder, *moment):
    """What is left in a folder whose `init` was killed (SIGKILL) at a moment."""
    done = subprocess.run([sys.executable, "-c", KILLED, folder, *moment], check=False)
    assert done.returncode == -signal.SIGKILL
    assert any(path.name.startswith(".init.") for path in folder.iterdir())


def is_whole(folder):
    found = files_in(folder)
    found.pop(".wsss-mm.json")
    return {path: file.read_text(encoding="utf-8") for path, file in found.items()} == shipped.shipped()


@pytest.mark.parametrize(
    "moment", [("write_text", "1"), ("write_text", "30"), ("rename", "1"), ("rename", "8")], ids=str
)
def test_what_a_killed_one_left_is_in_nobodys_way(tmp_path, moment):
    folder = tmp_path / "lab"
    (folder / ".git").mkdir(parents=True)
    killed(folder, *moment)
    start_project(folder)
    assert is_whole(folder)
    assert not list(folder.glob(".init.*"))


def test_killed_twice(tmp_path):
    killed(tmp_path, "rename", "8")
    killed(tmp_path, "rename", "3")
    killed(tmp_path, "write_text", "3")
    start_project(tmp_path)
    assert is_whole(tmp_path)


@pytest.mark.parametrize("mine", ["notes.txt", "moved", "added", "inside", "link"])
def test_what_somebody_wrote_beside_it_is_kept(tmp_path, mine):
    killed(tmp_path, "rename", "8")
    (moved,) = [path for path in sorted(tmp_path.iterdir()) if path.is_dir() and path.name[0] != "."][:1]
    (hidden,) = tmp_path.glob(".init.*")
    path = {
        "notes.txt": tmp_path / "notes.txt",
        "moved": next(path for path in moved.rglob("*") if path.is_file()),
        "added": moved / "notes.txt",
        "inside": hidden / "notes.txt",
        "link": moved / "notes.txt",
    }[mine]
    path.symlink_to("/etc/passwd") if mine == "link" else path.write_text("mine")
    before = sorted(path for path in tmp_path.rglob("*") if path.name != f".{PROJECT_NOTE.name}.lock")
    with pytest.raises(InputError, match="name a folder that is new or empty"):
        start_project(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    assert mine == "link" or path.read_text() == "mine"


def test_what_another_is_writing_is_waited_for(tmp_path, monkeypatch):
    """Its hidden folder is not taken for one that was left."""
    folder, go = tmp_path / "lab", threading.Event()
    begun, write = threading.Event(), starting.write_note

    def slow(*args):
        begun.set()
        assert go.wait(60)
        write(*args)

    monkeypatch.setattr(starting, "write_note", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(start_project, folder)
        assert begun.wait(60)
        second = pool.submit(start_project, folder)
        with pytest.raises(TimeoutError):
            second.result(1)
        go.set()
        assert first.result(60)
        with pytest.raises(InputError, match="is a project of wsss_mm"):
            second.result(60)
    assert is_whole(folder)
