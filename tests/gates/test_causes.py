"""Causes before consequences: what follows from another failure is not judged, and nothing else is hidden."""

from graphlib import TopologicalSorter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gates.harm import (
    CLASSIFIER,
    PATCHES,
    SLIDES,
    TEST,
    blurred,
    cells,
    confused,
    content,
    counts,
    gone,
    image,
    remade,
    table,
)
from tests.gates.injection import inside
from wsss_mm.files import write_json
from wsss_mm.gates import GATES, check_names, report_path, run_gate
from wsss_mm.gates.causes import Failing, before_consequences
from wsss_mm.gates.checks import Outcome, gate_tables
from wsss_mm.gates.page import render_page
from wsss_mm.gates.runner import READABLE

# 3 to 10 s of import: once
pytestmark = [pytest.mark.xdist_group("great_expectations"), pytest.mark.usefixtures("each_column_once")]

CHECKS = {
    gate: {check.name: (table, check) for table in gate_tables(gate).values() for check in table.checks}
    for gate in GATES
}


def pairs(gate):
    """Each check with each that it rests on, and the column that tells which row of it."""
    return [(name, *cause) for name, (_, check) in CHECKS[gate].items() for cause in check.rests_on.items()]


def judged(gate, name, rows=(), severity="critical", allowed=0.0, of=4, **links):
    """A check that came out with these rows failing; with None, it passed."""
    table, check = CHECKS[gate][name]
    bad = list(rows or ())
    outcome = Outcome(
        name, table.name, "e", check.says, passed=rows is None, rows=of, severity=severity, index=table.index,
        unexpected=len(bad), offending=tuple(bad), examples=tuple(f"{row}: bad" for row in bad), remedy="mend it",
    )  # fmt: skip
    columns = {column: list(links.get(column, bad)) for column in check.rests_on.values() if column}
    return Failing(check, outcome, bad, [f"{row}: bad" for row in bad], columns, allowed)


@pytest.mark.parametrize("gate", GATES)
def test_what_a_check_rests_on_is_another_one_of_its_gate_and_leads_in_no_circle(gate):
    for name, (_, check) in CHECKS[gate].items():
        for cause, column in check.rests_on.items():
            assert cause in CHECKS[gate], (name, cause)
            assert column is None or column == CHECKS[gate][cause][0].index, (name, column)
    list(TopologicalSorter({name: set(check.rests_on) for name, (_, check) in CHECKS[gate].items()}).static_order())


@pytest.mark.parametrize("gate", GATES)
class TestEachThatIsDeclared:
    def test_where_both_fail_in_a_row_the_consequence_is_not_judged(self, gate):
        for name, cause, _ in pairs(gate):
            first, then = before_consequences([judged(gate, cause, ["a", "b"]), judged(gate, name, ["a"])])
            assert (first.because, first.unexpected) == (None, 2), name
            assert (then.because, then.unexpected, then.offending, then.remedy) == (cause, 0, (), None), name

    def test_a_row_that_fails_by_itself_stays(self, gate):
        for name, cause, column in pairs(gate):
            _, then = before_consequences([judged(gate, cause, ["a", "b"]), judged(gate, name, ["a", "c"])])
            if column is None:
                assert then.because == cause, name
            else:
                assert (then.because, then.offending, then.examples) == (None, ("c",), ("c: bad",)), name
                assert then.unexpected == 1, name

    def test_what_stops_the_line_gives_way_to_no_warning(self, gate):
        for name, cause, _ in pairs(gate):
            for severity, because in (("critical", None), ("warning", cause)):
                found = [judged(gate, cause, ["a"], severity="warning"), judged(gate, name, ["a"], severity=severity)]
                assert [outcome.because for outcome in before_consequences(found)] == [None, because], name

    def test_a_cause_that_passed_explains_nothing(self, gate):
        for name, cause, _ in pairs(gate):
            found = [judged(gate, cause, None), judged(gate, name, ["a"])]
            assert [outcome.because for outcome in before_consequences(found)] == [None, None], name


def test_rows_that_are_left_and_would_be_tolerated_are_no_failure():
    found = [judged("patches", "images_unchanged", ["a"]), judged("patches", "focus", ["a", "b"], allowed=0.25)]
    assert [outcome.because for outcome in before_consequences(found)] == [None, "images_unchanged"]


def test_the_cause_of_a_cause_is_named():
    found = [judged("patches", name, ["train"]) for name in ("training_is_labelled", "patches_per_split")]
    found.append(judged("patches", "slides_per_class", ["NEC"], split=["train"]))
    assert [outcome.because for outcome in before_consequences(found)] == [None, *["training_is_labelled"] * 2]


@given(st.data())
def test_whatever_fails_the_line_stops_as_it_did_and_each_row_has_its_say(data):
    gate = data.draw(st.sampled_from(GATES))
    found = []
    for name in CHECKS[gate]:
        rows = data.draw(st.none() | st.lists(st.sampled_from("abc"), unique=True, max_size=3))
        found.append(judged(gate, name, rows, severity=data.draw(st.sampled_from(["critical", "warning"]))))
    after = {outcome.name: outcome for outcome in before_consequences(found)}
    stops = [item.outcome.severity == "critical" and not item.outcome.passed for item in found]
    seen = [outcome for outcome in after.values() if not outcome.passed and outcome.because is None]
    assert any(stops) == any(outcome.severity == "critical" for outcome in seen)
    for item in found:
        outcome = after[item.outcome.name]
        assert outcome.passed == item.outcome.passed
        if outcome.because is not None:
            assert after[outcome.because] in seen
        reasons = [after[name] for name in item.check.rests_on if not after[name].passed]
        if not reasons:
            assert outcome == item.outcome


without_labels = remade(gone("labels.csv"))


def of_other_weights(root):
    content(CLASSIFIER, lambda m: m | {"weights_md5": "0" * 32, "mean_ap": 0.1, "ap.NEC": 0.0})(root)


def of_another_segmenter(root):
    counts(confused(0.5))(root)
    content(TEST, lambda m: m["weights_md5"].update(segmenter="0" * 32))(root)


CAUSES = [
    ("cohort", gone(SLIDES), {"readable"}, "some_slides"),
    ("cohort", table(SLIDES, lambda t: t.drop(columns="split")), {"columns"}, "slides_per_split"),
    ("cohort", table(SLIDES, lambda t: t[:0]), {"some_slides"}, "slides_per_split"),
    ("cohort", cells(SLIDES, "slide-train", split="trian"), {"known_splits"}, "slides_per_split"),
    ("patches", without_labels, {"training_is_labelled"}, "patches_per_class"),
    ("patches", table(PATCHES, lambda t: t.drop(columns="LYM")), {"columns_and_types"}, "unique_ids"),
    ("classifier", of_other_weights, {"metrics_of_these_weights"}, "class_ap"),
    ("classifier", gone(CLASSIFIER), {"readable"}, "figures_follow"),
    ("pseudo_labels", gone("data/pseudo_labels/manifest.parquet"), {"readable"}, "made_of_these_patches"),
    ("segmenter", of_another_segmenter, {"metrics_of_these_weights"}, "miou"),
    ("slides", gone("models/segmenter/model.json"), {"readable"}, "complete"),
]


@pytest.mark.parametrize(
    ("gate", "harm", "failed", "follows"), CAUSES, ids=[f"{c[0]} {min(c[2])} {c[3]}" for c in CAUSES]
)
def test_of_a_fault_the_cause_alone_is_shown(gate, harm, failed, follows, params, project):
    harm(project)
    with inside(project):
        result = run_gate(gate, params, project)
    assert {outcome.name for outcome in result.failures} == failed, result.lines()
    (cause,) = failed
    of_it = {outcome.name: outcome.because for outcome in result.unjudged}
    assert of_it[follows] == cause
    assert set(of_it.values()) == {cause}
    names = {outcome.name for outcome in result.checks}
    assert names - {READABLE.name} == set(check_names(gate)), "what was not reached is told of, too"
    assert result.metrics()["critical"] == 1


def test_missing_labels_ask_for_labels_and_move_no_slide(params, project):
    without_labels(project)
    with inside(project):
        (line,) = run_gate("patches", params, project).lines()
    assert "there is no data/cohort/labels.csv, and so no training patch" in line
    assert "label patches on training slides (wsss-mm label)" in line
    assert "move" not in line


def test_a_patch_that_is_odd_by_itself_is_shown_beside_one_that_is_changed(params, project):
    image("train-02", blurred(4))(project)
    image("train-04", blurred(4))(project)
    cells(PATCHES, "train-04", sha256="0" * 64)(project)
    with inside(project):
        found = {outcome.name: outcome.offending for outcome in run_gate("patches", params, project).failures}
    assert found["images_unchanged"] == ("train-04",)
    assert found["focus"] == ("train-02",)


def test_the_page_tells_what_a_failure_keeps_from_being_judged(params, project):
    without_labels(project)
    with inside(project):
        result = run_gate("patches", params, project)
        write_json(report_path("patches"), result.as_dict())
    page = render_page(project)
    assert f"{len(result.unjudged)} more checks mean nothing until this is mended" in page
    assert page.count('class="check failed"') == 1
    assert "not judged, because training_is_labelled failed" in page
