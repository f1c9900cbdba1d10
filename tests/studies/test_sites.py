"""How well sites can be read from features: told by slides that the probe did not see."""

import numpy as np
import pandas as pd
import pytest

from studies import sites as study
from studies.rows import read_rows
from studies.sites import of_several_slides, probe, readable
from wsss_mm.errors import InputError
from wsss_mm.features.store import Features
from wsss_mm.patches import get_vocabulary
from wsss_mm.settings import load_profile

CODES = get_vocabulary("luad_normal").codes


def manifest(slides=8, each=12):
    """Patches of two sites, with classes that are independent of them."""
    count = slides * each
    return pd.DataFrame(
        {
            "slide_id": np.repeat([f"s{slide}" for slide in range(slides)], each),
            "site": np.repeat([f"{'AB'[slide % 2]}" for slide in range(slides)], each),
            "x": 0,
            "y": np.arange(count),
            "unsure": None,
            CODES[0]: np.arange(count) % 2 == 0,
            CODES[1]: np.arange(count) % 3 == 0,
            CODES[2]: True,  # which cannot be judged
        }
    )


def features(rows, site=0.0, tissue=0.0, slide=0.0):
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (len(rows), 12))
    values[:, 0] += site * (rows["site"] == "A")
    values[:, 1] += tissue * rows[CODES[0]]
    values[:, 2] += tissue * rows[CODES[1]]
    values += slide * rng.normal(0, 1, (8, 12))[rows["slide_id"].str[1:].astype(int)]
    return values


@pytest.mark.parametrize(("site", "tissue"), [(0, 12), (12, 0), (12, 12)])
def test_what_is_in_the_features_is_read_from_them(site, tissue):
    rows = manifest()
    found = readable(rows, features(rows, site, tissue), CODES)
    for name, there in (("site", site), ("tissue", tissue), (f"tissue.{CODES[0]}", tissue)):
        assert found[name] > 0.95 if there else abs(found[name]) < 0.3
    assert found[f"tissue.{CODES[2]}"] is None


def test_a_slide_that_can_be_told_tells_no_site():
    """Each slide has a mark of its own, by which patches of slides that were seen would be known."""
    rows = manifest()
    values = features(rows, slide=30)
    assert probe(values, rows["site"].to_numpy(str), rows["slide_id"].to_numpy(str)) < 0.6
    assert probe(values, rows["site"].to_numpy(str), np.arange(len(rows)).astype(str)) > 0.95


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
