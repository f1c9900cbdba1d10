"""Unlabelled slides and two journals become patches: what readers are not sure of arrives as such."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines import cohort, labels, patches
from tests.gates.project import tissue_image, write_slide
from tests.settings import copy_profile
from wsss_mm.labelling import Journal, journal_path, new_entry
from wsss_mm.patches import VOCABULARIES, read_manifest
from wsss_mm.settings import load_params
from wsss_mm.slides.table import write_slide_table

SIDE = 64  # px of a patch at 1 um/px, half as wide as on the slide


@pytest.fixture
def params(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    copy_profile(tmp_path)
    (tmp_path / "own").mkdir()
    rows = []
    for number, name in enumerate(("s1", "s2")):
        image = tissue_image(np.random.default_rng(number), 512, 512, np.zeros((512, 512), int))
        write_slide(tmp_path / f"own/{name}.tiff", image)
        split = ("train", "valid")[number]
        rows.append({"slide_id": name, "patient_id": f"p{name}", "path": f"{name}.tiff", "split": split})
    write_slide_table(pd.DataFrame(rows), tmp_path / "own/slides.csv")
    params = load_params()
    own = params.cohort.model_copy(update={"name": "slides", "source": Path("own/slides.csv")})
    cut = params.patches.model_copy(update={"size": SIDE})
    return params.model_copy(update={"cohort": own, "patches": cut})


def say(reader: str, slide: str, x: int, kind: str = "answer", **classes: str) -> None:
    entry = new_entry(kind, slide=slide, x=x, y=0, mpp=1.0, size=SIDE, classes=classes)
    Journal(journal_path(reader), reader).append([entry])


def test_from_journals_to_the_manifest(params, tmp_path):
    everything = {"TE": "present", "NEC": "absent", "LYM": "absent", "TAS": "absent"}
    say("ann", "s1", 0, **everything)
    say("bob", "s1", 0, **everything | {"LYM": "present"})
    say("ann", "s1", 128, **dict.fromkeys(everything, "absent"))
    say("ann", "s1", 256, **everything | {"TAS": "unsure"})
    say("ann", "s2", 0, TE="present")
    say("bob", "s2", 0, TE="absent")
    say("eve", "s2", 0, "settle", TE="present")
    for stage in (labels, cohort, patches):
        stage.main(params)
    manifest = read_manifest("data/patches", VOCABULARIES["lung"])
    assert manifest[["patch_id", "split", "TE", "LYM", "unsure"]].to_numpy().tolist() == [
        ["s1-0-0", "train", True, False, "LYM"],
        ["s1-256-0", "train", True, False, "TAS"],
        ["s2-0-0", "valid", True, False, "NEC;LYM;TAS"],
    ]
