"""What changed in the labels, in words, out of a real git history; and what a run says of its labels."""

import subprocess

import pandas as pd
import pytest

from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.labelling import Journal, Journals, journal_path, new_entry
from wsss_mm.patches import get_vocabulary, write_manifest
from wsss_mm.tracking.label_versions import journals_line, label_change, label_tags, labels_at

LUNG = get_vocabulary("lung")


@pytest.fixture
def say(tmp_path):
    def said(reader, x, states, slide="s1", **fields):
        entry = new_entry("answer", slide=slide, x=x, y=0, mpp=1.0, size=224, classes=states, **fields)
        return Journal(journal_path(reader, tmp_path / "labels"), reader).append([entry])[0]

    return said


@pytest.fixture
def commit(tmp_path):
    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *who, *arguments], check=True, capture_output=True, cwd=tmp_path, text=True)
        return done.stdout.strip()

    def made():
        git("add", "-A")
        git("commit", "--allow-empty", "-qm", "said")
        return git("rev-parse", "HEAD")

    git("init", "-q")
    return made


def test_in_words(say, commit, tmp_path):
    nothing = commit()
    for x in range(61):
        say("ann", x, {"LYM": "present", "TE": "absent"})
    first = commit()
    for x in range(100, 220):
        reader, slide = ("ann", "s2") if x < 150 else ("bob", f"s{x % 2 + 3}")
        say(reader, x, {"LYM": "present" if x < 132 else "absent"}, slide)
    for x in range(5):
        say("ann", x, {"LYM": "absent", "TE": "absent"})
    for x in range(5, 14):
        say("bob", x, {"LYM": "present", "TE": "present"})
    second = commit()
    say("ann", 0, {"LYM": "absent", "TE": "absent"})
    third = commit()
    assert journals_line(tmp_path, (nothing, nothing)) is None
    assert journals_line(tmp_path, (None, first)) == "+61 labels of 1 slide by one reader; LYM 0 -> 61"
    assert (
        journals_line(tmp_path, (first, second)) == "+120 labels of 3 slides by two readers; 14 changed; LYM 61 -> 88"
    )
    assert journals_line(tmp_path, (second, third)) == "the same labels"
    assert journals_line(tmp_path, (second, nothing)) == "-181 labels; LYM 88 -> 0"


def test_of_a_commit_and_not_of_the_folder(say, commit, tmp_path):
    say("ann", 0, {"TE": "present"})
    first = commit()
    say("ann", 1, {"TE": "present"})
    (tmp_path / "labels/README.md").write_text("")
    second = commit()
    say("ann", 2, {"TE": "present"})
    assert [len(labels_at(tmp_path, name).answers()) for name in (first, second)] == [1, 2]
    assert label_change(Journals(), labels_at(tmp_path, second)).readers == ("ann",)


def test_a_damaged_journal_is_told_of_and_hides_no_other_version(say, commit, tmp_path):
    say("ann", 0, {"TE": "present"})
    (tmp_path / "labels/ann.jsonl").write_text((tmp_path / "labels/ann.jsonl").read_text() + "{\n")
    damaged = commit()
    assert "ann.jsonl: line 3: damaged" in journals_line(tmp_path, (None, damaged))
    with pytest.raises(InputError, match="git ls-tree"):
        labels_at(tmp_path, "no-such")


class TestTags:
    @pytest.fixture
    def patches(self, tmp_path):
        row = {"patch_id": "s1-0-0", "slide_id": "s1", "patient_id": "p", "split": "train", "x": 0, "y": 0, "mpp": 1.0}
        row |= {"size": 224, "path": "a.png", "mask_path": None, "sha256": "0", "tissue": 1.0}
        write_manifest(pd.DataFrame([row | dict.fromkeys(LUNG.codes, True)]), tmp_path / "data/patches")
        return tmp_path / "data/patches"

    def test_of_who_labelled(self, say, patches, tmp_path):
        for x in range(4):
            say("ann", x, {"TE": "present" if x < 2 else "absent"})
            say("bob", x, {"TE": "present" if x < 2 else "absent"})
            say("eve", x, {"TE": "present"}, "another")
        say("ann", 0, {"TE": "absent"}, repeat=True)
        say("ann", 2, {"TE": "present"}, repeat=True)
        (tmp_path / "data/labels.csv").write_text("slide_id,x,y,labels\n")
        assert label_tags(tmp_path, patches) == {
            "labels.readers": "ann, bob",
            "labels.patches": "4",
            "labels.kappa": "1.000",
            "labels.self_kappa": "-1.000",
            "labels.version": digest(tmp_path / "data/labels.csv", "md5"),
        }

    def test_of_nobody(self, say, patches, tmp_path):
        assert label_tags(tmp_path, patches) == {}
        say("eve", 0, {"TE": "present"}, "another")
        assert label_tags(tmp_path, patches) == {}
        assert label_tags(tmp_path, tmp_path / "none") == {}

    def test_a_damaged_journal_stops_no_training(self, say, patches, tmp_path, caplog):
        say("ann", 0, {"TE": "present"})
        (tmp_path / "labels/ann.jsonl").write_text("{\n")
        assert label_tags(tmp_path, patches) == {}
        assert "the run does not say who labelled: " in caplog.text
