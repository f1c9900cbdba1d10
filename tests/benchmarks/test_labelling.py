"""What people wait for at the labelling page, without a browser; and a step in half the precision."""

from benchmarks import labelling, precision
from benchmarks.command import settings


def test_every_part_is_a_row_and_bounds_are_named():
    found = list(labelling.measure(settings(labelling.OPTIONS, quick=True, share=0.002)))
    assert len(found) == 9
    assert all(bool(row.over) == bool(row.over_what) for row in found)
    assert found[0].what == "journal read, answers that count, 200 entries"


def test_a_step_in_bf16_is_over_the_one_in_fp32():
    (row,) = precision.measure(settings(precision.OPTIONS, quick=True, width=1 / 32, size=64))
    assert row.over_what == "the step in fp32"
