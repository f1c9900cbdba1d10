import numpy as np
import pandas as pd
import pytest

from studies import folds as study
from studies.folds import folds, sites
from studies.rows import read_rows
from studies.tables import folds_table
from wsss_mm.errors import InputError
from wsss_mm.patches import get_vocabulary
from wsss_mm.settings import load_profile

VOCABULARY = get_vocabulary("luad_normal")


def manifest():
    rows = [
        {"slide_id": f"R{i:02}", "TUM": i % 2 == 0, "STR": True, "NOR": i in {3, 4, 5, 11}}
        for i in range(14)
        for _ in range(2)
    ]
    return pd.DataFrame(rows)


def test_every_slide_is_held_out_once():
    found = folds(manifest(), VOCABULARY, 4)
    assert sorted(slide for fold in found for slide in fold) == sorted(set(manifest()["slide_id"]))


def test_every_fold_has_its_share_of_the_rarest_class():
    rare = {f"R{i:02}" for i in (3, 4, 5, 11)}
    assert [len(fold & rare) for fold in folds(manifest(), VOCABULARY, 4)] == [1, 1, 1, 1]


def test_table_has_a_row_a_cohort():
    rows = [
        {"cohort": "a", "slides": 31, "seed": seed, "weak": {"miou": 0.5}, "full": {"miou": 0.6}} for seed in range(3)
    ]
    assert folds_table(rows).splitlines()[2] == "| a | 31 | 0.500 ± 0.000 | 0.600 ± 0.000 |"


def test_each_site_is_held_out_once_and_whole():
    rows = manifest().assign(site=[f"S{i // 2 % 3}" for i in range(28)])
    found = sites(rows)
    assert list(found) == ["S0", "S1", "S2"]
    assert found["S1"] == {"R01", "R04", "R07", "R10", "R13"}
    assert sum(map(len, found.values())) == 14


@pytest.mark.parametrize(
    ("site", "says"),
    [
        (["A"] * 26 + [None] * 2, "R13 has no site; give"),
        (["A"] * 28, "all slides with masks are of site A; --by site"),
    ],
)
def test_without_sites_nothing_is_trained(site, says):
    with pytest.raises(InputError, match=says):
        sites(manifest().assign(site=site))


def test_of_each_site_it_is_said_how_good_a_network_is_that_never_saw_it(tmp_path, monkeypatch):
    """The whole study, with networks that need no training."""
    rows = manifest().assign(site=[f"S{i // 2 % 2}" for i in range(28)], split="test", mask_path="m.png")
    right, wrong = np.eye(3, dtype=np.int64) * 10, np.ones((3, 3), dtype=np.int64)
    monkeypatch.setattr(study, "read_manifest", lambda *_: rows)
    monkeypatch.setattr(study, "load_params", lambda: load_profile("wsss4luad"))
    monkeypatch.setattr(study, "judge_model", lambda *_: right)
    monkeypatch.setattr(study, "train_and_judge", lambda _, rows, held, __: wrong if "R01" in held else right)
    monkeypatch.setattr("sys.argv", ["folds", "--by", "site", "--out", str(tmp_path / "rows.jsonl")])
    study.main()
    study.main()  # has its row
    (row,) = read_rows(tmp_path / "rows.jsonl")
    assert (row["by"], row["folds"], row["slides"]) == ("site", 2, 14)
    assert row["sites"] == {"S0": {"weak": 1.0, "full": 1.0}, "S1": {"weak": 1.0, "full": 0.2}}
    assert folds_table([row]).splitlines()[2:] == [
        "| wsss4luad, by site | 14 | 1.000 (n=1) | 0.733 (n=1) |",
        "| wsss4luad, S0 held out |  | 1.000 (n=1) | 1.000 (n=1) |",
        "| wsss4luad, S1 held out |  | 1.000 (n=1) | 0.200 (n=1) |",
    ]
