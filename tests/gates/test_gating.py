"""Whatever params.yaml may say of pseudo-labels, what is made so passes the gate, and what is not does not."""

import pandas as pd
import pytest
from PIL import Image

from pipelines import choose_pseudo_labels, pseudo_labels
from tests.gates.project import edit, inside
from wsss_mm.files import digest
from wsss_mm.gates import run_gate
from wsss_mm.patches.images import read_label_map
from wsss_mm.settings import Params
from wsss_mm.vocabulary import IGNORE

pytestmark = pytest.mark.xdist_group("great_expectations")

FOLDER = "data/pseudo_labels"


QUALITY = {
    "min_agreement": 0.0,
    "min_class_share": 0.0,
    "max_class_share": 1.0,
    "share_ratio": [0.0, 100.0],
    "min_miou": 0.0,
    "min_gain": -1.0,
}
"""Thresholds of what is not looked at here: how good the classifier is."""


def with_choices(content: dict, **choices) -> Params:
    """Settings of a data set of patches, where neighbours may be asked for."""
    gates = content["gates"] | {"pseudo_labels": content["gates"]["pseudo_labels"] | QUALITY}
    cohort = content["cohort"] | {"name": "luad_histoseg", "source": "data/raw"}
    settings = content["pseudo_labels"] | choices
    return Params.model_validate(content | {"cohort": cohort, "pseudo_labels": settings, "gates": gates})


@pytest.mark.parametrize(
    "choices",
    [
        {"gating": "labels"},
        {"gating": "predicted", "gate_threshold": 0.6},
        {"gating": "predicted", "gate_threshold": 0.0, "normalization": "joint"},
        {"gating": "off", "normalization": "joint"},
        {"background": False},
        {"gating": "off", "normalization": "joint", "background": False},
        {"neighbours": True},
        {"voting": "single"},
        {"method": "grad_cam", "layer": "b6", "flips": True},
    ],
    ids=str,
)
def test_what_is_made_as_asked_passes(params_content, project, choices):
    params = with_choices(params_content, **choices)
    with inside(project):
        choose_pseudo_labels.main(params)
        pseudo_labels.main(params)
    result = run_gate("pseudo_labels", params, project)
    assert not [outcome for outcome in result.failures if outcome.severity == "critical"], result.lines()
    assert "readable" not in {outcome.name for outcome in result.checks}


@pytest.mark.parametrize("gating", ["predicted", "off"])
def test_labels_of_another_gating_fail(params_content, project, gating):
    """The clean project's are gated by label sets."""
    params = with_choices(params_content, gating=gating, normalization="joint", gate_threshold=0.0)
    failed = {outcome.name for outcome in run_gate("pseudo_labels", params, project).failures}
    assert "chosen_over_these_params" in failed


def test_where_label_sets_gate_other_classes_fail(params_content, project):
    ungated = with_choices(params_content, gating="off", normalization="joint")
    with inside(project):
        choose_pseudo_labels.main(ungated)
        pseudo_labels.main(ungated)
    failed = {outcome.name for outcome in run_gate("pseudo_labels", with_choices(params_content), project).failures}
    assert {"pixels_of_the_label_set", "label_set_only"} <= failed


@pytest.mark.parametrize("gating", ["predicted", "off"])
def test_a_class_that_is_none_fails_under_each_gating(params_content, project, gating):
    params = with_choices(params_content, gating=gating, normalization="joint")
    with inside(project):
        choose_pseudo_labels.main(params)
        pseudo_labels.main(params)
    path = project / FOLDER / "labels/train-02.png"
    labels = read_label_map(path)
    labels[labels != IGNORE] = 77
    Image.fromarray(labels).save(path)

    def state(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(sha256=table["sha256"].mask(table["patch_id"] == "train-02", digest(path)))

    edit(project / FOLDER / "manifest.parquet", state)
    outcome = next(
        o for o in run_gate("pseudo_labels", params, project).failures if o.name == "pixels_of_the_label_set"
    )
    assert outcome.offending == ("train-02",)
    assert outcome.says == "the file holds classes of the vocabulary"
