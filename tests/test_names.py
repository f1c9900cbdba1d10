"""Different names stay different, on every system, and are shown as they are or spelled out."""

import unicodedata
from pathlib import PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wsss_mm.names import (
    cell_text,
    folder_name,
    is_plain_name,
    likeness,
    look_alikes,
    safe_name,
    shown_name,
    text_cell,
)

LATIN = st.text("aAbB\u00fc\u00f6\u738b\u674e._-+=@ /\\\n\t0", max_size=12)
NAMES = st.one_of(
    LATIN, st.text(max_size=300), st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
)


def composed(name):
    return unicodedata.normalize("NFC", name)


@given(NAMES, NAMES)
@example("M\u00fcller", "M\u00f6ller")
@example("\u738b", "\u674e")
@example("a_b", "a__b")
@example("x" * 300 + "a", "x" * 300 + "b")
@example("x" * 120, "x" * 121)
@example("M\udcfcller", "M\udcf6ller")
@example("", "_")
def test_distinct_for_distinct(one, other):
    for name in (safe_name, folder_name):
        first, second = name(one), name(other)
        if composed(one) == composed(other):
            assert first == second
        elif composed(one) != second and composed(other) != first:  # a name may be what another one becomes
            assert first != second
            if composed(one) != first and composed(other) != second:  # also where case does not count
                assert first.casefold() != second.casefold()


@given(NAMES)
def test_safe_names_are_plain_short_and_final(name):
    safe = safe_name(name)
    assert is_plain_name(safe)
    assert len(safe) <= 120
    assert safe_name(safe) == safe
    assert safe_name(unicodedata.normalize("NFD", name)) == safe_name(unicodedata.normalize("NFC", name))


@given(NAMES)
@example("..")
@example("a\n")
@example("index.html")
@example("Slides.CSV")
@example("=1+2")
@example("\u738b" * 80)
def test_folders_are_folders_inside_on_every_system(name):
    folder = folder_name(name)
    assert folder_name(folder) == folder
    assert PureWindowsPath("out", folder).parent == PureWindowsPath("out")
    assert folder.isprintable()
    assert 0 < len(folder.encode()) <= 200
    assert folder[0] not in ".=+-@ "
    assert folder[-1] not in ". "
    assert folder.lower() not in ("index.html", "slides.csv", "con", "nul")
    assert text_cell(folder) == folder


@pytest.mark.parametrize("name", ["S1", "1031280-2300-27920", "_a", "a__b", "TCGA-A1-A0SK-01Z.0-DX1", "x" * 120])
def test_what_is_plain_stays(name):
    assert safe_name(name) == folder_name(name) == name


@pytest.mark.parametrize("name", ["Fall 12 (HE)", "M\u00fcller", "\u738b", "a.b", "50% & more", "'quoted'"])
def test_readable_folders_stay(name):
    assert folder_name(name) == name


@pytest.mark.parametrize(
    "name", ["S1.", "con", "NUL.1", "com1", "LPT\u00b9", "index.html", "Slides.csv", "", ".a", "-a", "a b", "x" * 201]
)
def test_what_is_not_plain(name):
    assert not is_plain_name(name)
    assert safe_name(name) != name


def test_what_ascii_can_show_is_shown():
    assert safe_name("M\u00fcller").startswith("Muller-")
    assert safe_name("../../etc", "a b\n+0").startswith("etc-a_b_0-")


@pytest.mark.parametrize("other", ["p1", "P 1 ", "P1\u00a0", "\uff301", "P01", "P1\u200b", "\tP001"])
def test_names_that_look_alike(other):
    assert look_alikes(["P1", "P2", other, "P1"]) == [sorted(["P1", other])]


@pytest.mark.parametrize(
    "names", [["P1", "P10", "P11"], ["P1-1", "P11"], ["A0SK", "ASK"], ["1-0", "1-00x"], ["M\u00fcller", "M\u00f6ller"]]
)
def test_names_that_do_not(names):
    assert look_alikes(names) == []


@given(NAMES)
def test_a_likeness_is_its_own(name):
    assert likeness(likeness(name)) == likeness(name)


@given(NAMES)
def test_shown_names_can_be_written_anywhere(name):
    shown = shown_name(name)
    assert shown.encode().decode() == shown
    assert shown.isprintable()


@pytest.mark.parametrize("text", ["=1+2", "+1", "-1", "@a", "\t=1", "\r=1", "\uff1d1"])
def test_no_cell_is_a_formula(text):
    assert text_cell(text) == f"'{text}"
    assert text_cell(f"a{text}") == f"a{text}"


@given(st.text("='a+ ", max_size=6))
def test_a_cell_is_read_back(text):
    assert cell_text(text_cell(text)) == text
