"""Which model is meant where none is named, and the page of the gates in a clone."""

import pytest

from tests.settings import copy_profile
from wsss_mm.cli.main import main
from wsss_mm.cli.models import registered_name
from wsss_mm.errors import InputError
from wsss_mm.files import write_json
from wsss_mm.settings import load_profile, profile_names


def test_it_is_the_one_of_params(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    copy_profile(tmp_path, "slides")
    assert registered_name() == "segmenter-slides"


def test_where_nothing_is_registered_a_name_is_wanted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="--name NAME"):
        registered_name()
    copy_profile(tmp_path, "tiny")
    for arguments in (["models", "list"], ["models", "card"], ["report"]):
        assert main(arguments) == 2
        message = capsys.readouterr().err
        assert "params.yaml: register.model_name is null" in message
        assert message.count("\n") == 1


def test_a_name_belongs_to_one_cohort():
    """Profiles of one cohort compete for one champion, and those of different cohorts do not."""
    names: dict[str, set[str]] = {}
    for profile in set(profile_names()) - {"tiny"}:
        params = load_profile(profile)
        names.setdefault(params.cohort.name, set()).add(str(params.register_.model_name))
    assert names == {cohort: {f"segmenter-{cohort}"} for cohort in names}


def test_the_page_of_the_gates_is_drawn_from_the_reports(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["gates"]) == 2
    assert "reports/gates: no gate has a report here" in capsys.readouterr().err
    write_json("reports/gates/cohort.json", {"gate": "cohort", "passed": True, "checks": []})
    assert main(["gates"]) == 0
    page = (tmp_path / "reports/gates/index.html").read_bytes()
    assert main(["gates"]) == 0
    assert (tmp_path / "reports/gates/index.html").read_bytes() == page
