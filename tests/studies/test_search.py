from pathlib import Path

import pytest

from studies import search
from studies.rows import read_rows, with_values
from studies.search import read_variants
from studies.tables import search_table
from wsss_mm.settings import load_profile

SHARED = ("encoders", "stains", "decoders")
"""Files of variants that are of no one cohort."""
FILES = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_variant_is_a_setting_of_the_line(path):
    for values in read_variants(path).values():
        for cohort in ("wsss4luad", "bcss_wsss"):
            if path.stem in (cohort, *SHARED):
                with_values(load_profile(cohort), values)


def test_a_variant_builds_on_another_and_later_values_win(tmp_path):
    path = tmp_path / "variants.yaml"
    path.write_text("base: &base [seed=1, segmenter.loss=ce]\nmore: &more [*base, seed=2]\nmost: [*more, threads=1]\n")
    variants = read_variants(path)
    assert variants["more"] == ["seed=1", "segmenter.loss=ce", "seed=2"]
    assert variants["most"] == [*variants["more"], "threads=1"]
    assert with_values(load_profile("phantom"), variants["more"]).seed == 2


def test_what_has_a_row_is_skipped_and_a_name_keeps_its_values(tmp_path, monkeypatch, capsys):
    path, out = tmp_path / "variants.yaml", tmp_path / "search.jsonl"
    monkeypatch.setattr(search, "run_variant", lambda params, work: {"miou": float(params.seed)})
    monkeypatch.setattr("sys.argv", ["search", str(path), "--out", str(out)])
    path.write_text("one: [segmenter.loss=ce]\n")
    search.main()
    search.main()
    assert [row["variant"] for row in read_rows(out)] == ["one"]
    path.write_text("one: [segmenter.loss=onss]\n")
    with pytest.raises(SystemExit, match="2"):
        search.main()
    assert "one has rows with other values; rename it" in capsys.readouterr().err


def test_what_is_registered_runs_by_one_command(tmp_path, monkeypatch, capsys):
    out, base = tmp_path / "search.jsonl", load_profile("wsss4luad")
    monkeypatch.setattr(search, "load_params", lambda: base)
    monkeypatch.setattr(search, "run_variant", lambda params, work: {"miou": float(params.seed)})
    monkeypatch.setattr("sys.argv", ["search", "--registered", "luad-encoder-frozen", "--out", str(out)])
    search.main()
    rows = read_rows(out)
    assert {row["variant"] for row in rows} == {"encoder lite0, ImageNet", "encoder lite0, ImageNet, frozen"}
    assert [row["seed"] for row in rows] == [0, 0, 1, 1, 2, 2]
    assert all(row["registered"]["luad-encoder-frozen"] for row in rows)
    for name, says in (("bcss-encoder-frozen", "wsss-mm profile bcss_wsss"), ("luck", "luck: not registered; choose")):
        monkeypatch.setattr("sys.argv", ["search", "--registered", name, "--out", str(out)])
        with pytest.raises(SystemExit, match="2"):
            search.main()
        assert says in capsys.readouterr().err


def test_a_classifier_is_shared_by_what_it_was_trained_on_alone(tmp_path, monkeypatch):
    """Another cohort with the same settings, or patches that changed, have a classifier of their own."""
    monkeypatch.chdir(tmp_path)
    params = load_profile("phantom")
    manifest = tmp_path / "data/patches/manifest.parquet"
    manifest.parent.mkdir(parents=True)
    manifest.write_bytes(b"a cohort")
    key = search.classifier_key(params)
    assert search.classifier_key(with_values(params, ["segmenter.lr=0.1", "pseudo_labels.eps=0.1"])) == key
    assert search.classifier_key(with_values(params, ["classifier.lr=0.1"])) != key
    assert search.classifier_key(with_values(params, ["seed=7"])) != key
    assert search.classifier_key(with_values(params, ["stain.normalization=macenko"])) != key
    manifest.write_bytes(b"another")
    assert search.classifier_key(params) != key


def test_table_has_the_best_variant_first():
    rows = [
        {"cohort": "a", "variant": name, "seed": seed, "mean_ap": 0.9, "miou": miou, "seconds": [60, 30, 90]}
        for name, miou in (("worse", 0.4), ("better", 0.5))
        for seed in range(3)
    ]
    assert search_table(rows).splitlines()[2] == "| a | better | 0.900 ± 0.000 | 0.500 ± 0.000 | 3 |"
    probes = [{"cohort": cohort, "encoder": "statistics", "mean_ap.valid": 0.8} for cohort in ("a", "b")]
    lines = search_table(rows, probes).splitlines()
    assert lines[2] == "| a | linear probe on statistics | 0.800 | - | - |"
    assert lines[3].startswith("| a | better |")
    assert len(lines) == 5
