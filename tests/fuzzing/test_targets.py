"""Damaged inputs of everything that parses give a valid object or one line; `make fuzz` tries many more."""

import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing.contract import harmless
from tests.fuzzing.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_a_damaged_input_is_taken_or_refused_in_one_line(target, tmp_path):
    @settings(
        max_examples=60,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    @given(st.randoms(use_true_random=False))
    def holds(random):
        folder = tmp_path / "input"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        target.check(target.make(random), folder)

    holds()


@pytest.mark.parametrize(
    "page",
    [
        "<p><script>x</script>",
        "<img src=x onerror=x>",
        "<a href='javascript:x'>",
        "<img src='http://x/y.png'>",
        "<svg>",
    ],
)
def test_the_contract_of_pages_sees_what_would_do_harm(page):
    with pytest.raises(AssertionError):
        harmless(page)
