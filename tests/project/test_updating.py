"""`wsss-mm update`: a newer version's files come, a lab's changes stay, and nothing is lost without a word."""

import json
import subprocess

import pytest

from wsss_mm import __version__
from wsss_mm.cli.main import main
from wsss_mm.errors import InputError
from wsss_mm.places import PROJECT_NOTE
from wsss_mm.project import starting, updating
from wsss_mm.project.note import read_note
from wsss_mm.project.updating import apply_update, plan_update

OLD = {
    "same.txt": "a\n",
    "theirs.txt": "one\ntwo\n",
    "mine.txt": "one\ntwo\n",
    "both.txt": "".join(f"line {number}\n" for number in range(20)),
    "clash.txt": "one\ntwo\nthree\n",
    "deleted.txt": "gone here\n",
    "leaves.txt": "no longer brought\n",
    "stays.txt": "no longer brought\n",
    "requirements.lock": "six==1\n",
    "code/cohort.sha256": "1  a\n",
}
NEW = {
    "same.txt": "a\n",
    "theirs.txt": "one\nTWO\n",
    "mine.txt": "one\ntwo\n",
    "both.txt": OLD["both.txt"].replace("line 17", "line seventeen"),
    "clash.txt": "one\nZWEI\nthree\n",
    "deleted.txt": "changed there\n",
    "requirements.lock": "six==2\n",
    "code/cohort.sha256": "2  a\n",
    "newly.txt": "new\n",
    "taken.txt": "theirs\n",
}
MINE = {
    "mine.txt": "one\n2\n",
    "both.txt": OLD["both.txt"].replace("line 2\n", "line two\n"),
    "clash.txt": "one\ndeux\nthree\n",
    "stays.txt": "changed here\n",
    "taken.txt": "mine\n",
}
KINDS = {
    "theirs.txt": "changed",
    "both.txt": "joined",
    "clash.txt": "conflict",
    "leaves.txt": "removed",
    "requirements.lock": "changed",
    "code/cohort.sha256": "changed",
    "newly.txt": "new",
    "taken.txt": "conflict",
}


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A project of an old version in which somebody worked, and a newer package."""
    root = tmp_path / "lab ä"
    monkeypatch.setattr(starting, "shipped", lambda: OLD)
    starting.start_project(root)
    for path, text in MINE.items():
        (root / path).write_text(text)
    (root / "deleted.txt").unlink()
    monkeypatch.setattr(updating, "shipped", lambda: NEW)
    monkeypatch.chdir(root)
    return root


def texts(root):
    return {
        path.relative_to(root).as_posix(): path.read_text()
        for path in root.rglob("*")
        if path.is_file() and path.name != PROJECT_NOTE.name
    }


def test_what_becomes_of_each_file(lab):
    found = plan_update(lab)
    assert {path: change.kind for path, change in found.changes.items()} == KINDS
    assert found.conflicts == ["clash.txt", "taken.txt"]
    assert found.before == __version__


def test_the_dry_run_shows_all_of_it_and_writes_nothing(lab, capsys):
    before, note = texts(lab), (lab / PROJECT_NOTE).read_bytes()
    assert main(["update"]) == main(["update", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "-two\n+TWO\n" in out
    assert "-line 17\n+line seventeen\n" in out
    assert "conflict clash.txt\n--- clash.txt (given)\n+++ clash.txt (brought)\n" in out  # what the package changed
    assert "-two\n+ZWEI\n" in out
    assert "would run again, as the code they rest on is another: cohort" in out
    assert "next: wsss-mm update --apply" in out
    assert (texts(lab), (lab / PROJECT_NOTE).read_bytes()) == (before, note)


def test_apply_writes_all_but_the_conflicts(lab, capsys):
    assert main(["update", "--apply"]) == 1
    wanted = {**OLD, **NEW, **MINE}
    wanted["both.txt"] = MINE["both.txt"].replace("line 17", "line seventeen")
    del wanted["leaves.txt"], wanted["deleted.txt"]
    assert texts(lab) == wanted
    assert "2 in conflict, left as yours" in capsys.readouterr().out
    assert plan_update(lab).conflicts == ["clash.txt", "taken.txt"]  # still, and nothing else
    assert set(plan_update(lab).changes) == {"clash.txt", "taken.txt"}
    assert main(["update", "--check"]) == 1
    error = capsys.readouterr().err
    assert error == "2 files to be updated or settled; look at them with: wsss-mm update\n"
    assert main(["update"]) == 0  # no more that --apply would write
    out = capsys.readouterr().out
    assert "would change" not in out
    assert "next:" not in out


def test_conflicts_are_kept_or_taken(lab, capsys):
    assert main(["update", "--keep", "clash.txt", "--take", "taken.txt"]) == 0
    assert (lab / "clash.txt").read_text() == MINE["clash.txt"]
    assert (lab / "taken.txt").read_text() == NEW["taken.txt"]
    assert main(["update", "--check"]) == 0
    capsys.readouterr()
    assert main(["update"]) == 0
    assert capsys.readouterr().out.startswith("nothing to change")
    assert main(["update", "--apply"]) == 0


def test_one_settled_after_the_other(lab):
    assert apply_update(lab, keep=["clash.txt"]).conflicts == ["taken.txt"]
    assert list(plan_update(lab).changes) == ["taken.txt"]
    assert apply_update(lab, take=["taken.txt"]).conflicts == []
    assert plan_update(lab).changes == {}


def test_a_change_made_by_hand_settles_it(lab):
    (lab / "clash.txt").write_text(NEW["clash.txt"])
    (lab / "taken.txt").write_text(NEW["taken.txt"])
    assert plan_update(lab).conflicts == []


def test_the_next_version_is_joined_with_what_was_settled(lab, monkeypatch):
    apply_update(lab, keep=["clash.txt", "taken.txt"])
    monkeypatch.setattr(updating, "shipped", lambda: {**NEW, "clash.txt": "ONE\nZWEI\nthree\n", "mine.txt": "1\ntwo\n"})
    assert {path: change.kind for path, change in plan_update(lab).changes.items()} == {
        "clash.txt": "conflict",  # lines beside each other
        "mine.txt": "conflict",
    }


def test_lists_of_code_are_the_packages_whatever_somebody_wrote(lab):
    apply_update(lab)
    (lab / "code/cohort.sha256").unlink()
    assert [change.kind for change in plan_update(lab).changes.values() if change.path.startswith("code/")] == ["new"]
    apply_update(lab)
    assert (lab / "code/cohort.sha256").read_text() == NEW["code/cohort.sha256"]


def test_links_and_modes_stay(lab, tmp_path):
    shared = tmp_path / "shared.txt"
    (lab / "theirs.txt").rename(shared)
    (lab / "theirs.txt").symlink_to(shared)
    (lab / "both.txt").chmod(0o755)
    apply_update(lab)
    assert (lab / "theirs.txt").is_symlink()
    assert shared.read_text() == NEW["theirs.txt"]
    assert (lab / "both.txt").stat().st_mode & 0o777 == 0o755


def test_bytes_that_are_no_utf8_stay(lab):
    (lab / "both.txt").write_bytes(b"M\xfcller\n" + OLD["both.txt"].encode())
    apply_update(lab)
    assert (lab / "both.txt").read_bytes() == b"M\xfcller\n" + NEW["both.txt"].encode()


def test_without_git_what_both_changed_is_a_conflict(lab, monkeypatch):
    def no_git(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", no_git)
    assert plan_update(lab).conflicts == ["both.txt", "clash.txt", "taken.txt"]


def test_refusals(lab, capsys, tmp_path, monkeypatch):
    for arguments, message in (
        (["--keep", "both.txt"], "both.txt: is not in conflict; `wsss-mm update` shows what is"),
        (["--take", "../x"], "../x: is not in conflict"),
        (["--keep", "clash.txt", "--take", "clash.txt"], "clash.txt: can be kept or taken, not both"),
        (["--apply", "--check"], "--dry-run and --check write nothing"),
    ):
        assert main(["update", *arguments]) == 2
        assert message in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert main(["update"]) == 2
    assert ".wsss-mm.json: not found; begin a project with: wsss-mm init FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"digests": []}, "damaged: digests is no section of texts"),
        ({"texts": {"a": 1}}, "damaged: texts is no section of texts"),
        ({"digests": {"../../etc/passwd": "0"}}, "leads out of the project"),
        ({"digests": {"/etc/passwd": "0"}}, "leads out of the project"),
        ({"format": 99}, "newer than wsss_mm"),
    ],
)
def test_a_damaged_note_is_named(lab, change, message):
    path = lab / PROJECT_NOTE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        read_note(lab)
    with pytest.raises(InputError, match=message):
        apply_update(lab)
