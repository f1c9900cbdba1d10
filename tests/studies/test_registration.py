"""A verdict is for what was written down before the first run, and only for that."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from studies import ablation, registration, search
from studies.registration import KEY, MATRICES, read_registration, registered, verdict
from studies.rows import read_rows
from tests.settings import content_of, write_settings
from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.evaluation.tables import count_table, write_plot
from wsss_mm.formats import write_object
from wsss_mm.vocabulary import get_vocabulary

PLAN = """question: Is ce better?
study: search
cohort: here
reference: profile
variant: ce
metric: miou
threshold: 0.02
seeds: [0, 1]
"""
WEAK, STRONG = [[60, 40], [40, 60]], [[90, 10], [10, 90]]
SLIDES = [f"slide-{index}" for index in range(8)]


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "registered/losses.yaml"
    path.parent.mkdir()
    path.write_text(PLAN)
    return path


def rows(plan, before, after, miou=(0.43, 0.82)):
    return [
        {
            **{"cohort": "here", "variant": variant, "seed": seed, "miou": value, KEY: registered(plan.parent)},
            MATRICES: dict.fromkeys(SLIDES, matrix),
        }
        for variant, matrix, value in (("profile", before, miou[0]), ("ce", after, miou[1]))
        for seed in (0, 1)
    ]


def test_better_worse_and_cannot_tell(plan):
    found = verdict(plan, rows(plan, WEAK, STRONG))
    assert found.word == "better"
    assert found.gain == pytest.approx(0.39)
    assert found.low > 0.35
    assert verdict(plan, rows(plan, STRONG, WEAK, (0.82, 0.43))).word == "worse"
    assert verdict(plan, rows(plan, WEAK, WEAK, (0.43, 0.43))).word == "cannot tell"
    assert verdict(plan, rows(plan, WEAK, STRONG, (0.43, 0.44))).word == "cannot tell", "less than the threshold"


def test_a_gain_of_one_slide_alone_cannot_be_told(plan):
    made = rows(plan, WEAK, WEAK)
    for row in made:
        if row["variant"] == "ce":
            row[MATRICES] = {**row[MATRICES], "slide-0": [[1000, 0], [0, 1000]]}
    assert verdict(plan, made).word == "cannot tell"


def test_a_file_that_is_younger_than_a_run_or_changed_since_gets_no_verdict(plan):
    made = rows(plan, WEAK, STRONG)
    plan.write_text(PLAN.replace("0.02", "0.01"))
    found = verdict(plan, made)
    assert found.word is None
    assert "younger than the run of profile with seed 0" in found.says
    before = [{key: value for key, value in row.items() if key != KEY} for row in made]
    assert verdict(plan, before).word is None
    assert verdict(plan, made[:-1]).word is None


def test_a_run_says_which_files_were_there_when_it_began(plan, tmp_path, monkeypatch):
    variants, out = tmp_path / "variants.yaml", tmp_path / "search.jsonl"
    variants.write_text("one: [segmenter.loss=ce]\n")
    begun = registered(plan.parent)
    monkeypatch.setattr(search, "registered", lambda: registered(plan.parent))

    def run(params, work):
        (plan.parent / "afterwards.yaml").write_text(PLAN)
        return {"miou": 0.5}

    monkeypatch.setattr(search, "run_variant", run)
    monkeypatch.setattr("sys.argv", ["search", str(variants), "--out", str(out)])
    search.main()
    assert [row[KEY] for row in read_rows(out)] == [begun]


def test_an_experiment_of_the_ablation_says_the_same_and_which_slides_it_was_judged_on(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out, begun = tmp_path / "ablation.jsonl", registered(plan.parent)
    write_settings(tmp_path, content_of("phantom"))
    monkeypatch.setattr(ablation, "registered", lambda: registered(plan.parent))
    monkeypatch.setattr(ablation, "_output", lambda *command: "")

    def run(*command, **options):
        """What stands for `dvc exp run`, which takes long enough for somebody to write another file."""
        (plan.parent / "afterwards.yaml").write_text(PLAN)
        write_object(places.SUMMARY_METRICS, places.FIGURES, {"miou": 0.5, "miou_pseudo_labels": 0.6})
        write_object(places.SEGMENTER_METRICS, places.FIGURES, {"miou": 0.4})
        codes, counts = get_vocabulary("lung").codes, np.arange(3 * 16).reshape(3, 4, 4)
        places.TEST_COUNTS.parent.mkdir(parents=True, exist_ok=True)
        write_plot(count_table(["one", "two", "three"], codes, ungated=counts, gated=counts), places.TEST_COUNTS)
        return subprocess.CompletedProcess(command, 0)

    manifest = pd.DataFrame({"patch_id": ["three", "two", "one", "of train"], "slide_id": ["b", "a", "a", "c"]})
    monkeypatch.setattr(ablation, "read_manifest", lambda folder, vocabulary: manifest)
    monkeypatch.setattr(ablation.subprocess, "run", run)
    monkeypatch.setattr("sys.argv", ["ablation", "--out", str(out), "--variants", "ce", "--seeds", "3"])
    ablation.main()
    (row,) = read_rows(out)
    assert row[KEY] == begun
    assert (row["cohort"], row["variant"], row["seed"], row["miou"], row["valid_miou"]) == (
        "phantom",
        "ce",
        3,
        0.5,
        0.4,
    )
    counts = np.arange(3 * 16).reshape(3, 4, 4)
    assert row[MATRICES] == {"a": (counts[0] + counts[1]).tolist(), "b": counts[2].tolist()}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("seeds: [0, 1]", "seeds: [0]"), "seeds"),
        (("metric: miou", "metric: luck"), "metric"),
        (("threshold: 0.02\n", ""), "threshold"),
        (("question", "answer"), "question"),
        (("seeds: [0, 1]", "seeds: [0, 1"), "cannot be read"),
    ],
)
def test_what_is_no_registration_is_refused_in_one_line(plan, change, says):
    plan.write_text(PLAN.replace(*change))
    with pytest.raises(InputError, match=says) as caught:
        read_registration(plan)
    assert "\n" not in str(caught.value)


def test_command_prints_every_verdict(plan, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["registration", "--folder", str(plan.parent), "--rows", str(tmp_path)])
    registration.main()
    assert "Is ce better?\n  refused: no run of profile with seed 0 yet" in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted(registration.FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_is_registered_names_variants_that_there_are(path):
    plan = read_registration(path)
    assert {plan.reference, plan.variant} <= set(search.read_variants(plan.file))
