"""What gates do with what they find; that they find it is shown in test_faults.py."""

import json
import os
import re
import shutil

import numpy as np
import pytest
from pydantic import ValidationError

from tests.gates.faults import FAULTS
from tests.gates.injection import inside
from tests.gates.project import LUNG, SIZE, edit, pin_champion, set_params, write_result
from tests.settings import content_of
from wsss_mm.errors import InputError
from wsss_mm.files import read_json, rounded, write_json
from wsss_mm.gates import GATES, check_names, gate_tags, report_path, run_gate
from wsss_mm.gates.measure import colour_explained, drift
from wsss_mm.gates.page import PAGE, render_page, write_page
from wsss_mm.patches import read_manifest, write_manifest
from wsss_mm.patches.appearance import STATISTICS, image_statistics
from wsss_mm.patches.shards import PackedFile, pack_files
from wsss_mm.settings import Params
from wsss_mm.vocabulary import IGNORE

pytestmark = pytest.mark.xdist_group("great_expectations")  # 3 to 10 s of import: once

PATCHES = "data/patches/manifest.parquet"


def with_settings(content: dict, gate: str, **changes) -> Params:
    gates = content["gates"] | {gate: content["gates"][gate] | changes}
    return Params.model_validate(content | {"gates": gates})


def inject(project, says: str) -> None:
    next(fault for fault in FAULTS if fault.says == says).inject(project)


def test_who_changes_the_settings_changes_them_for_nobody_else():
    """Or a test fails after one that has other thresholds."""
    set_params(content_of("phantom"))["gates"]["patches"] |= {"min_focus": 0}
    assert set_params(content_of("phantom"))["gates"]["patches"]["min_focus"] > 0


class TestRunner:
    def test_reports_are_the_same_each_time_and_know_no_folder(self, params, project):
        inject(project, "a patch is out of focus")
        first, second = (json.dumps(run_gate("patches", params, project).as_dict()) for _ in range(2))
        assert first == second
        assert str(project) not in first

    def test_a_failure_is_one_line_with_rows_and_remedy(self, params, project):
        edit(project / PATCHES, lambda frame: frame.assign(size=112))
        result = run_gate("patches", params, project)
        line = next(line for line in result.lines() if "(check size)" in line)
        assert "\n" not in line
        for part in (
            "gate patches: 12 of 20 patches: train-00: 112 px wide, where 48 px",
            "expected: ",
            "patches.size",
        ):
            assert part in line
        with pytest.raises(InputError, match=r"gate patches failed: 3 of .*reports/gates/patches\.json"):
            result.raise_if_failed("reports/gates/patches.json")

    def test_a_missing_value_fails_and_its_row_is_named(self, params, project):
        inject(project, "a patch has no resolution")
        outcome = next(o for o in run_gate("patches", params, project).failures if o.name == "mpp")
        assert outcome.offending == ("train-02",)
        assert outcome.problem == "1 of 20 patches: train-02: nothing is known of it"

    def test_a_missing_folder_is_named(self, params, project):
        shutil.rmtree(project / "data/pseudo_labels")
        assert "data/pseudo_labels" in run_gate("pseudo_labels", params, project).lines()[0]


class TestSeverity:
    def test_a_warning_is_reported_and_stops_nothing(self, params_content, project):
        inject(project, "it never predicts a class")
        for warnings, status in (([], "failed"), (["predicted_in_some"], "warned")):
            params = with_settings(params_content, "classifier", warnings=warnings)
            result = run_gate("classifier", params, project)
            assert (result.status, result.passed) == (status, status == "warned")
            assert [outcome.name for outcome in result.failures] == ["predicted_in_some"]
        assert result.lines()[0].startswith(
            "warning: gate classifier: 1 of 4 classes: NEC: predicted in 0.0%; expected"
        )
        assert result.lines()[0].endswith("(check predicted_in_some)")
        assert result.metrics() == {"checks": len(result.checks), "critical": 0, "warnings": 1}
        result.raise_if_failed("reports/gates/classifier.json")

    def test_an_unknown_check_is_no_warning(self, params_content):
        with pytest.raises(ValidationError, match=r"gate classifier has no check 'mean_app'; did you mean mean_ap"):
            with_settings(params_content, "classifier", warnings=["mean_app"])

    def test_a_tolerated_row_is_named_though_the_check_passes(self, params_content, project):
        inject(project, "a patch is out of focus")
        params = with_settings(params_content, "patches", max_odd_share=0.1)
        result = run_gate("patches", params, project)
        assert [outcome.name for outcome in result.failures] == ["images_as_made"]
        focus = next(outcome for outcome in result.checks if outcome.name == "focus")
        assert focus.offending == ("train-02",)


class TestPatches:
    def test_files_in_shards_are_measured_like_files(self, params, project):
        before = rounded(run_gate("patches", params, project).as_dict())
        folder = project / "data/patches"
        rows = pack_files(read_manifest(folder, LUNG), folder, ("path", "mask_path"))
        write_manifest(rows, folder)
        after = rounded(run_gate("patches", params, project).as_dict())
        assert before["digests"].pop("manifest") != after["digests"].pop("manifest")
        assert before == after
        shard = max(folder.rglob("images/test/**/*.tar"))
        os.truncate(shard, 20_000)
        packed = {name: PackedFile.of(folder / path) for name, path in zip(rows["patch_id"], rows["path"], strict=True)}
        lost = tuple(name for name, file in packed.items() if file.shard == shard and file.offset + file.size > 20_000)
        failed = {outcome.name: outcome.offending for outcome in run_gate("patches", params, project).failures}
        assert failed["images_exist"] == lost != ()

    @pytest.mark.parametrize("listed", [True, False])
    def test_what_nobody_is_sure_of_is_held_against_the_labels(self, listed, params, project):
        labels = project / "data/cohort/labels.csv"
        header, first, *lines = labels.read_text().splitlines()
        held = first.split(",")[3].split(";")
        other = next(code for code in ("TE", "NEC", "LYM", "TAS") if code not in held)
        labels.write_text("\n".join([f"{header},unsure", f"{first},{other}", *lines, ""]))
        if listed:
            edit(project / PATCHES, lambda frame: frame.assign(unsure=frame["patch_id"].map({"train-00": other})))
        result = run_gate("patches", params, project)
        failed = {outcome.name: outcome for outcome in result.failures}
        assert failed.keys() == (set() if listed else {"labels_as_made"})

    def test_a_class_of_one_slide_alone_is_told_of(self, params_content, project):
        def spread(table):
            second = (table["split"] == "train") & ~table["NEC"]
            return table.assign(slide_id=table["slide_id"].mask(second, "slide-train-2"))

        edit(project / PATCHES, spread)
        params = with_settings(params_content, "patches", min_slides_per_class=2, warnings=["slides_per_class"])
        result = run_gate("patches", params, project)
        failed = {outcome.name: outcome for outcome in result.failures}
        assert failed.keys() == {"slides_per_class", "as_many_as_made"}
        assert failed["slides_per_class"].offending == ("NEC",)
        assert failed["slides_per_class"].severity == "warning"
        assert "label patches of it on other slides too" in failed["slides_per_class"].remedy


class TestSlides:
    @pytest.mark.parametrize("change", [{"name": "Tumor"}, {"color": [180, 20, 90]}, {"code": "T"}])
    def test_a_vocabulary_that_changed_asks_for_a_training(self, change, params, project):
        """Slides that are segmented again would have the model's names and colours again."""
        path = project / "models/segmenter/model.json"
        info = read_json(path)
        info["classes"][0] |= change
        write_json(path, info)
        (line,) = run_gate("slides", params, project).lines()
        assert re.search(r"model\.json: trained with other codes, .*; train again: dvc repro, or", line)

    def test_a_broken_slide_takes_no_other_with_it(self, params, project):
        (project / "results/slides/slide-more/segmentation.tif").write_bytes(b"II*")
        inject(project, "the map has another size")
        failures = {o.name: o for o in run_gate("slides", params, project).failures}
        assert set(failures) == {"complete", "figures_match_map"}
        assert failures["complete"].offending == ("slide-more",)
        assert failures["figures_match_map"].offending == ("slide-test",)

    def test_of_a_slide_with_a_region_of_interest_the_region_is_judged(self, params, project):
        ring = [[0, 0], [240, 0], [240, 200], [0, 200], [0, 0]]
        (project / "data/cohort/roi.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
        edit(
            project / "data/cohort/slides.csv",
            lambda table: table.assign(roi=np.where(table["slide_id"] == "slide-test", "roi.geojson", "")),
        )
        (project / "data/cohort/truth/slide-test.tif").unlink()  # which knows more classes than the map drawn here
        for part, found in ((1, []), (0.5, ["tissue_area", "in_place"])):
            labels = np.full((240, 320), IGNORE, np.uint8)
            labels[: round(100 * part), :120] = 0
            shutil.rmtree(project / "results/slides/slide-test")
            write_result(project, "slide-test", labels, roi=project / "data/cohort/roi.geojson")
            failures = run_gate("slides", params, project).failures
            assert [outcome.name for outcome in failures] == found

    def test_a_cohort_of_patches_has_none(self, params, project):
        edit(project / "data/cohort/slides.csv", lambda table: table.assign(path=""))
        shutil.rmtree(project / "results/slides")
        (project / "results/slides").mkdir()
        for gate, rows in (("slides", "0 slides"), ("cohort", "0 slide files")):
            result = run_gate(gate, params, project)
            assert not result.failures
            assert rows in str(result)


class TestSegmenter:
    @pytest.mark.parametrize(
        ("champion", "judged"),
        [
            (None, False),
            ({"miou": 0.9, "test_split": "another"}, False),
            ({"miou": 0.95}, True),
            ({"miou": None}, False),
            ({"miou": 0.91}, True),
        ],
    )
    def test_the_champion_counts_on_the_same_split_only(self, params, project, champion, judged):
        if champion is not None:
            pin_champion(project, **champion)
        result = run_gate("segmenter", params, project)
        worse = judged and champion["miou"] > 0.92
        assert [outcome.name for outcome in result.failures] == (["champion"] if worse else [])


class TestBadArtefacts:
    """What a stage left may be broken in any way: the gate fails, with a line that names the file."""

    @pytest.mark.parametrize(
        ("gate", "file", "change", "says"),
        [
            ("segmenter", "reports/metrics/pseudo_labels.json", {"test": {"miou": "high"}}, "'high', not a number"),
            ("segmenter", "reports/metrics/test.json", {"ungated": {"miou": True}}, "metric ungated.miou is True"),
            ("classifier", "reports/metrics/classifier.json", {"mean_ap": 10**400}, "number of more than 64 bits"),
            ("classifier", "models/classifier/model.json", [], "not a JSON object"),
        ],
    )
    def test_metrics(self, params, project, gate, file, change, says):
        edit(project / file, lambda content: content | change if isinstance(change, dict) else change)
        (failure,) = run_gate(gate, params, project).failures
        assert failure.name == "readable"
        assert file in failure.observed
        assert says in failure.observed

    @pytest.mark.parametrize("column", ["coverage", "share_TE", "agreement"])
    def test_numbers_of_pseudo_labels_are_text(self, params, project, column):
        edit(project / "data/pseudo_labels/manifest.parquet", lambda t: t.assign(**{column: t[column].astype(str)}))
        (failure,) = run_gate("pseudo_labels", params, project).failures
        assert f"column {column} holds no numbers" in failure.observed

    def test_slides_without_a_patient_share_none(self, params, project):
        edit(project / "data/cohort/slides.csv", lambda table: table.assign(patient_id=""))
        result = run_gate("cohort", params, project)
        assert [outcome.name for outcome in result.failures] == ["has_patient"]


class TestMeasure:
    def test_blur_lowers_focus_and_stain_is_what_it_was_made_of(self):
        rng = np.random.default_rng(0)
        sharp = rng.integers(100, 200, (SIZE, SIZE, 3), dtype=np.uint8)
        flat = np.full_like(sharp, 150)
        assert image_statistics(flat)["focus"] == 0 < image_statistics(sharp)["focus"]
        density = 0.4 * np.array([0.65, 0.70, 0.29]) / np.linalg.norm([0.65, 0.70, 0.29])
        haematoxylin = np.round(256 * 10**-density - 1).astype(np.uint8) * np.ones((8, 8, 1), np.uint8)
        found = image_statistics(haematoxylin)
        assert found["haematoxylin"] == pytest.approx(0.4, abs=0.01)
        assert found["eosin"] == pytest.approx(0.0, abs=0.01)
        assert all(np.isnan(image_statistics(np.full_like(sharp, 255))[name]) for name in STATISTICS)

    def test_colour_is_explained_by_labels_that_lie_where_it_changes(self):
        image = np.full((SIZE, SIZE, 3), (200, 120, 160), np.uint8)
        image[:, SIZE // 2 :] = (120, 80, 150)
        right, across = np.zeros((2, SIZE, SIZE), np.uint8)
        right[:, SIZE // 2 :], across[SIZE // 2 :] = 1, 1
        assert colour_explained(image, right) == pytest.approx(1)
        assert colour_explained(image, across) == pytest.approx(0, abs=1e-6)
        assert np.isnan(colour_explained(image, np.zeros_like(right)))
        assert np.isnan(colour_explained(image, np.full_like(right, IGNORE)))

    def test_drift_is_the_peers(self):
        from scipy.stats import ks_2samp

        rng = np.random.default_rng(0)
        one, other = rng.normal(0, 1, 400), rng.normal(2, 1, 300)
        difference, distance = drift(one, other)
        assert difference == pytest.approx(2, abs=0.2)
        assert distance == pytest.approx(ks_2samp(one, other).statistic)
        assert drift(one, one) == (0, 0)
        assert np.isnan(drift(one, np.array([]))).all()


def shown(page: str) -> list[tuple[str, str]]:
    """State and name of the checks that the page shows at length."""
    return re.findall(r'class="check (failed|warned)">.*?Check <code>([a-z_]+)</code>', page)


class TestPage:
    @pytest.fixture
    def reported(self, params, project):
        """The project with every gate's report, after a patch was blurred and given a dangerous name."""
        inject(project, "its probabilities mean nothing")
        inject(project, "a patch is out of focus")
        edit(project / PATCHES, lambda frame: frame.replace({"patch_id": {"train-02": "<b>02</b>"}}))
        with inside(project):
            for gate in ("cohort", "patches", "classifier"):
                write_json(report_path(gate), run_gate(gate, params, project).as_dict())
        return project

    def test_it_says_what_failed_where_and_what_to_do(self, reported):
        page = render_page(reported)
        assert "The line stopped at gate patches" in page
        assert [name for state, name in shown(page) if state == "failed"] == [
            "focus",
            "images_as_made",
            "trained_on_gated_patches",  # the manifest changed since
            "readable",
        ]
        assert [name for state, name in shown(page) if state == "warned"] == ["calibration"]
        assert "<b>1 of 20 patches</b>:" in page
        assert "so in all 20" in page
        assert "expect_column_values_to_be_between" in page, "what Great Expectations calls it"
        assert "wsss-mm quarantine add --from reports/gates/patches.json" in page
        assert page.count("data:image/png;base64,") == 3  # two, and a typical one
        assert len(re.findall(r"<figcaption>typical here: [a-z]+-\d\d</figcaption>", page)) == 1
        for gate in GATES:
            assert f'href="#{gate}"' in page

    def test_names_are_escaped_and_nothing_is_fetched(self, reported):
        page = render_page(reported)
        assert "<b>02</b>" not in page
        assert "&lt;b&gt;02&lt;/b&gt;" in page
        assert "http" not in page
        assert "<script" not in page

    def test_equal_reports_give_equal_bytes(self, reported):
        first, second = (write_page(reported).read_bytes() for _ in range(2))
        assert first == second
        assert (reported / PAGE).is_file()

    def test_a_report_that_is_broken_or_of_an_older_version_is_as_none(self, reported):
        for gate, text in (("cohort", "{"), ("classifier", '{"passed": true}')):
            (reported / report_path(gate)).write_text(text, encoding="utf-8")
        assert render_page(reported).count("has not run") == 5  # these two, and the three that did not

    def test_tags_for_the_run(self, reported):
        edit(reported / "reports/gates/classifier.json", lambda report: report | {"passed": True})
        outcomes = {"gate.cohort": "passed", "gate.patches": "failed", "gate.classifier": "passed"}
        assert gate_tags(reported, ("cohort", "patches", "classifier")) == outcomes


def test_checks_are_those_whose_names_are_known_without_running(params, project):
    for gate in GATES:
        assert {outcome.name for outcome in run_gate(gate, params, project).checks} == set(check_names(gate))


def test_real_cohorts_raise_nothing(real_data, tmp_path):
    from wsss_mm.cohort import Cohort
    from wsss_mm.patches import get_vocabulary, write_manifest
    from wsss_mm.patches.importers import import_patches, list_slides
    from wsss_mm.settings import load_profile
    from wsss_mm.slides.table import write_slide_table

    for name in ("wsss4luad", "bcss_wsss"):
        root = tmp_path / name
        (root / "data/cohort").mkdir(parents=True)
        params = load_profile(name, real_data / name)
        source, vocabulary = params.cohort.source, get_vocabulary(params.cohort.vocabulary)
        table = root / "data/cohort/slides.csv"
        write_slide_table(list_slides(name, source), table)
        folder = root / "data/patches"
        frame = import_patches(name, source, folder, Cohort.read(table), settings=params.patches, vocabulary=vocabulary)
        write_manifest(frame, folder)
        for gate in ("cohort", "patches"):
            result = run_gate(gate, params, root)
            apart = {"split_and_site"} if (name, gate) == ("bcss_wsss", "cohort") else set()  # A1, EW and D8
            assert {outcome.name for outcome in result.failures} == apart, result.lines()
