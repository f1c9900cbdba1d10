"""`wsss-mm labels wanted`: which classes labels cannot tell apart, and which candidates would change that."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tests.settings import content_of, copy_profile, write_settings
from wsss_mm import places
from wsss_mm.cli.main import main
from wsss_mm.vocabulary import get_vocabulary

CODES = get_vocabulary("lung").codes


@pytest.fixture
def project(tmp_path, monkeypatch):
    """TE stands in no training patch without NEC; the classifier looked at 30 candidates."""
    monkeypatch.chdir(tmp_path)
    copy_profile(tmp_path)
    patches = pd.DataFrame({"slide_id": "s0", "x": range(12), "y": 0, "split": "train"})
    flags = {"TE": [True] * 6 + [False] * 6, "NEC": True, "LYM": [False] * 6 + [True] * 6, "TAS": [True, False] * 6}
    candidates = pd.DataFrame([(f"s{n % 6}-{n}-0", f"s{n % 6}", n, 0) for n in range(30)])
    candidates.columns = ["patch_id", "slide_id", "x", "y"]
    scores = np.full((30, len(CODES)), 0.9, np.float32)
    scores[7, CODES.index("NEC")] = 0.05
    monkeypatch.setattr("wsss_mm.patches.read_manifest", lambda *_: patches.assign(**flags))
    monkeypatch.setattr("wsss_mm.labelling.candidates.read_candidates", lambda: candidates)
    monkeypatch.setattr("wsss_mm.cohort.Cohort.read", lambda: None)
    seen = SimpleNamespace(scores=scores, codes=CODES)
    monkeypatch.setattr("wsss_mm.features.store.features_of", lambda *_, **__: seen)
    return tmp_path


def test_the_twenty_likeliest_are_written_as_a_queue(project, capsys):
    assert main(["--quiet", "labels", "wanted"]) == 2
    assert "the classifier has not looked at the candidates; dvc repro features" in capsys.readouterr().err
    places.FEATURES.mkdir(parents=True)
    (places.FEATURES / places.FEATURES_FILE).write_text("{}")
    assert main(["--quiet", "labels", "wanted"]) == 0
    said = capsys.readouterr().out
    assert "TE stands in no training patch without NEC: labels cannot tell them apart" in said
    assert f"{places.WANTED}: 20 patches; wsss-mm label --queue {places.WANTED}" in said
    table = pd.read_csv(places.WANTED)
    assert len(table) == 20
    of_te = table[(table["wanted"] == "TE") & (table["without"] == "NEC")]
    assert of_te["patch_id"].iloc[0] == "s1-7-0"


def test_a_data_set_of_patches_has_no_others_to_label(project, capsys):
    content = content_of("wsss4luad")
    content["cohort"]["vocabulary"] = "lung"
    write_settings(project, content)
    assert main(["--quiet", "labels", "wanted"]) == 0
    said = capsys.readouterr().out
    assert "TE stands in no training patch without NEC" in said
    assert "wsss4luad is a data set of labelled patches, of which there are no others to label" in said
    assert not places.WANTED.exists()
