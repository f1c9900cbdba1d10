"""Slides: end to end, the network alone, memory, and the export of large maps."""

import pytest

from benchmarks import geojson_export, slides_memory, slides_network, slides_speed
from benchmarks.command import settings


@pytest.fixture(autouse=True)
def one_run(monkeypatch):
    """Is enough to see what becomes of it."""
    monkeypatch.setattr("benchmarks.rows.FEWEST_RUNS", 1)


def rows(subject, **values):
    return list(subject.measure(settings(subject.OPTIONS, quick=True, repeats=1, **values)))


def test_a_slide_end_to_end_has_both_clocks():
    wall, cpu = rows(slides_speed, size=512, width=1 / 32)
    assert (wall.what[-6:], cpu.what[-5:], wall.at_most) == (", wall", ", CPU", 1.1)


def test_each_way_of_the_network_is_compared_to_the_one_that_was_trained():
    found = rows(slides_network, width=1 / 32, count=1)
    assert [row.unit for row in found] == ["ms", "%"] * 3
    agree = {
        row.what.partition(", ")[2].removesuffix(": labels that agree"): row.values[0]
        for row in found
        if row.unit == "%"
    }
    assert agree["as slides use it, fp32"] > 99


def test_memory_is_measured_in_processes_of_their_own():
    absolute, growth = rows(slides_memory, size=512, height=512)
    assert absolute.values == growth.values
    assert all(value > 0 for value in growth.over)
    assert (absolute.at_most, growth.at_most) == (1024, 1.1)


def test_an_export_says_its_polygons():
    peak, _ = rows(geojson_export, side=256, sigma=3.0, min_area=5.0)
    assert peak.at_most == 500
    assert int(peak.what.split()[2].replace(",", "")) > 10


@pytest.mark.parametrize("side", [256, 2100])
def test_a_synthetic_map_covers_its_side(tmp_path, side):
    with geojson_export.make_map(tmp_path / "labels.raw", side, 3.0) as labels:
        assert labels.shape == (side, side)
