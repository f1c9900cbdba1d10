"""What a check of a gate must be; every row of checks.yaml is asked."""

import pytest

from tests.settings import content_of
from wsss_mm.gates import GATES
from wsss_mm.gates.checks import Thresholds, gate_tables
from wsss_mm.settings import Params, check_names

pytestmark = pytest.mark.parametrize("gate", GATES)


@pytest.fixture(scope="module")
def params():
    return Params.model_validate(content_of("phantom"))


def checks(gate):
    return [check for table in gate_tables(gate).values() for check in table.checks]


def test_limits_are_numbers_in_order(gate, params):
    limit = Thresholds(gate, params).limit
    for check in checks(gate):
        numbers = [limit(item) for item in (check.low, check.high)]
        assert all(item is None or isinstance(item, int | float) for item in numbers), check.name
        assert None in numbers or numbers[0] <= numbers[1], check.name
        assert 0 <= limit(check.but) < 1, check.name


def test_each_says_what_it_wants_and_what_to_do(gate, params):
    thresholds = Thresholds(gate, params)
    for check in checks(gate):
        for text in (thresholds.fill(check.says), thresholds.fill(check.do)):
            assert text.strip(), check.name
            assert "\n" not in text, check.name
            assert not text.endswith("."), check.name


def test_each_has_a_name_of_its_own_and_can_be_a_warning(gate):
    names = [check.name for check in checks(gate)]
    assert len(set(names)) == len(names)
    content = content_of("phantom")
    content["gates"][gate]["warnings"] = names
    assert check_names(gate) == getattr(Params.model_validate(content).gates, gate).warnings == tuple(names)
