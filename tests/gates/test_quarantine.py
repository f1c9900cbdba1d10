"""The quarantine sets rows aside, says why, and gives them back; nothing is deleted."""

import pandas as pd
import pytest

from wsss_mm.cli.main import main
from wsss_mm.errors import InputError
from wsss_mm.files import write_json
from wsss_mm.gates.quarantine import COLUMNS, Entry, quarantined, read_quarantine, without_quarantined

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


def test_a_wrong_list_names_its_line(tmp_path):
    path = tmp_path / "quarantine.csv"
    path.write_text(",".join(COLUMNS) + "\npatient,p1,,,why,Ada,2025-01-02\n")
    with pytest.raises(InputError, match="line 2: kind 'patient'"):
        read_quarantine(path)


def test_it_never_sets_everything_aside(tmp_path):
    path = tmp_path / "quarantine.csv"
    rows = "".join(f"slide,{name},,,why,Ada,2025-01-02\n" for name in ("s1", "s2"))
    path.write_text(",".join(COLUMNS) + "\n" + rows)
    with pytest.raises(InputError, match="sets every patch aside"):
        without_quarantined(MANIFEST, path)


def test_the_list_of_the_project_is_valid(project_root):
    assert read_quarantine(project_root / "data/quarantine.csv") == []
