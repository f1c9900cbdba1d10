"""What the subjects of the benchmarks share."""

import itertools
import sys
import types

import pytest

from benchmarks import command
from benchmarks.command import SKIPPED, Missing, Option, by_turns, in_children, parse, peak_above, run, settings
from benchmarks.rows import Measurement

OPTIONS = {"width": Option(1.0, 0.5, "of the network"), "layers": Option(("a", "b"), ("a",), "of it")}


@pytest.fixture
def kept(monkeypatch):
    rows = []
    monkeypatch.setattr(command, "append_row", rows.append)
    monkeypatch.setattr(command, "print_page", lambda: None)
    return rows


def subject(monkeypatch, measure):
    """A module of a subject that measures so, and is the command that runs."""
    module = types.ModuleType("benchmarks.maps", "Of maps.")
    module.__file__ = "benchmarks/maps.py"
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(sys, "argv", ["maps.py", "--quick", "--layers", "/home/ann/peer"])
    measure.__module__ = module.__name__
    return measure


def test_quick_values_are_taken_where_none_are_given():
    assert vars(parse("", OPTIONS, ["--quick", "--width", "2"])) == {
        **{"quick": True, "repeats": 5, "width": 2.0, "layers": ("a",)}
    }
    assert parse("", OPTIONS, []).width == 1.0
    assert list(parse("", OPTIONS, ["--layers", "c", "d"]).layers) == ["c", "d"]
    assert parse("", OPTIONS, ["--repeats", "7"]) == settings(OPTIONS, quick=False, repeats=7)


def test_turns_alternate_and_the_first_does_not_count():
    calls, ticks = [], itertools.count(0)
    one, other = by_turns(
        lambda: calls.append("a"), lambda: calls.append("b"), repeats=2, clock=lambda: next(ticks) ** 2
    )
    assert "".join(calls) == "ababab"
    assert (one, other) == ([9, 17], [13, 21])  # of 1, 5, 9, 13, 17, 21


def test_a_row_is_kept_with_its_subject_command_and_place(kept, monkeypatch, capsys):
    def measure(arguments):
        yield Measurement(f"maps of width {arguments.width}", [2.0] * 5, "s", at_most=1.0)

    assert run(subject(monkeypatch, measure), OPTIONS) == 0
    (row,) = kept
    assert (row["subject"], row["quick"], row["command"]) == (
        "maps",
        True,
        "python -m benchmarks.maps --quick --layers peer",
    )
    assert {"date", "commit", "machine", "versions", "busy"} <= row.keys()
    assert capsys.readouterr().out == "maps of width 0.5: 2 s, target missed\n"


def test_what_is_missing_is_a_line(kept, monkeypatch, capsys):
    def measure(arguments):
        raise Missing("no peer; get one")
        yield

    assert run(subject(monkeypatch, measure), OPTIONS) == SKIPPED
    assert not kept
    assert capsys.readouterr().out == "maps: skipped, no peer; get one\n"


def megabytes(count):
    return peak_above(lambda: bytearray(count << 20))


def test_a_peak_is_measured_in_a_process_of_its_own():
    peaks = in_children(megabytes, [(64,), (32,), (64,)])
    assert all(count < peak < count + 6 for count, peak in zip((62, 30, 62), peaks, strict=True))
