import pandas as pd

from studies.folds import folds
from studies.tables import folds_table
from wsss_mm.patches import get_vocabulary

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
