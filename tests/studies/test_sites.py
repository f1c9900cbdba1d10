"""The study of how well sites can be read: what it takes, and the row it adds."""

import numpy as np
import pandas as pd
import pytest

from studies import sites as study
from studies.rows import read_rows
from studies.sites import of_several_slides
from tests.evaluation.test_sites import CODES, features, manifest
from wsss_mm.errors import InputError
from wsss_mm.features.store import Features
from wsss_mm.settings import load_profile


def test_two_sites_with_two_slides_are_needed():
    rows = manifest()
    lonely = pd.concat([rows, rows[:3].assign(slide_id="s9", site="C"), rows[:3].assign(slide_id="s8", site=None)])
    assert set(of_several_slides(lonely)["site"]) == {"A", "B"}
    for few in (rows.assign(site="A"), rows.assign(site=None), rows[:24], rows.assign(x=-1)):
        with pytest.raises(InputError, match="no two sites have patches of two slides each; name sites in column site"):
            of_several_slides(few)


def test_the_study_adds_a_row(tmp_path, monkeypatch):
    rows = manifest()
    monkeypatch.setattr(study, "read_manifest", lambda *_: rows)
    monkeypatch.setattr(study, "load_params", lambda: load_profile("wsss4luad"))
    monkeypatch.setattr(study.Cohort, "read", lambda *_: None)
    given = Features(features(rows, 12, 12).astype(np.float16), "classifier", None, CODES, "abc")
    monkeypatch.setattr("wsss_mm.features.store.features_of", lambda *_, **__: given)
    monkeypatch.setattr("sys.argv", ["sites", "--out", str(tmp_path / "rows.jsonl")])
    study.main()
    (row,) = read_rows(tmp_path / "rows.jsonl")
    assert (row["encoder"], row["sites"], row["slides"]) == ("abc", ["A", "B"], 8)
    assert min(row["site"], row["tissue"]) > 0.95
