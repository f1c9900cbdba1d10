from argparse import Namespace

import numpy as np
import pandas as pd
import pytest

from studies import labels
from studies.labels import Oracle, labels_of, ordered, reviewed, spoil, with_states
from studies.looks import look
from studies.pictures import labels_figure
from studies.rows import read_rows
from studies.tables import labels_table, spoiled_table
from wsss_mm.errors import InputError
from wsss_mm.sampling import probe
from wsss_mm.settings import load_profile
from wsss_mm.vocabulary import get_vocabulary

LUNG = get_vocabulary("lung")
CODES = list(LUNG.codes)


def oracle(count=120, seed=0):
    """Patches of six slides, whose looks tell the first two classes; the other two nobody can tell."""
    rng = np.random.default_rng(seed)
    looks = rng.normal(size=(count + 60, 6)).astype(np.float32)
    states = np.hstack([looks[:, :2] > 0.3, rng.random((count + 60, 2)) < 0.4]).astype(np.int8)
    rows = pd.DataFrame({"slide_id": [f"s{row % 6}" for row in range(count + 60)], "site": None, "split": "train"})
    rows[CODES] = states.astype(bool)
    judged = rows.iloc[count:].assign(split=["valid", "test"] * 30).reset_index(drop=True)
    return Oracle(rows.iloc[:count], states[:count], looks[:count], judged, looks[count:], LUNG)


@pytest.mark.parametrize("order", labels.ORDERS)
def test_an_order_goes_on_where_a_shorter_one_ends(order):
    known = oracle()
    rows = ordered(known, order, 60, 0, 20)
    assert len(rows) == len(set(rows)) == 60
    assert ordered(known, order, 40, 0, 20) == rows[:40]
    assert ordered(known, order, 60, 1, 20) != rows


def test_a_run_knows_of_the_labelled_patches_alone():
    known = oracle()
    run = {"part": "order", "order": "random", "labels": 30}
    states, extra = labels_of(known, run, 0, Namespace(batch=25))
    labelled = (states != probe.UNKNOWN).any(axis=1)
    assert labelled.sum() == 30
    assert np.array_equal(states[labelled], known.states[labelled])
    assert extra["present"]["TE"] == known.states[labelled, 0].sum()


def test_a_higher_level_spoils_what_a_lower_one_does_and_more():
    states = np.zeros((2000, 2), np.int8)
    low, high = spoil(states, 0.05, 0), spoil(states, 0.2, 0)
    assert low.mean() == pytest.approx(0.05, abs=0.01)
    assert high.mean() == pytest.approx(0.2, abs=0.02)
    assert (high >= low).all()


def test_review_corrects_and_unsure_masks_the_same_labels():
    known = oracle()
    spoiled = spoil(known.states, 0.1, 0)
    as_they_are, nothing = reviewed(known, spoiled, "as they are", 0.1, 0)
    assert np.array_equal(as_they_are, spoiled)
    assert nothing == {}
    mended, found = reviewed(known, spoiled, "reviewed", 0.1, 0)
    masked, again = reviewed(known, spoiled, "unsure", 0.1, 0)
    assert found == again
    assert found["looked_at"] == (masked == probe.UNKNOWN).sum() <= round(0.1 * spoiled.size)
    assert (mended != spoiled).sum() == found["were_wrong"] > 0
    assert (masked[mended != spoiled] == probe.UNKNOWN).all()


def test_unsure_needs_its_column():
    rows = oracle(4).rows
    states = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [-1] * 4, [0, 0, 1, 0]])
    known = with_states(rows, states, LUNG)
    assert known.index.tolist() == [0, 1, 3]
    assert known[CODES].to_numpy().tolist() == (states[[0, 1, 3]] == 1).tolist()
    states[0, 3] = -1
    if "unsure" in labels.manifest_columns(CODES):
        assert with_states(rows, states, LUNG)["unsure"].tolist()[0] == CODES[3]
    else:
        with pytest.raises(InputError, match="no column unsure"):
            with_states(rows, states, LUNG)


def test_what_has_a_row_is_skipped_and_other_settings_are_refused(tmp_path, monkeypatch, capsys):
    out = tmp_path / "labels.jsonl"
    monkeypatch.setattr(labels.Oracle, "read", lambda vocabulary: oracle())
    monkeypatch.setattr(labels, "load_params", lambda: load_profile("phantom"))
    command = [
        "labels",
        "--until",
        "probe",
        "--labels",
        "40",
        "60",
        "--levels",
        "0.1",
        "--seeds",
        "0",
        "1",
        "--out",
        str(out),
    ]
    monkeypatch.setattr("sys.argv", command)
    labels.main()
    rows = read_rows(out)
    assert len(rows) == 2 * (7 + 3)
    assert all(0 < row["probe_ap.test"] <= 1 for row in rows)
    labels.main()
    assert read_rows(out) == rows
    monkeypatch.setattr("sys.argv", [*command, "-S", "classifier.epochs=1"])
    with pytest.raises(SystemExit, match="2"):
        labels.main()
    assert "change --out" in capsys.readouterr().err
    order, spoiled = ([row for row in rows if row["part"] == part] for part in ("order", "spoiled"))
    assert labels_table(order).splitlines()[-1].startswith("| 120 | all | ")
    assert spoiled_table(spoiled).splitlines()[2].startswith("| 10% | as they are | 8.3% | - | - | ")
    assert len(labels_figure(rows).axes) == 2


def test_as_many_steps_whatever_the_number_of_labels():
    params = load_profile("phantom")
    states = np.full((100, 2), probe.UNKNOWN, np.int8)
    states[:40] = 1
    assert labels._steps(params, states, Namespace(steps=200)) == ["classifier.epochs=40"]
    assert labels._steps(params, states, Namespace(steps=None)) == []


def test_looks_tell_colour_and_texture_and_fit_any_size():
    rng = np.random.default_rng(0)
    pink, blue = np.full((112, 112, 3), (220, 150, 190), np.uint8), np.full((112, 112, 3), (90, 60, 150), np.uint8)
    rough = np.clip(pink + rng.normal(0, 30, pink.shape), 0, 255).astype(np.uint8)
    found = [look(image) for image in (pink, blue, rough, pink[:64, :80])]
    assert len({len(one) for one in found}) == 1
    assert np.isfinite(found).all()
    assert np.abs(found[0] - found[1]).max() > 30
    assert np.abs(found[0] - found[2]).max() > 10
    assert found[3] == pytest.approx(found[0], abs=1e-3)
