import pytest

from studies.rows import add_row, read_rows, with_values
from studies.tables import ablation_table, noise_table, spread
from wsss_mm.errors import InputError
from wsss_mm.settings import load_profile


def test_values_are_set_as_dvc_sets_them():
    params = with_values(load_profile("phantom"), ["segmenter.loss=ce", "seed=3", "pseudo_labels.scales=[1.0]"])
    assert (params.segmenter.loss, params.seed, params.pseudo_labels.scales) == ("ce", 3, (1.0,))
    assert with_values(load_profile("phantom"), []) == load_profile("phantom")


def test_exponents_are_numbers():
    assert with_values(load_profile("phantom"), ["segmenter.lr=1e-3"]).segmenter.lr == 0.001


@pytest.mark.parametrize(
    "value",
    ["segmenter.los=ce", "segmentor.loss=ce", "seed.x=1", "segmenter.lr.x=1", "segmenter.lr=no", "segmenter.lr=[1"],
)
def test_a_key_that_does_not_exist_is_named(value):
    with pytest.raises(InputError, match=value.partition("=")[0]):
        with_values(load_profile("phantom"), [value])


def test_rows_come_back_in_order(tmp_path):
    path = tmp_path / "new" / "rows.jsonl"
    assert read_rows(path) == []
    add_row(path, {"seed": 0, "miou": 0.5})
    add_row(path, {"seed": 1, "miou": None})
    assert read_rows(path) == [{"miou": 0.5, "seed": 0}, {"miou": None, "seed": 1}]


def test_spread_is_the_sample_deviation_and_says_how_many_seeds():
    assert spread([0.1, 0.2, 0.3]) == "0.200 ± 0.100"
    assert spread([0.5]) == "0.500 (n=1)"
    assert spread([]) == "-"


def test_noise_table_has_a_row_a_level_clean_first():
    rows = [
        {"kind": kind, "level": level, "loss": loss, "seed": seed, "miou": 0.5}
        for kind, level in (("pixels", 0.2), ("none", 0.0))
        for loss in ("ce", "onss", "onss_margin")
        for seed in range(3)
    ]
    lines = noise_table(rows).splitlines()
    assert lines[2] == "| none | 0% | 0.500 ± 0.000 | 0.500 ± 0.000 | 0.500 ± 0.000 |"
    assert lines[3].startswith("| pixels | 20% |")


def test_ablation_differences_are_taken_seed_by_seed():
    rows = [
        {"variant": variant, "seed": seed, "miou": base + seed / 10, "miou_pseudo_labels": 0.8}
        for variant, base in (("reference", 0.5), ("ce", 0.4))
        for seed in range(3)
    ]
    lines = ablation_table(rows).splitlines()
    assert lines[2].endswith("| 0.600 ± 0.100 |  |")
    assert lines[3].endswith("| 0.500 ± 0.100 | -0.100 ± 0.000 |")
