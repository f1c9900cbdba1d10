"""Numbers of formats: which are read, and what a message says of the others."""

from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss_mm import __version__
from wsss_mm.errors import InputError
from wsss_mm.files import read_json, write_json
from wsss_mm.formats import (
    DamagedError,
    NewerError,
    OlderError,
    check_format,
    number_line,
    read_lines,
    read_object,
    read_rows,
    write_object,
    write_rows,
)
from wsss_mm.places import CHECKPOINT, FIGURES, PATCH_MANIFEST

LATER = replace(FIGURES, format=5, oldest=2)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


@given(JSON | st.integers(-3, 8))
def test_a_number_is_read_or_refused_for_one_reason(number):
    whole = isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= 9999
    if whole and 2 <= number <= 5:
        assert check_format(number, LATER, "a.json") == number
        return
    wanted = DamagedError if not whole else NewerError if number > 5 else OlderError
    with pytest.raises(wanted, match=r"^a\.json: (damaged|newer|older)"):
        check_format(number, LATER, "a.json")


def test_the_three_messages():
    with pytest.raises(OlderError) as older:
        check_format(1, LATER, "a.json")
    with pytest.raises(NewerError) as newer:
        check_format(6, LATER, "a.json")
    with pytest.raises(DamagedError) as damaged:
        check_format("x", LATER, "a.json", "make it again: dvc repro -f evaluate")
    assert str(older.value) == (
        f"a.json: older than what wsss_mm {__version__} reads: file of figures of format 1, and formats from 2 are "
        "read; make it again: dvc repro"
    )
    assert str(newer.value) == (
        f"a.json: newer than wsss_mm {__version__}: file of figures of format 6, and formats up to 5 are read; "
        "update wsss_mm to the version that wrote it"
    )
    assert str(damaged.value) == ("a.json: damaged: 'x' is no number of a format; make it again: dvc repro -f evaluate")


def test_object(tmp_path):
    write_object(tmp_path / "a.json", FIGURES, {"miou": 0.5})
    assert read_json(tmp_path / "a.json") == {"format": 1, "miou": 0.5}
    assert read_object(tmp_path / "a.json", FIGURES)["miou"] == 0.5
    with pytest.raises(OlderError):
        read_object(tmp_path / "a.json", LATER)


def test_object_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"a\.json: not found; make it with: dvc repro -f evaluate$"):
        read_object(tmp_path / "a.json", FIGURES, remedy="dvc repro -f evaluate")
    (tmp_path / "a.json").mkdir()
    with pytest.raises(InputError, match=r"a\.json: cannot be read \(.*\); "):
        read_object(tmp_path / "a.json", FIGURES)


def test_what_says_nothing_is_of_format_0(tmp_path):
    write_json(tmp_path / "a.json", {"miou": 0.5})
    assert read_object(tmp_path / "a.json", FIGURES) == {"miou": 0.5}
    with pytest.raises(OlderError, match="of format 0"):
        read_object(tmp_path / "a.json", LATER)


def test_rows(tmp_path):
    table = pa.table({"patch_id": ["a", "b"], "tissue": [0.5, 1.0]})
    for name in ("a", "b"):
        write_rows(tmp_path / name, PATCH_MANIFEST, table.replace_schema_metadata({"library": name}))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    pd.testing.assert_frame_equal(
        read_rows(tmp_path / "a", PATCH_MANIFEST), pd.DataFrame({"patch_id": ["a", "b"], "tissue": [0.5, 1.0]})
    )
    with pytest.raises(NewerError, match="manifest of patches of format 2"):
        read_rows(tmp_path / "a", replace(PATCH_MANIFEST, format=0))


def test_lines_may_say_their_format_more_than_once(tmp_path):
    path, line = tmp_path / "checkpoint.sha256", number_line(CHECKPOINT)
    path.write_text(f"one\n{line}two\n{line}three\n", encoding="utf-8")
    assert read_lines(path, CHECKPOINT) == ["one", "two", "three"]
