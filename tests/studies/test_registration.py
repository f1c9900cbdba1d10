"""A verdict is for what was written down before the first run, and only for that."""

import sys

import pytest

from studies import registration, search
from studies.registration import KEY, MATRICES, read_registration, registered, verdict
from studies.rows import read_rows
from wsss_mm.errors import InputError

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
    variants = search.read_variants(registration.FOLDER.parent / f"{plan.cohort}.yaml")
    assert {plan.reference, plan.variant} <= set(variants)
