"""What is taken for true: settlements, then agreement, then the only reader; and what the line is given of it."""

import pytest

from pipelines import labels as stage
from wsss_mm.errors import InputError
from wsss_mm.labelling import Journal, Place, journal_path, new_entry, read_journals
from wsss_mm.labelling.settled import label_rows, settle_labels, write_labels
from wsss_mm.patches.truth import read_patch_labels
from wsss_mm.settings import load_profile
from wsss_mm.vocabulary import get_vocabulary

LUNG = get_vocabulary("lung")
SHORT = {"p": "present", "a": "absent", "u": "unsure"}


@pytest.fixture
def say(tmp_path):
    """Adds an answer: `say("ann", 0, "p a u -")`, a letter a class, - for one that was not asked."""

    def said(reader, x, states, kind="answer", **fields):
        classes = {
            code: SHORT[state] for code, state in zip(LUNG.codes, states.split(), strict=False) if state in SHORT
        }
        place = {"slide": "s1", "x": x, "y": 0, "mpp": 1.0, "size": 224}
        entry = new_entry(kind, **{**place, "classes": classes, **fields})
        Journal(journal_path(reader, tmp_path / "labels"), reader).append([entry])
        return entry["id"]

    return said


@pytest.fixture
def rows(tmp_path):
    def of(**options):
        options = {"mpp": 1.0, "size": 224} | options
        found = label_rows(settle_labels(read_journals(tmp_path / "labels")), LUNG, **options)
        return {int(row["x"]): (row["labels"], row["unsure"], row["source"]) for row in found}

    return of


class TestWhoseWordCounts:
    """Classes are TE, NEC, LYM, TAS."""

    def test_of_one_reader(self, say, rows):
        say("ann", 0, "p a u p")
        assert rows() == {0: ("TE;TAS", "LYM", "single")}

    def test_what_was_not_asked_is_unsure_and_not_absent(self, say, rows):
        say("ann", 0, "p - a -")
        assert rows() == {0: ("TE", "NEC;TAS", "single")}

    def test_of_two_who_agree(self, say, rows):
        say("ann", 0, "p a - a")
        say("bob", 0, "p a p a")
        assert rows() == {0: ("TE;LYM", "", "agreed")}

    def test_of_two_who_differ(self, say, rows):
        say("ann", 0, "p a p u")
        say("bob", 0, "p a a a")
        assert rows() == {0: ("TE", "LYM;TAS", "disputed")}

    def test_a_settlement_decides(self, say, rows):
        say("ann", 0, "p a p u")
        say("bob", 0, "p a a a")
        say("eve", 0, "- - p a", "settle")
        assert rows() == {0: ("TE;LYM", "", "settled")}
        say("eve", 0, "- - a a", "settle")
        assert rows() == {0: ("TE", "", "settled")}

    def test_a_repeat_decides_nothing(self, say, rows):
        say("ann", 0, "p a a a")
        say("ann", 0, "a p p p", repeat=True)
        assert rows() == {0: ("TE", "", "single")}

    def test_artefacts(self, say, rows, tmp_path):
        say("ann", 0, "", artefact="pen")
        say("ann", 1, "p a a a")
        say("bob", 1, "", artefact="fold")
        say("ann", 2, "", artefact="pen")
        say("bob", 2, "p a a a")
        say("eve", 2, "p a a a", "settle")
        assert rows() == {2: ("TE", "", "settled")}
        found = {
            item.place.x: (item.artefact, item.source) for item in settle_labels(read_journals(tmp_path / "labels"))
        }
        assert found == {0: ("pen", "single"), 1: (None, "disputed"), 2: (None, "settled")}

    def test_patches_without_a_class_for_sure_are_left_out(self, say, rows, caplog):
        say("ann", 0, "a a a a")
        say("ann", 1, "a u a a")
        say("ann", 2, "p a a a")
        assert rows() == {2: ("TE", "", "single")}
        assert "2 labelled patches hold no class for sure and are left out" in caplog.text


class TestWhatTheLineTakes:
    def test_patches_of_another_size_are_named(self, say, rows, caplog):
        say("ann", 0, "p a a a", size=256)
        with pytest.raises(InputError, match=r"all 1 labelled patches are of 256 px at 1 um/px, .* patches.size 224"):
            rows()
        say("ann", 1, "p a a a", mpp=1.0000001)
        assert rows() == {1: ("TE", "", "single")}
        assert "1 labelled patches are not of 224 px at 1 um/px" in caplog.text

    def test_classes_by_any_name(self, say, rows, caplog):
        say("ann", 0, "", classes={"Tumour epithelium": "present", "Immune cells": "absent", "FAT": "present"})
        assert rows() == {0: ("TE", "NEC;TAS", "single")}
        assert "FAT: no class of vocabulary 'lung'" in caplog.text

    def test_what_is_written_is_read(self, say, tmp_path):
        say("ann", 448, "p a u p")
        say("ann", 0, "a a p a")
        write_labels(
            tmp_path / "labels.csv",
            label_rows(settle_labels(read_journals(tmp_path / "labels")), LUNG, mpp=1, size=224),
        )
        assert (tmp_path / "labels.csv").read_text() == (
            "slide_id,x,y,labels,unsure,source\ns1,0,0,LYM,,single\ns1,448,0,TE;TAS,LYM,single\n"
        )
        frame = read_patch_labels(tmp_path / "labels.csv", ["s1"], LUNG)
        assert frame["unsure"].tolist() == [None, "LYM"]
        assert frame["TAS"].tolist() == [False, True]


class TestStage:
    @pytest.fixture(autouse=True)
    def project(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "data").mkdir()

    def test_without_journals_the_table_stays(self, tmp_path):
        table = tmp_path / "data/labels.csv"
        table.write_text("slide_id,x,y,labels\ns1,0,0,TE\n")
        before = table.stat().st_mtime_ns
        stage.main(load_profile("phantom"))
        assert table.stat().st_mtime_ns == before
        assert table.read_text() == "slide_id,x,y,labels\ns1,0,0,TE\n"
        table.unlink()
        stage.main(load_profile("phantom"))
        assert table.read_text() == "slide_id,x,y,labels,unsure,source\n"

    def test_of_journals(self, say, tmp_path):
        (tmp_path / "data/labels.csv").write_text("slide_id,x,y,labels\n")
        say("ann", 0, "p a a a")
        stage.main(load_profile("phantom"))
        assert (tmp_path / "data/labels.csv").read_text().splitlines()[1:] == ["s1,0,0,TE,,single"]
        say("ann", 0, "a p a a")
        stage.main(load_profile("phantom"))
        assert (tmp_path / "data/labels.csv").read_text().splitlines()[1:] == ["s1,0,0,NEC,,single"]

    def test_rows_that_somebody_wrote_are_not_lost(self, say, tmp_path):
        table = tmp_path / "data/labels.csv"
        table.write_text("slide_id,x,y,labels\ns1,0,0,TE\n")
        say("ann", 0, "p a p a")
        with pytest.raises(InputError, match=r"labels\.csv: line 2: 1 rows .* wsss-mm labels import --reader NAME"):
            stage.main(load_profile("phantom"))
        assert table.read_text() == "slide_id,x,y,labels\ns1,0,0,TE\n"
        say("ann", 0, "p a a a")
        say("ann", 0, "a p a a")  # it was in the journal, and the reader thought better of it
        stage.main(load_profile("phantom"))
        assert table.read_text().splitlines()[1:] == ["s1,0,0,NEC,,single"]

    def test_another_table_is_told_of(self, say, caplog):
        params = load_profile("phantom")
        say("ann", 0, "p a a a")
        cohort = params.cohort.model_copy(update={"labels": "/elsewhere/labels.csv"})
        stage.main(params.model_copy(update={"cohort": cohort}))
        assert "cohort.labels names /elsewhere/labels.csv, and labels of journals are data/labels.csv" in caplog.text


def test_places_are_in_order(say, tmp_path):
    for x in (896, 0, 448):
        say("ann", x, "p a a a")
    assert [item.place for item in settle_labels(read_journals(tmp_path / "labels"))] == [
        Place("s1", x, 0, 1.0, 224) for x in (0, 448, 896)
    ]
