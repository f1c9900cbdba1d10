"""Proof of the gates: each fault is caught by its check, at the first gate that can know; clean runs raise nothing."""

import pytest

from tests.gates.faults import FAULTS
from tests.gates.injection import WorkingCopy, first_failure, inside, with_table
from wsss_mm.gates import GATES, run_gate

# 3 to 10 s of import: once
pytestmark = [pytest.mark.xdist_group("great_expectations"), pytest.mark.usefixtures("each_column_once")]


@pytest.fixture(scope="module")
def copy(clean_project, tmp_path_factory):
    return WorkingCopy(clean_project, tmp_path_factory.mktemp("faults") / "project")


@pytest.fixture
def work(copy):
    """A copy of the clean project, which is clean again after the test."""
    yield copy
    copy.restore()
    assert not copy.changed()


def test_there_are_enough_and_each_is_told_apart():
    assert len(FAULTS) >= 60
    assert len({fault.says for fault in FAULTS}) == len(FAULTS)
    assert {fault.gate for fault in FAULTS} == set(GATES)


@pytest.mark.parametrize("gate", GATES)
def test_a_clean_project_raises_nothing(gate, params, clean_project):
    with inside(clean_project):
        result = run_gate(gate, params, clean_project)
    assert not result.failures, result.lines()
    assert all(outcome.unexpected == 0 for outcome in result.checks)


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{fault.gate}: {fault.says}" for fault in FAULTS])
def test_the_named_check_catches_it_first(fault, params, work):
    result = first_failure(fault, work, params)
    assert result is not None, "no gate noticed"
    assert result.gate == fault.gate, result.lines()
    failed = {outcome.name: outcome for outcome in result.failures}
    assert fault.check in failed, result.lines()
    if "*" not in fault.also:
        assert set(failed) == {fault.check, *fault.also}, result.lines()


def test_the_table_in_the_docs_is_current(project_root, params):
    page = (project_root / "docs/gates.md").read_text(encoding="utf-8")
    assert page == with_table(page, FAULTS, params), "run: python scripts/gates_table.py"
