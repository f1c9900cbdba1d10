"""The quarantine sets rows aside, says why, and gives them back; nothing is deleted."""

import logging
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wsss_mm.cli.main import main
from wsss_mm.errors import InputError
from wsss_mm.files import write_json
from wsss_mm.gates.quarantine import set_aside
from wsss_mm.patches.quarantine import (
    COLUMNS,
    Entry,
    add_entries,
    quarantined,
    read_quarantine,
    remove_entries,
    slides_aside,
    without_quarantined,
    write_quarantine,
)
from wsss_mm.slides.table import write_slide_table

_CHECK = {"table": "patches", "expectation": "expect", "rows": 20, "severity": "critical"}
REPORT = {
    "gate": "patches",
    "checks": [
        {"name": "focus", "says": "focus is at least 60", "passed": False, "index": "patch_id", "unexpected": 2}
        | _CHECK
        | {"offending": ["p1", "p2"], "remedy": "look"},
        {"name": "eosin", "says": "eosin is there", "passed": False, "index": "patch_id", "unexpected": 1}
        | _CHECK
        | {"offending": ["p2"], "remedy": "look"},
        {"name": "drift", "says": "no drift", "passed": False, "index": "what", "unexpected": 1, "offending": ["x"]}
        | _CHECK,
        {"name": "mpp", "says": "mpp", "passed": True, "index": "patch_id", "unexpected": 0, "offending": []} | _CHECK,
    ],
}
MANIFEST = pd.DataFrame({"patch_id": ["p1", "p2", "p3"], "slide_id": ["s1", "s1", "s2"]})


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_json("reports/gates/patches.json", REPORT)
    return lambda *arguments: main(["quarantine", *arguments])


def add(run, *arguments) -> int:
    return run("add", "--reviewer", "Ada", "--date", "2025-01-02", *arguments)


def test_what_a_gate_found_goes_aside_once_and_comes_back(run, capsys):
    assert add(run, "--from", "reports/gates/patches.json") == 0
    first = read_quarantine()
    assert [entry.id for entry in first] == ["p1", "p2"]
    reason = "not so: focus is at least 60"
    assert first[1] == Entry("patch", "p2", "patches", "focus", reason, "Ada", "2025-01-02")
    assert add(run, "--from", "reports/gates/patches.json") == 0
    assert read_quarantine() == first
    kept, aside = without_quarantined(MANIFEST)
    assert (list(kept["patch_id"]), list(aside["patch_id"])) == (["p3"], ["p1", "p2"])
    assert run("list") == 0
    assert "p2" in capsys.readouterr().out
    assert run("remove", "p1") == 0
    assert quarantined("patch") == {"p2"}


def test_one_check_of_a_report_or_names(run):
    assert add(run, "--from", "reports/gates/patches.json", "--check", "eosin") == 0
    assert add(run, "--slide", "s2", "--reason", "pen marks") == 0
    assert (quarantined("patch"), quarantined("slide")) == ({"p2"}, {"s2"})
    assert list(without_quarantined(MANIFEST)[0]["patch_id"]) == ["p1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add",), "nothing to set aside"),
        (("add", "--patch", "p1", "--reviewer", "Ada"), "reason is empty"),
        (("add", "--patch", "p1", "--reason", "x", "--reviewer", "Ada", "--date", "today"), "is no date"),
        (("add", "--from", "none.json"), "none.json: not found"),
        (("add", "--from", "reports/gates/patches.json", "--check", "focuss"), "no check 'focuss'"),
        (("add", "--from", "reports/gates/patches.json", "--check", "drift"), "names no patch or slide"),
        (("remove", "p9"), "'p9' is not in it"),
    ],
)
def test_wrong_input_is_one_line(run, capsys, arguments, message):
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_report_of_a_broken_cohort_is_refused(run, capsys):
    many = REPORT["checks"][0] | {"unexpected": 5000}
    write_json("reports/gates/patches.json", REPORT | {"checks": [many]})
    assert add(run, "--from", "reports/gates/patches.json") == 2
    assert "5000 of 20 rows" in capsys.readouterr().err


def test_no_cell_is_a_formula_and_all_are_read_back(tmp_path):
    path = tmp_path / "quarantine.csv"
    texts = ("=1+2", "-x", "@a", "+", "'quoted", "'=1", "plain")
    entries = [Entry("patch", text, "", "", text, text, "2025-01-02") for text in sorted(texts)]
    write_quarantine(entries, path)
    cells = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert not cells.map(lambda cell: cell.startswith(("=", "+", "-", "@"))).any(axis=None)
    assert read_quarantine(path) == entries


def test_a_wrong_list_names_its_line(tmp_path):
    path = tmp_path / "quarantine.csv"
    path.write_text(",".join(COLUMNS) + "\npatient,p1,,,why,Ada,2025-01-02\n")
    with pytest.raises(InputError, match="line 2: kind 'patient'"):
        read_quarantine(path)


SLIDES = pd.DataFrame({"slide_id": ["S1", "TCGA-A1-A0SK-DX1", "b"], "patient_id": ["P1", "TCGA-A1-A0SK", "P3"]})


@pytest.fixture
def listed(tmp_path):
    """Writes a list of ids of a kind, the first on line 3."""

    def write(kind, *ids):
        path = tmp_path / "quarantine.csv"
        rows = "".join(f"{kind},{name},,,consent withdrawn,Ada,2025-01-02\n" for name in ids)
        path.write_text(",".join(COLUMNS) + "\n\n" + rows, encoding="utf-8")
        return path

    return write


class TestRowsThatMiss:
    @pytest.mark.parametrize("cell", ["S1", "S1 ", " S1", "S1\u00a0", "\u200bS1", '"S1 "'])
    def test_what_stands_around_an_id_is_no_part_of_it(self, listed, cell):
        path = listed("Slide", cell)
        assert slides_aside(SLIDES, path) == {"S1"}
        assert quarantined("slide", path) == {"S1"}

    @pytest.mark.parametrize(
        ("cell", "message"),
        [
            ("S11", "line 3: slide 'S11' is not in this cohort, but 'S1' is; correct the row, or remove it"),
            ("s1", "but 'S1' is"),
            ("S 1", "but 'S1' is"),
            ("tcga_a1_a0sk_DX1", "but 'TCGA-A1-A0SK-DX1' is"),
            ("S01", "but 'S1' is"),
            ("S1.svs", "but 'S1' is"),
            ("scans/TCGA-A1-A0SK-DX1.ome.tiff", "but 'TCGA-A1-A0SK-DX1' is"),
            ("C:\\\\scans\\\\S1.NDPI", "but 'S1' is"),
            ("other;S1", "but 'S1' is"),
            ('"S1\nother"', "but 'S1' is"),
            ("P1", "line 3: slide 'P1' is not in this cohort, but a patient is; give each slide a row: S1"),
        ],
    )
    def test_a_slide_that_is_nearly_there_stops(self, listed, cell, message):
        with pytest.raises(InputError, match=rf"quarantine\.csv: .*{message}"):
            slides_aside(SLIDES, listed("slide", cell))

    def test_a_slide_of_another_cohort_is_named(self, listed, caplog):
        with caplog.at_level(logging.WARNING):
            assert slides_aside(SLIDES, listed("slide", "phantom-train-01", "b", "other")) == {"b"}
        assert "quarantine.csv: 2 slides are not in this cohort, the first on line 3: phantom-train-01" in caplog.text

    @given(st.sampled_from(list(SLIDES["slide_id"][:2])), st.data())
    def test_no_slip_of_the_pen_passes(self, tmp_path_factory, name, data):
        at = data.draw(st.integers(0, len(name) - 1))
        letter = data.draw(st.sampled_from("aZ0-_ "))
        typed = data.draw(
            st.sampled_from(
                [
                    name[:at] + name[at + 1 :],
                    name[:at] + letter + name[at:],
                    name[:at] + letter + name[at + 1 :],
                    name[:at] + name[at : at + 2][::-1] + name[at + 2 :],
                    name.swapcase(),
                ]
            )
        )
        assume(len(typed) > 1 and typed.strip() not in set(SLIDES["slide_id"]))
        path = tmp_path_factory.getbasetemp() / "typed.csv"
        path.write_text(",".join(COLUMNS) + f"\nslide,{typed},,,why,Ada,2025-01-02\n")
        with pytest.raises(InputError, match=r"typed\.csv: line 2: slide"):
            slides_aside(SLIDES, path)

    @pytest.mark.parametrize(
        ("cell", "message"),
        [("P2", "line 3: patch 'P2' .*, but 'p2' is"), ("s1", "patch 's1' .*, but a slide is")]
        + [(cell, "but 'p1' is") for cell in ("p1.png", "images/train/p1.png", "p01", "\uff50\uff11", '"p1, p2"')],
    )
    def test_a_patch_that_is_nearly_there_stops(self, listed, cell, message):
        with pytest.raises(InputError, match=message):
            without_quarantined(MANIFEST, listed("patch", cell))

    def test_a_patch_that_is_called_a_slide_stops(self, listed):
        with pytest.raises(InputError, match=r"line 3: 'p1' is no slide but a patch; write kind patch"):
            without_quarantined(MANIFEST, listed("slide", "p1"))

    def test_a_patch_that_is_not_there_is_named(self, listed, caplog):
        with caplog.at_level(logging.WARNING):
            kept, _ = without_quarantined(MANIFEST, listed("patch", "gone", "p1"))
        assert list(kept["patch_id"]) == ["p2", "p3"]
        assert "quarantine.csv: 1 patches are not in this cohort, the first on line 3: gone" in caplog.text

    def test_a_name_is_checked_when_it_is_added(self, run, capsys):
        write_slide_table(SLIDES.assign(split="train"), "data/cohort/slides.csv")
        assert add(run, "--slide", "S7", "--reason", "pen") == 2
        assert "data/cohort/slides.csv: slide 'S7' is not in it, but 'S1' is; correct the id" in capsys.readouterr().err
        assert add(run, "--slide", " S1 ", "--reason", "pen") == 0
        assert add(run, "--slide", "other", "--reason", "pen", "--force") == 0
        assert quarantined("slide") == {"S1", "other"}
        Path("data/patches").mkdir()
        MANIFEST.to_parquet("data/patches/manifest.parquet")
        assert add(run, "--patch", "nosuch", "--reason", "pen") == 2
        assert "patch 'nosuch' is not in it" in capsys.readouterr().err
        assert add(run, "--patch", "p3", "--reason", "pen") == 0


def test_a_list_from_a_spreadsheet_is_kept_as_it_was_meant(tmp_path):
    path = tmp_path / "quarantine.csv"
    row = 'Slide;S1;;;"consent\nwithdrawn";Ada;2025-01-02'
    path.write_text(f"Kind;ID;Gate;Expectation;Reason;Reviewer;Date\n{row}\n;;;;;;\n", encoding="utf-16")
    assert read_quarantine(path) == [Entry("slide", "S1", "", "", "consent withdrawn", "Ada", "2025-01-02")]
    write_quarantine(read_quarantine(path), path)
    assert path.read_text() == ",".join(COLUMNS) + "\nslide,S1,,,consent withdrawn,Ada,2025-01-02\n"


@pytest.mark.parametrize("day", ["20250102", "2025-W01-4", "02.01.2025", "2025-13-01"])
def test_a_day_is_written_in_one_way(tmp_path, day):
    path = tmp_path / "quarantine.csv"
    path.write_text(",".join(COLUMNS) + f"\nslide,s1,,,why,Ada,{day}\n")
    with pytest.raises(InputError, match=r"line 2: date .* is no date; write YYYY-MM-DD"):
        read_quarantine(path)


def test_it_never_sets_everything_aside(tmp_path):
    path = tmp_path / "quarantine.csv"
    rows = "".join(f"slide,{name},,,why,Ada,2025-01-02\n" for name in ("s1", "s2"))
    path.write_text(",".join(COLUMNS) + "\n" + rows)
    with pytest.raises(InputError, match="sets every patch aside"):
        without_quarantined(MANIFEST, path)


def test_the_list_of_the_project_is_valid(project_root):
    assert read_quarantine(project_root / "data/quarantine.csv") == []


def test_decisions_of_ten_reviewers_at_once_are_all_kept(tmp_path):
    path = tmp_path / "quarantine.csv"

    def review(who):
        for index in range(10):
            add_entries([Entry("patch", f"{who}-{index}", "", "", "blurred", f"R{who}", "2026-01-01")], path)
        remove_entries([f"{who}-0"], path)

    with ThreadPoolExecutor(10) as reviewers:
        list(reviewers.map(review, range(10)))
    kept = {entry.id for entry in read_quarantine(path)}
    assert kept == {f"{who}-{index}" for who in range(10) for index in range(1, 10)}
    assert [item.name for item in tmp_path.iterdir()] == ["quarantine.csv"]


class TestWhenItIsWritten:
    """What names nothing is refused by who writes it, or named in what somebody wrote by hand."""

    @pytest.fixture
    def cohort(self, run):
        """A cohort with a manifest, and a command."""
        write_slide_table(SLIDES.assign(split="train"), "data/cohort/slides.csv")
        Path("data/patches").mkdir()
        MANIFEST.to_parquet("data/patches/manifest.parquet")
        return run

    def test_what_is_set_aside_already_is_named(self, cohort, capsys, caplog):
        assert add(cohort, "--patch", "p1", "--reason", "pen") == 0
        with caplog.at_level(logging.WARNING):
            assert add(cohort, "--patch", "p1", "--patch", "p2", "--reason", "fold") == 0
        said = caplog.text + capsys.readouterr().err
        assert "1 of them are set aside already, the first by Ada on 2025-01-02, patch p1: pen" in said
        assert [(entry.id, entry.reason) for entry in read_quarantine()] == [("p1", "pen"), ("p2", "fold")]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--slide", "p1"), "slide 'p1' is not in it, but a patch is called so; correct the id, or add --force"),
            (("--patch", "P-1"), "patch 'P-1' is not in it, but 'p1' is; correct the id"),
            (("--slide", "S1.svs"), "but 'S1' is"),
            (("--patch", "p1", "--date", "2999-01-01"), "date 2999-01-01 is yet to come"),
            (("--from", "reports/gates/patches.json", "--check", "focuss"), "no check 'focuss'; did you mean focus?"),
        ],
    )
    def test_what_cannot_be_is_refused_with_what_is_near(self, cohort, capsys, arguments, message):
        assert add(cohort, "--reason", "pen", *arguments) == 2
        assert message in capsys.readouterr().err
        assert not Path("data/quarantine.csv").exists()

    def test_a_report_of_another_cohort_is_refused(self, cohort, capsys):
        other = REPORT["checks"][0] | {"offending": ["p1", "p22"]}
        write_json("reports/gates/patches.json", REPORT | {"checks": [other]})
        assert add(cohort, "--from", "reports/gates/patches.json") == 2
        assert "patch 'p22' is not in it, but 'p2' is" in capsys.readouterr().err
        assert add(cohort, "--from", "reports/gates/patches.json", "--force") == 0

    @pytest.mark.parametrize(
        ("cells", "message"),
        [
            ({"gate": "patch"}, "there is no gate 'patch'; did you mean patches?"),
            ({"expectation": "focuss"}, "'focuss' is no check of gate patches; did you mean focus?"),
            ({"gate": "", "expectation": "of my own"}, "'of my own' is no check of any gate; leave the cell empty"),
        ],
    )
    def test_a_reason_that_nobody_can_look_up_is_refused(self, tmp_path, cells, message):
        row = {"gate": "patches", "expectation": "focus"} | cells
        entry = Entry("patch", "p1", row["gate"], row["expectation"], "why", "Ada", "2025-01-02")
        with pytest.raises(InputError, match=f"patch p1: {re.escape(message)}"):
            set_aside([entry], tmp_path / "quarantine.csv")

    def test_a_list_that_was_edited_by_hand_is_held_against_the_cohort(self, cohort, capsys):
        rows = (
            "patch,p1,patches,focus,why,Ada,2025-01-02",
            "patch,p1,,,again,Ada,2025-01-02",
            "patch,p11,,,why,Ada,2025-01-02",
            "slide,S 1,,,why,Ada,2025-01-02",
            "slide,p3,,,why,Ada,2025-01-02",
            "patch,p2,patches,eosine,why,Ada,2025-01-02",
            "patch,S1-448-896,,,of a slide that may not have been cut,Ada,2025-01-02",
        )
        path = Path("data/quarantine.csv")
        path.write_text("\n".join([",".join(COLUMNS), *rows, ""]))
        assert cohort("check") == 2
        said = capsys.readouterr().err
        for message in (
            "line 3: patch 'p1' is on line 2 already; remove one of them",
            "line 4: patch 'p11' is not in data/patches/manifest.parquet, but 'p1' is; correct the row or remove it",
            "line 5: slide 'S 1' is not in data/cohort/slides.csv, but 'S1' is",
            "line 6: slide 'p3' is not in data/cohort/slides.csv, but a patch is called so",
            "line 7: 'eosine' is no check of gate patches; did you mean eosin?",
        ):
            assert message in said
        assert said.count("quarantine.csv: line") == 5
        path.write_text("\n".join([",".join(COLUMNS), rows[0], ""]))
        assert cohort("check") == 0
        assert "nothing is wrong with its 1 rows" in capsys.readouterr().out

    def test_an_id_to_take_back_that_is_nearly_there_is_named(self, cohort, capsys):
        add(cohort, "--patch", "p1", "--reason", "pen")
        assert cohort("remove", "p11") == 2
        assert "'p11' is not in it, but 'p1' is" in capsys.readouterr().err
