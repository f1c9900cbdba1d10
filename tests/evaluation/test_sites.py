"""How well sites can be read from features: told by slides that the probe did not see."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from pipelines import train_classifier
from tests.gates.project import LUNG, clean_params, inside, make_classifier, make_cohort, make_patches
from wsss_mm.evaluation.figures import sites_figure
from wsss_mm.evaluation.sites import probe, probed_rows, site_readability
from wsss_mm.patches import get_vocabulary, read_manifest, write_manifest

CODES = get_vocabulary("luad_normal").codes


def manifest(slides=8, each=12):
    """Patches of two sites, with classes that are independent of them."""
    count = slides * each
    return pd.DataFrame(
        {
            "slide_id": np.repeat([f"s{slide}" for slide in range(slides)], each),
            "site": np.repeat([f"{'AB'[slide % 2]}" for slide in range(slides)], each),
            "x": 0,
            "y": np.arange(count),
            "unsure": None,
            CODES[0]: np.arange(count) % 2 == 0,
            CODES[1]: np.arange(count) % 3 == 0,
            CODES[2]: True,  # which cannot be judged
        }
    )


def features(rows, site=0.0, tissue=0.0, slide=0.0):
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (len(rows), 12))
    values[:, 0] += site * (rows["site"] == "A")
    values[:, 1] += tissue * rows[CODES[0]]
    values[:, 2] += tissue * rows[CODES[1]]
    values += slide * rng.normal(0, 1, (8, 12))[rows["slide_id"].str[1:].astype(int)]
    return values


@pytest.mark.parametrize(("site", "tissue"), [(0, 12), (12, 0), (12, 12)])
def test_what_is_in_the_features_is_read_from_them(site, tissue):
    rows = manifest()
    found = site_readability(rows, features(rows, site, tissue), CODES)
    for name, there in (("site", site), ("tissue", tissue), (f"tissue.{CODES[0]}", tissue)):
        assert found[name] > 0.95 if there else abs(found[name]) < 0.3
    assert found[f"tissue.{CODES[2]}"] is None


def test_a_slide_that_can_be_told_tells_no_site():
    """Each slide has a mark of its own, by which patches of slides that were seen would be known."""
    rows = manifest()
    values = features(rows, slide=30)
    assert probe(values, rows["site"].to_numpy(str), rows["slide_id"].to_numpy(str)) < 0.6
    assert probe(values, rows["site"].to_numpy(str), np.arange(len(rows)).astype(str)) > 0.95


def test_a_slide_that_holds_both_is_not_left_out_with_all_others_of_a_value():
    slides = np.repeat(["s1", "s1", "s2", "s3"], 10)
    held = np.repeat(["False", "True", "False", "True"], 10)
    values = np.random.default_rng(0).normal(0, 1, (40, 2))
    values[:, 0] += 20 * (held == "True")
    assert probe(values, held, slides) > 0.95


def test_rows_that_tell_of_sites():
    rows = manifest()
    assert len(probed_rows(rows)) == len(rows)
    lonely = pd.concat([rows, rows[:3].assign(slide_id="s9", site="C"), rows[:3].assign(slide_id="s8", site=None)])
    assert set(probed_rows(lonely)["site"]) == {"A", "B"}
    assert set(probed_rows(rows[:24])["site"]) == {"A", "B"}  # a slide each: the tissue can be judged
    for one in (rows.assign(site="A"), rows.assign(site=None), rows.assign(site="")):
        assert probed_rows(one).empty
    many = probed_rows(pd.concat([rows] * 30, ignore_index=True))
    assert len(many) == 2000
    assert many["slide_id"].value_counts().min() > 200


def test_what_cannot_be_judged_is_said_on_the_figure():
    vocabulary = get_vocabulary("luad_normal")
    rows = probed_rows(manifest()[:24])
    figures = site_readability(rows, features(rows, tissue=12), CODES)
    axes = sites_figure(figures, vocabulary).axes[0]
    texts = {round(text.get_position()[1]): text.get_text() for text in axes.texts}
    assert texts[0] == "cannot be judged: no two sites have two slides each"
    assert texts[4] == "cannot be judged: it takes two slides with it, and two without"
    assert texts[1] == f"{figures['tissue']:.2f}" == f"{axes.patches[0].get_width():.2f}"
    assert figures["tissue"] > 0.5
    assert [label.get_text() for label in axes.get_yticklabels()][:3] == ["site", "tissue, mean", "Tumour epithelium"]


def test_training_draws_them_of_a_cohort_of_two_sites_alone(tmp_path, monkeypatch):
    make_cohort(tmp_path)
    make_patches(tmp_path)
    make_classifier(tmp_path)
    drawn = {}
    tracker = SimpleNamespace(
        training=lambda *_, **__: inside(tmp_path), figure=lambda figure, name: drawn.update({name: figure})
    )
    monkeypatch.setattr("wsss_mm.engine.train_classifiers", lambda *_: [{}])
    monkeypatch.setattr("wsss_mm.engine.join_processes", lambda: 0)
    with inside(tmp_path):
        train_classifier.main(clean_params(), tracker)
        assert set(drawn) == {"figures/valid_precision_recall.png"}
        patches = read_manifest("data/patches", LUNG)
        turns = np.arange(len(patches)) % 4
        known = {"slide_id": [f"s{turn}" for turn in turns], "site": ["ABAB"[turn] for turn in turns]}
        write_manifest(patches.assign(**known), "data/patches")
        train_classifier.main(clean_params(), tracker)
    axes = drawn["figures/sites.png"].axes[0]
    said = {round(text.get_position()[1]): text.get_text() for text in axes.texts}
    assert set(said) == set(range(2 + len(LUNG)))
    assert not said[0].startswith("cannot"), said
