import pytest

from pipelines import patches, run_stage
from wsss_mm.patches import get_vocabulary, read_manifest
from wsss_mm.settings import load_params


@pytest.fixture
def stage(project_root, tmp_path, monkeypatch, cohort, quarters):
    """Runs the stage on a small cohort in a folder of its own, as `python -m pipelines.patches` would."""
    for name, split in (("a", "train"), ("b", "valid"), ("c", "test")):
        cohort.add(name, split, truth=quarters)
    text = (project_root / "params.yaml").read_text().replace("  size: 224   # px", "  size: 128")
    (tmp_path / "params.yaml").write_text(text)
    (tmp_path / "data").mkdir()
    cohort.folder.rename(tmp_path / "data" / "cohort")
    monkeypatch.chdir(tmp_path)
    assert load_params().patches.size == 128
    return lambda: run_stage(patches.main)


def test_stage_makes_a_manifest_that_reads(stage):
    stage()
    assert len(read_manifest("data/patches", get_vocabulary("lung"))) == 36


def test_failed_stage_says_why_and_damages_nothing(stage, tmp_path, capsys):
    stage()
    before = (tmp_path / "data/patches/manifest.parquet").read_bytes()
    (tmp_path / "data/cohort/slides/c.tiff").unlink()
    with pytest.raises(SystemExit) as ended:
        stage()
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert "c.tiff" in last
    assert (tmp_path / "data/patches/manifest.parquet").read_bytes() == before
    assert [path.name for path in (tmp_path / "data").iterdir() if path.name.startswith(".")] == []
