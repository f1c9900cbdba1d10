"""One patient under two ids in two splits is a leak."""

import logging

import pandas as pd
import pytest

from wsss_mm.errors import InputError
from wsss_mm.slides.patients import alike_patients, check_alike


def slides(*rows):
    return pd.DataFrame(rows, columns=["slide_id", "patient_id", "split"])


@pytest.mark.parametrize("other", ["p1", "P 1 ", "P01", "P1\u00a0"])
def test_two_splits_are_refused_and_one_is_warned_of(other, caplog):
    with pytest.raises(InputError, match=r"t\.csv: patients .*'P1'.* the splits test and train"):
        check_alike(slides(("a", "P1", "train"), ("b", other, "test")), "t.csv")
    with caplog.at_level(logging.WARNING):
        check_alike(slides(("a", "P1", "train"), ("b", other, "train"), ("c", "P2", "test")), "t.csv")
    assert "t.csv: patients" in caplog.text


def test_groups_name_patients_and_splits():
    table = slides(("a", "P1", "train"), ("b", "p1", "test"), ("c", "P2", "valid"), ("d", "P1", "train"))
    assert alike_patients(table) == [(["P1", "p1"], ["test", "train"])]
    assert alike_patients(table.iloc[[0, 2]]) == []


def test_slides_that_some_systems_take_for_one(caplog):
    with pytest.raises(InputError, match="'S1' and 's1' differ only in case"):
        check_alike(slides(("S1", "P1", "train"), ("s1", "P2", "train")), "t.csv")
    check_alike(slides(("S1", "P1", "train"), ("S01", "P1", "train")), "t.csv")
    assert not caplog.text
