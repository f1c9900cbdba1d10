"""`wsss-mm tune`, from the command line to params.yaml, with trials that are made up."""

import dataclasses
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from tests.settings import copy_profile
from wsss_mm import places
from wsss_mm.choosing.tuning import experiments
from wsss_mm.choosing.tuning.halving import Score
from wsss_mm.cli.main import main
from wsss_mm.settings import load_params


@dataclasses.dataclass
class Pretended:
    """Trials that are the better the higher the learning rate, each of a second for a whole training."""

    root: object
    base: object
    queue: bool = True
    made: ClassVar[list] = []

    def __call__(self, trials):
        for trial in trials:
            self.made.append(trial.name)
            rate = trial.params.segmenter.lr
            right = int(min(0.5 + 100 * rate, 0.95) * 1000)
            counts = np.tile(np.diag([right] * 4) + np.roll(np.diag([1000 - right] * 4), 1, 1), (10, 1, 1))
            yield trial, Score(right / 1000, trial.params.segmenter.iterations / 300, counts)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with params.yaml and a manifest; no git, DVC or training."""
    copy_profile(tmp_path)
    monkeypatch.chdir(tmp_path)
    Pretended.made = []
    monkeypatch.setattr(experiments, "Experiments", Pretended)
    monkeypatch.setattr(experiments, "check_project", lambda root: None)
    monkeypatch.setattr(experiments, "code_digest", lambda root: "c")
    (tmp_path / places.PATCHES).mkdir(parents=True)
    (tmp_path / places.PATCHES / places.MANIFEST).write_bytes(b"x")
    masks = [f"masks/{number}.png" for number in range(6)]
    frame = pd.DataFrame({"split": ["train", *["valid"] * 6, "test"], "mask_path": [None, *masks, "gone.png"]})
    frame["patient_id"] = [f"p{number}" for number in range(len(frame))]
    monkeypatch.setattr("wsss_mm.patches.read_manifest", lambda *_: frame)
    (tmp_path / "v.yaml").write_text("segmenter.lr: [0.001, 0.002, 0.004]\n")
    return frame


TUNE = ["tune", "--budget", "1h", "--values", "v.yaml"]


def test_what_is_clearly_better_is_shown_and_written_if_wanted(project, capsys):
    assert main(TUNE) == 0
    said = capsys.readouterr().out
    assert "* 0.900" in said
    assert "chosen: segmenter.lr 0.004, clearly better than params.yaml" in said
    assert load_params().segmenter.lr == 0.002
    made = list(Pretended.made)
    assert main([*TUNE, "--apply"]) == 0
    assert Pretended.made == made  # all of them are in the journal
    assert load_params().segmenter.lr == 0.004
    assert "params.yaml: written" in capsys.readouterr().out


def test_masks_of_few_patients_are_told_of(project, capsys, caplog):
    assert main(TUNE) == 0
    assert "judge the trials" not in caplog.text
    project["patient_id"] = "p"
    assert main(TUNE) == 0
    assert (
        "masks of 1 validation patient judge the trials; with fewer than 6, what is better may be worse" in caplog.text
    )


def test_another_cohort_makes_its_trials_anew(project, capsys):
    assert main(TUNE) == 0
    made = len(Pretended.made)
    (places.PATCHES / places.MANIFEST).write_bytes(b"y")
    assert main(TUNE) == 0
    assert len(Pretended.made) == 2 * made


def test_a_tie_keeps_params_yaml(project, tmp_path, capsys):
    (tmp_path / "v.yaml").write_text("segmenter.lr: [0.002, 0.00201]\n")
    assert main([*TUNE, "--apply"]) == 0
    assert "chosen: params.yaml as it is" in capsys.readouterr().out
    assert load_params().segmenter.lr == 0.002


@pytest.mark.parametrize(
    ("change", "argv", "says"),
    [
        (
            lambda frame: frame.drop(frame.index[frame["split"] == "valid"], inplace=True),
            TUNE,
            "no validation patch, on",
        ),
        (lambda frame: frame.__setitem__("mask_path", None), TUNE, "segmenter.lr: no validation patch has a mask"),
        (lambda frame: None, ["tune", "--budget", "1s", "--values", "v.yaml"], "--budget: 1 s is too short"),
        (lambda frame: None, ["tune", "--budget", "1h", "--values", "none.yaml"], "none.yaml: not found"),
    ],
)
def test_what_is_wrong_is_one_line(project, capsys, change, argv, says):
    change(project)
    assert main(argv) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("wsss-mm: error")]
    assert len(error) == 1
    assert says in error[0]


@pytest.mark.parametrize("budget", ["2", "h", "0h", "-1h"])
def test_a_time_that_is_none_is_refused(budget, capsys):
    with pytest.raises(SystemExit):
        main(["tune", f"--budget={budget}"])
    assert "is no time" in capsys.readouterr().err
