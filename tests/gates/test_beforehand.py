"""What gate cohort stops, and stage cohort, `wsss-mm cohort check` names before; a clean table it passes."""

import logging
import shutil
from pathlib import Path

import pytest

from tests.gates.faults_of_data import COHORT_FAULTS
from tests.gates.harm import SLIDES, cells
from tests.gates.injection import inside
from wsss_mm.errors import InputError
from wsss_mm.gates.beforehand import check_cohort
from wsss_mm.patches.quarantine import PATH as QUARANTINE

# 3 to 10 s of import: once
pytestmark = [pytest.mark.xdist_group("great_expectations"), pytest.mark.usefixtures("each_column_once")]


def looked_at(project, params, **options):
    with inside(project):
        return check_cohort(Path(SLIDES), params, QUARANTINE, **options)


@pytest.mark.parametrize("quick", [True, False])
def test_a_clean_table_is_passed(project, params, quick):
    found = looked_at(project, params, quick=quick)
    assert not found.any, found
    assert list(found.slides) == ["slide-train", "slide-valid", "slide-test", "slide-more"]


@pytest.mark.parametrize("fault", COHORT_FAULTS, ids=[fault.says for fault in COHORT_FAULTS])
def test_every_fault_of_the_gate_is_named(fault, project, params, caplog):
    fault.inject(project)
    caplog.set_level(logging.WARNING)
    try:
        found = looked_at(project, params)
    except InputError:
        return
    if fault.check in params.gates.cohort.warnings:
        assert fault.check in caplog.text
    else:
        assert found.any


def test_what_is_wrong_stands_with_its_slide_and_the_others_are_good(project, params):
    cells(SLIDES, "slide-train", mpp="40x")(project)
    cells(SLIDES, "slide-valid", patient_id="a b")(project)
    (project / "data/cohort/slides/slide-test.tiff").unlink()
    found = looked_at(project, params, quick=True)
    assert [len(said) for said in found.slides.values()] == [1, 1, 1, 0]
    assert "mpp '40x' is no resolution" in found.slides["slide-train"][0]
    assert "patient_id 'a b' must be of letters" in found.slides["slide-valid"][0]
    assert "no such slide file" in found.slides["slide-test"][0]


def test_a_slide_that_is_set_aside_is_passed_over_by_the_gate(project, params):
    path = project / "data/cohort/slides/slide-more.tiff"
    shutil.copyfile(project / "data/cohort/slides/slide-test.tiff", path)
    assert looked_at(project, params).any
    (project / QUARANTINE).write_text(
        "kind,id,gate,expectation,reason,reviewer,date\nslide,slide-more,,,a copy,Ann,2026-01-01\n"
    )
    found = looked_at(project, params)
    assert not found.any, found
    assert found.aside == {"slide-more"}
