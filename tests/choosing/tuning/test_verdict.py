"""What is not clearly better is not chosen, and params.yaml keeps its lines."""

import numpy as np
import pytest

from wsss_mm.choosing.tuning.halving import RungTraining, Score
from wsss_mm.choosing.tuning.journal import TrialJournal, trial_key
from wsss_mm.choosing.tuning.values import with_values
from wsss_mm.choosing.tuning.verdict import chosen, judged, write_values
from wsss_mm.errors import InputError
from wsss_mm.settings import load_params, load_profile, render_gates, render_profile

CODES = ("A", "B")


def _score(share, seed=0, units=12):
    """A score of slides of which this share of the pixels is right."""
    rng = np.random.default_rng(seed)
    right = np.clip(rng.normal(share, 0.02, (units, 2)), 0, 1) * 1000
    counts = np.stack([[[row[0], 1000 - row[0]], [1000 - row[1], row[1]]] for row in right]).round().astype(np.int64)
    return Score(share, 10.0, counts)


def _judged(*scores):
    entries = [
        RungTraining(contender, 0, 1.0, seed) for contender, own in enumerate(scores) for seed in range(len(own))
    ]
    flat = dict(zip(entries, [score for own in scores for score in own], strict=True))
    return judged(entries, flat, CODES, resamples=200, seed=0)


def test_what_is_clearly_better_is_chosen():
    rows = _judged([_score(0.6)], [_score(0.8)], [_score(0.4)])
    assert [row.contender for row in rows] == [1, 0, 2]
    assert [row.verdict for row in rows] == ["better", "", "worse"]
    assert rows[0].interval[0] > 0
    assert chosen(rows) == 1


@pytest.mark.parametrize(("second", "says"), [(_score(0.605, 0), "a tie"), (_score(0.602, 5), "cannot tell")])
def test_ties_keep_what_params_yaml_has(second, says):
    rows = _judged([_score(0.6)], [second])
    assert next(row for row in rows if row.contender == 1).verdict == says
    assert chosen(rows) == 0


def test_without_masks_three_seeds_are_needed():
    def of(values):
        return [Score(value, 1.0) for value in values]

    assert chosen(_judged(of([0.6]), of([0.8]))) == 0
    assert chosen(_judged(of([0.6, 0.6, 0.61]), of([0.8, 0.7, 0.65]))) == 1
    assert chosen(_judged(of([0.6, 0.6, 0.66]), of([0.8, 0.7, 0.65]))) == 0


@pytest.fixture
def file(tmp_path):
    (tmp_path / "gates.yaml").write_text(render_gates("phantom"))
    path = tmp_path / "params.yaml"
    path.write_text(render_profile("phantom"))
    return path


def test_values_are_written_and_all_other_lines_stay(file):
    before = file.read_text().splitlines()
    write_values(file, {"segmenter.lr": 1e-05, "segmenter.loss": "onss", "classifier.scale_jitter": [0.9, 1.1]})
    after = file.read_text().splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 3
    assert all(old.partition("#")[2] == new.partition("#")[2] for old, new in changed)
    params = load_params(file)
    assert (params.segmenter.lr, params.segmenter.loss) == (1e-05, "onss")
    assert params.classifier.scale_jitter == (0.9, 1.1)
    assert params.classifier.lr == load_profile("phantom").classifier.lr


def test_a_line_that_cannot_be_written_is_named_and_nothing_changes(file):
    text = file.read_text().replace("  loss: ce", "  loss: &kind ce")
    file.write_text(text)
    with pytest.raises(InputError, match=r"params.yaml: line \d+: write loss: onss there by hand"):
        write_values(file, {"segmenter.lr": 0.1, "segmenter.loss": "onss"})
    assert file.read_text() == text


def test_a_journal_goes_on_after_a_kill(tmp_path):
    path = tmp_path / "tune/journal.jsonl"
    TrialJournal(path).add("a", "tune-a", {"segmenter.lr": 0.1}, _score(0.5))
    with path.open("a") as stream:
        stream.write('{"key": "b", "val')  # killed in the middle of a line
    journal = TrialJournal(path)
    assert journal.get("b") is None
    journal.add("c", "tune-c", {}, Score(0.25, 3.0))
    again = TrialJournal(path)
    assert again.get("c") == Score(0.25, 3.0)
    assert np.array_equal(again.get("a").counts, _score(0.5).counts)


def test_another_cohort_or_rung_is_another_trial():
    params = load_profile("phantom")
    keys = {
        trial_key(params, {"patches": "1", "code": "x"}),
        trial_key(params, {"patches": "2", "code": "x"}),
        trial_key(params, {"patches": "1", "code": "y"}),
        trial_key(with_values(params, {"segmenter.iterations": 100}, "x"), {"patches": "1", "code": "x"}),
        trial_key(with_values(params, {"seed": 1}, "x"), {"patches": "1", "code": "x"}),
    }
    assert len(keys) == 5
    assert trial_key(with_values(params, {"evaluate.flip": False}, "x"), {"patches": "1", "code": "x"}) in keys
