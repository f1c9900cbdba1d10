"""Journals keep what was said, whatever happens to machine, clock, file and branch."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_mm.errors import InputError
from wsss_mm.formats import DamagedError, NewerError, OlderError
from wsss_mm.labelling import Answer, Journal, Place, history, journal_path, new_entry, read_journals
from wsss_mm.labelling import journal_file as journals

HERE = {"slide": "s1", "x": 448, "y": 896, "mpp": 1.0, "size": 224}
PLACE = Place("s1", 448, 896, 1.0, 224)


def answer(state: str = "present", *, kind: str = "answer", **fields) -> dict:
    return new_entry(kind, **{**HERE, "classes": {"TE": state}, **fields})


@pytest.fixture
def journal(tmp_path) -> Journal:
    return Journal(tmp_path / "labels/ann.jsonl", "ann")


def states(journal: Journal) -> list[str]:
    return [found.states["TE"] for found in read_journals(journal.path.parent).answers("ann")]


class TestWhatIsWritten:
    def test_a_line_an_entry_below_one_that_says_the_format(self, journal):
        entry = answer(suggested={"TE": 0.5}, how="confirmed", seconds=1.5, drawn="useful")
        assert journal.append([entry]) == [entry["id"]]
        assert [json.loads(line) for line in journal.path.read_text(encoding="utf-8").splitlines()] == [
            {"format": 1, "reader": "ann"},
            entry,
        ]

    def test_it_is_read_as_it_was_said(self, journal):
        said = answer(suggested={"TE": 0.5}, how="confirmed", seconds=1.5, drawn="useful")
        journal.append([said])
        (found,) = read_journals(journal.path.parent).answers()
        assert found == Answer(
            said["id"], said["time"], "ann", PLACE, {"TE": "present"}, None, {"TE": 0.5}, "confirmed", 1.5, "useful"
        )

    def test_on_the_disk_before_it_returns(self, journal, monkeypatch):
        seen, sync = [], os.fsync

        def spy(handle):
            target = Path(f"/proc/self/fd/{handle}").readlink()
            seen.append((target.name, journal.path.read_bytes().count(b"\n") if journal.path.exists() else 0))
            sync(handle)

        monkeypatch.setattr(os, "fsync", spy)
        journal.append([answer(), answer()])
        assert seen[0] == ("ann.jsonl", 3)  # all lines are in the file when it is synced
        assert [name for name, _ in seen[1:]] == ["labels", journal.path.parent.parent.name]  # and so are its names
        seen.clear()
        journal.append([answer()])
        assert seen == [("ann.jsonl", 4)]

    def test_a_failed_write_leaves_nothing_of_it(self, journal, monkeypatch):
        journal.append([answer()])
        before, write = journal.path.read_bytes(), os.write

        def full(handle, data):
            if len(data) < 40:
                raise OSError(28, "No space left on device")
            return write(handle, data[:20])

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(InputError, match=r"ann\.jsonl: no space left on device"):
            journal.append([answer("absent")])
        assert journal.path.read_bytes() == before

    def test_an_unsound_entry_is_refused_and_nothing_written(self, journal):
        for wrong, why in [
            ({"classes": {"TE": "maybe"}}, "TE is 'maybe', none of present, absent, unsure"),
            ({"classes": {}}, "neither of a class nor of an artefact"),
            ({"artefact": "coffee"}, "artefact is none of pen"),
            ({"slide": "../s1"}, "slide is no slide_id"),
            ({"x": -1}, "x is no position"),
            ({"y": 1.0}, "y is no position"),
            ({"x": True}, "x is no position"),
            ({"mpp": 0}, "mpp is no size"),
            ({"mpp": float("nan")}, "mpp is no size"),
            ({"mpp": 10**400}, "mpp is no size"),
            ({"size": 0}, "size is none"),
            ({"suggested": {"TE": 1.5}}, "no probability"),
            ({"how": "guessed"}, "how is none of created, confirmed"),
            ({"seconds": -1}, "seconds is no time"),
            ({"seconds": 10**400}, "seconds is no time"),
            ({"repeat": 1}, "repeat is neither"),
            ({"kind": "guess"}, "kind is none that is known"),
            ({"id": "1"}, "id is not 32"),
            ({"time": "noon"}, "time is none"),
        ]:
            with pytest.raises(InputError, match=f"cannot be kept: .*{why}"):
                journal.append([answer(), {**answer(), **wrong}])
        with pytest.raises(InputError, match="of names no entries"):
            journal.append([new_entry("undo", of=["x"])])
        with pytest.raises(InputError, match="cannot be written as JSON"):
            journal.append([answer(note={1, 2})])
        assert not journal.path.exists() or journal.path.read_bytes() == b""

    def test_a_clock_that_was_set_back_changes_no_order(self, journal):
        journal.append([{**answer("present"), "time": "2026-01-02T00:00:00.000Z"}])
        journal.append([{**answer("absent"), "time": "2026-01-01T00:00:00.000Z"}])
        assert states(journal) == ["absent"]


class TestWhatCounts:
    def test_the_later_answer(self, journal):
        journal.append([answer("present")])
        journal.append([answer("unsure")])
        assert states(journal) == ["unsure"]

    def test_undo_and_redo(self, journal):
        first, second = answer("present"), answer("absent")
        journal.append([first])
        journal.append([second])
        for kind, of, left in [
            ("undo", second, ["present"]),
            ("undo", first, []),
            ("redo", first, ["present"]),
            ("redo", second, ["absent"]),
            ("undo", first, ["absent"]),
            ("undo", second, []),
        ]:
            journal.append([new_entry(kind, of=[of["id"]])])
            assert states(journal) == left

    @given(st.lists(st.sampled_from(["answer", "sheet", "undo", "redo"]), max_size=25))
    @settings(max_examples=40, deadline=None)
    def test_history_is_what_an_editor_does(self, steps):
        """Against the plain model: two stacks, of which the second is emptied by something new."""
        entries, done, undone = [], [], []
        for number, step in enumerate(steps):
            at = f"2026-01-01T00:00:{number:02d}Z"
            if step in ("answer", "sheet"):
                new = [{**answer(x=i), "time": at, "step": f"{number}"} for i in range(1 if step == "answer" else 3)]
                entries += new
                done.append([entry["id"] for entry in new])
                undone.clear()
            elif source := done if step == "undo" else undone:
                (undone if step == "undo" else done).append(source.pop())
                moved = (undone if step == "undo" else done)[-1]
                entries.append({**new_entry(step, of=moved), "time": at})
        assert history(entries) == (done, undone)

    def test_what_one_call_wrote_is_one_step(self, journal):
        sheet = journal.append([answer(x=0), answer(x=1), answer(x=2)])
        one = journal.append([answer(x=3)])
        other = journal.append([answer(x=4)])
        assert history(journal.entries()) == ([sheet, one, other], [])
        journal.append([new_entry("undo", of=other), new_entry("undo", of=one)])
        assert history(journal.entries()) == ([sheet], [other, one])

    def test_a_repeat_replaces_nothing(self, journal):
        journal.append([answer("present")])
        journal.append([answer("absent", repeat=True)])
        journal.append([answer("unsure")])
        found = read_journals(journal.path.parent)
        assert states(journal) == ["unsure"]
        assert [second.states["TE"] for second in found.repeats("ann")] == ["absent"]
        pairs = [(first.states["TE"], second.states["TE"]) for first, second in found.second_readings("ann")]
        assert pairs == [("present", "absent")]  # what he said before, and not what he said afterwards

    def test_settlements_stand_apart(self, journal, tmp_path):
        journal.append([answer("present")])
        Journal(tmp_path / "labels/bob.jsonl", "bob").append([answer("absent"), answer("unsure", kind="settle")])
        found = read_journals(tmp_path / "labels")
        assert found.readers == ["ann", "bob"]
        assert {name: said.states["TE"] for name, said in found.by_place()[PLACE].items()} == {
            "ann": "present",
            "bob": "absent",
        }
        assert [(one.reader, one.states["TE"], one.settled) for one in found.settlements] == [("bob", "unsure", True)]

    def test_skips(self, journal):
        skipped = new_entry("skip", **HERE)
        journal.append([skipped])
        assert read_journals(journal.path.parent).skipped("ann") == {PLACE}
        journal.append([new_entry("undo", of=[skipped["id"]])])
        assert read_journals(journal.path.parent).skipped("ann") == set()
        journal.append([new_entry("skip", **HERE)])
        journal.append([answer()])
        assert read_journals(journal.path.parent).skipped("ann") == set()


class TestDamage:
    def test_cut_off_at_every_byte(self, journal, caplog):
        """Whole lines stay; what is added afterwards is read; nobody is asked."""
        caplog.set_level(logging.ERROR)
        said = [answer(x=number, note="\u00e4\u2028") for number in range(2)]
        for entry in said:
            journal.append([entry])
        whole = journal.path.read_bytes()
        later = answer(x=9)
        for cut in range(len(whole) + 1):
            journal.path.write_bytes(whole[:cut])
            left = [entry["x"] for entry in journal.entries()]
            assert left == [0, 1][: len(left)]
            assert len(left) >= whole[:cut].count(b"\n") - 1
            journal.append([later])
            assert [entry["x"] for entry in journal.entries()] == [*left, 9]
            lines = journal.path.read_bytes().splitlines()
            assert json.loads(lines[0]) == {"format": 1, "reader": "ann"}
            assert len(lines) == len(left) + 2

    def test_a_cut_line_is_told_of(self, journal, caplog):
        journal.append([answer()])
        with journal.path.open("ab") as stream:
            stream.write(b'{"id": "' + b"\0" * 100_000)
        assert len(journal.entries()) == 1
        assert "ann.jsonl: line 3 was cut off" in caplog.text
        journal.append([answer("absent")])
        assert "are removed" in caplog.text
        assert states(journal) == ["absent"]

    @pytest.mark.parametrize(
        ("line", "why"),
        [
            (b"{", "not a line of JSON"),
            (b"[]", "not a line of JSON .not a JSON object"),
            (b"\xff\xfe", "not a line of JSON"),
            (b"[" * 100_000, "nested too deep"),
            (b'{"note": "\\ud800"}', "can't encode"),
            (b'{"x": NaN}', "NaN is no number"),
            (b'{"kind": "answer", "id": 5}', "id is not 32 hexadecimal digits"),
        ],
        ids=["open", "list", "bytes", "deep", "surrogate", "nan", "id"],
    )
    def test_in_the_middle_it_is_named(self, journal, line, why):
        journal.append([answer()])
        journal.append([answer()])
        lines = journal.path.read_bytes().splitlines()
        journal.path.write_bytes(b"\n".join([lines[0], line, *lines[1:], b""]))
        with pytest.raises(
            DamagedError, match=rf"ann\.jsonl: line 2: damaged: .*{why}.*; take it .* from git"
        ) as caught:
            journal.entries()
        assert "\n" not in str(caught.value)

    def test_marks_of_a_merge(self, journal):
        journal.append([answer()])
        journal.path.write_bytes(journal.path.read_bytes() + b"<<<<<<< HEAD\n=======\n>>>>>>> other\n")
        with pytest.raises(DamagedError, match=r"line 3: a merge left its marks; .*labels/\*\.jsonl merge=union"):
            journal.entries()

    def test_an_entry_twice_counts_once_if_it_says_the_same(self, journal):
        journal.append([answer()])
        line = journal.path.read_bytes().splitlines()[-1]
        with journal.path.open("ab") as stream:
            stream.write(line + b"\n")
        assert len(journal.entries()) == 1
        with journal.path.open("ab") as stream:
            stream.write(line.replace(b"present", b"absent") + b"\n")
        with pytest.raises(DamagedError, match=r"line 4: .* stands there twice, and says two things"):
            journal.entries()

    @given(st.data())
    @settings(max_examples=150, deadline=None)
    def test_whatever_is_in_it_is_read_or_named(self, tmp_path_factory, data):
        """Of sound lines, some with values of any kind, and of anything at all."""
        anything = st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text(max_size=9)
            | st.sampled_from(["undo", "s"]),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=5,
        )
        sound = [{"format": 1, "reader": "ann"}, answer(), new_entry("undo", of=["0" * 32]), new_entry("skip", **HERE)]
        lines = []
        for entry in data.draw(st.lists(st.sampled_from(sound), min_size=1, max_size=5)):
            changes = data.draw(
                st.dictionaries(st.sampled_from([*sound[1], "of", "repeat", "suggested"]), anything, max_size=2)
            )
            lines.append(json.dumps({**entry, **changes}).encode())
        lines.insert(data.draw(st.integers(0, len(lines))), data.draw(st.binary(max_size=20)))
        path = tmp_path_factory.mktemp("any") / "ann.jsonl"
        path.write_bytes(b"\n".join(lines))
        try:
            found = read_journals(path.parent)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            found.answers()
            history(found.entries["ann"])

    def test_lines_of_windows_and_empty_ones(self, journal):
        journal.append([answer()])
        journal.path.write_bytes(b"\xef\xbb\xbf" + journal.path.read_bytes().replace(b"\n", b"\r\n\r\n"))
        assert len(journal.entries()) == 1
        journal.append([answer("absent")])
        assert states(journal) == ["absent"]


class TestFormats:
    def test_unknown_keys_are_kept_and_unknown_kinds_passed_over(self, journal, caplog):
        journal.append([answer(note="odd", step="mine")])
        with journal.path.open("a") as stream:
            stream.write(json.dumps({**answer(), "kind": "vote"}) + "\n")
        (entry,) = journal.entries()
        assert (entry["note"], entry["step"]) == ("odd", "mine")
        assert "line 3: entries of kind 'vote' are passed over" in caplog.text
        journal.append([answer("absent")])
        assert states(journal) == ["absent"]

    def test_a_newer_one_is_refused_and_not_added_to(self, journal):
        journal.append([answer()])
        journal.path.write_text(journal.path.read_text().replace('"format": 1', '"format": 2'))
        with pytest.raises(NewerError, match="journal of labels of format 2"):
            journal.entries()

    def test_none_at_all(self, journal):
        journal.append([answer()])
        journal.path.write_text(journal.path.read_text().split("\n", 1)[1])
        with pytest.raises(OlderError):
            journal.entries()

    def test_of_another_reader(self, journal):
        journal.append([answer()])
        other = journal.path.rename(journal.path.with_name("bob.jsonl"))
        with pytest.raises(InputError, match=r"bob\.jsonl: line 1: it is the journal of reader 'ann'"):
            Journal(other, "bob").entries()

    def test_no_folder_is_no_labels(self, tmp_path):
        found = read_journals(tmp_path / "none")
        assert (found.readers, found.answers(), found.by_place(), found.settlements) == ([], [], {}, [])


class TestNames:
    @pytest.mark.parametrize(
        "reader",
        ["", ".", "..", "../ann", "a/b", "/etc/passwd", "a\\b", "con", "ann.", "a\0b", "a\nb", "\u00e4nn", "x" * 300],
    )
    def test_path_tricks(self, reader, tmp_path):
        with pytest.raises(InputError, match="cannot name a file"):
            journal_path(reader, tmp_path)
        with pytest.raises(InputError, match="cannot name a file"):
            Journal(tmp_path / "ann.jsonl", reader)

    def test_the_file_is_the_readers(self, tmp_path):
        with pytest.raises(InputError, match="the journal of ann is"):
            Journal(tmp_path / "bob.jsonl", "ann")

    def test_links_are_not_followed(self, journal, tmp_path):
        target = tmp_path / "elsewhere"
        target.write_text("precious\n")
        journal.path.parent.mkdir()
        journal.path.symlink_to(target)
        for use in (journal.entries, lambda: journal.append([answer()])):
            with pytest.raises(InputError, match="a link or no file"):
                use()
        assert target.read_text() == "precious\n"

    def test_a_reader_almost_there(self, journal):
        journal.append([answer()])
        with pytest.raises(InputError, match="there is a reader 'ann' already"):
            Journal(journal.path.with_name("Ann.jsonl"), "Ann").append([answer()])
        assert [path.name for path in journal.path.parent.iterdir()] == ["ann.jsonl"]

    def test_a_foreign_file_is_named(self, journal):
        journal.append([answer()])
        (journal.path.parent / "a b.jsonl").write_text("")
        with pytest.raises(InputError, match=r"a b\.jsonl: its name is none of a reader"):
            read_journals(journal.path.parent)


def test_ten_processes_at_once(journal):
    code = (
        "import sys; from pathlib import Path; from wsss_mm.labelling import Journal, new_entry\n"
        "journal = Journal(Path(sys.argv[1]), 'ann')\n"
        "for y in range(20):\n"
        "    journal.append([new_entry('answer', slide='s', x=int(sys.argv[2]), y=y, mpp=1.0, size=2,"
        " classes={'TE': 'present'})])\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, journal.path, str(number)], env={**os.environ})
        for number in range(10)
    ]
    assert [process.wait() for process in running] == [0] * 10
    found = read_journals(journal.path.parent).answers("ann")
    assert sorted((said.place.x, said.place.y) for said in found) == [(x, y) for x in range(10) for y in range(20)]
    assert journal.path.read_bytes().count(b'"format"') == 1
    assert [path.name for path in journal.path.parent.iterdir()] == ["ann.jsonl"]


def test_two_machines_merge_in_git(tmp_path, project_root, monkeypatch):
    """One reader at two places, and another: no conflict, nothing lost, and the later answer counts."""
    monkeypatch.chdir(tmp_path)

    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *arguments], check=True, capture_output=True)

    def said(reader: str, x: int, state: str, hour: int) -> None:
        at = {"x": x, "time": f"2026-01-01T{hour:02d}:00:00.000Z"}
        Journal(tmp_path / f"labels/{reader}.jsonl", reader).append([{**answer(state), **at}])
        git("add", "-A")
        git("commit", "-m", "said")

    git("init", "-b", "main")
    (tmp_path / ".gitattributes").write_bytes((project_root / ".gitattributes").read_bytes())
    (tmp_path / "README").write_text("")
    git("add", "-A")
    git("commit", "-m", "begin")
    git("branch", "home")  # both machines begin the journal themselves
    said("ann", 1, "present", 1)
    said("ann", 2, "absent", 9)
    said("bob", 1, "absent", 3)
    git("checkout", "home")
    said("ann", 1, "unsure", 5)
    said("ann", 2, "present", 8)
    said("ann", 3, "present", 8)
    git("merge", "main", "-m", "merge")
    assert (tmp_path / "labels/ann.jsonl").read_bytes().count(b"\n") >= 6
    found = read_journals(tmp_path / "labels")
    assert {one.place.x: one.states["TE"] for one in found.answers("ann")} == {1: "unsure", 2: "absent", 3: "present"}
    assert [one.states["TE"] for one in found.answers("bob")] == ["absent"]
    git("checkout", "main")
    git("merge", "home")
    assert read_journals(tmp_path / "labels") == found


@pytest.mark.parametrize("count", [50, 100])
def test_a_file_is_read_once_and_each_line_parsed_once(journal, monkeypatch, count):
    """How long 100,000 entries take: benchmarks/labelling.py."""
    journal.append([answer(), *({**answer(), "x": number} for number in range(1, count))])
    reads, lines, read, parse = [], [], Path.read_bytes, journals.parsed
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path) or read(path))
    monkeypatch.setattr(journals, "parsed", lambda line: lines.append(line) or parse(line))
    assert len(read_journals(journal.path.parent).answers()) == count
    assert reads == [journal.path]
    assert len(lines) == len(set(lines)) == count + 1


class TestMarks:
    def say(self, folder, reader, kind, second, **fields):
        place = {**HERE, **({} if kind in ("skip", "mark") else {"classes": {"TE": "present"}})}
        entry = new_entry(kind, **{**place, **fields}) | {"time": f"2026-11-26T12:00:{second:02}.000Z"}
        return Journal(journal_path(reader, folder), reader).append([entry])

    def test_a_mark_stands_until_somebody_answers(self, tmp_path):
        self.say(tmp_path, "ann", "answer", 1)
        self.say(tmp_path, "bob", "mark", 2, x=0)
        self.say(tmp_path, "bob", "mark", 3)
        assert read_journals(tmp_path).marks() == [Place("s1", 0, 896, 1.0, 224), PLACE]
        self.say(tmp_path, "ann", "skip", 4)
        assert read_journals(tmp_path).marks("ann") == [Place("s1", 0, 896, 1.0, 224)]
        assert read_journals(tmp_path).marks("bob") == [Place("s1", 0, 896, 1.0, 224), PLACE]
        self.say(tmp_path, "ann", "settle", 5)
        assert read_journals(tmp_path).marks("bob") == [Place("s1", 0, 896, 1.0, 224)]
        self.say(tmp_path, "bob", "mark", 6)
        assert PLACE in read_journals(tmp_path).marks("ann")

    def test_a_mark_that_is_taken_back_is_none(self, tmp_path):
        (name,) = self.say(tmp_path, "ann", "mark", 1)
        journal = Journal(journal_path("ann", tmp_path), "ann")
        journal.append([new_entry("undo", of=[name])])
        assert read_journals(tmp_path).marks() == []
        journal.append([new_entry("redo", of=[name])])
        assert read_journals(tmp_path).marks() == [PLACE]

    def test_an_answer_with_its_mark_is_one_step_and_both_count(self, journal):
        ids = journal.append([answer(), new_entry("mark", **HERE)])
        assert history(journal.entries()) == ([ids], [])
        assert states(journal) == ["present"]
        assert read_journals(journal.path.parent).marks() == [PLACE]
