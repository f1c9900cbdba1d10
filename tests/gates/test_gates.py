"""A gate passes clean artefacts and, for each fault, fails the check that is there for it and names the row."""

import json
import shutil

import numpy as np
import pytest

from wsss_mm.errors import InputError
from wsss_mm.gates import GATES, run_gate

pytestmark = pytest.mark.xdist_group("great_expectations")  # 3 to 10 s of import: once

PATCHES = "data/patches/manifest.parquet"
LABELS = "data/pseudo_labels/manifest.parquet"
CLASSIFIER = "reports/metrics/classifier.json"
TEST = "reports/metrics/test.json"


def setting(column, value, row=0):
    """A fault: one cell of a table."""

    def change(frame):
        frame.loc[row, column] = value

    return change


def failed(name, params, project) -> dict:
    return {outcome.name: outcome for outcome in run_gate(name, params, project, data_docs=False).failures}


@pytest.mark.parametrize("name", GATES)
def test_clean_artefacts_pass(name, params, project):
    result = run_gate(name, params, project, data_docs=False)
    assert result.passed, result.lines()
    assert len(result.checks) >= 3


class TestPatches:
    @pytest.mark.parametrize(
        ("column", "value", "check"),
        [
            ("size", 112, "size"),
            ("mpp", 1.03, "mpp"),
            ("mpp", np.nan, "mpp"),
            ("path", "images/test/none.png", "images_exist"),
            ("path", "../../params.yaml", "images_exist"),
            ("mask_path", "masks/test/none.png", "masks_exist"),
        ],
    )
    def test_one_bad_row(self, params, project, alter, column, value, check):
        (project / "params.yaml").touch()
        alter(PATCHES, setting(column, value))
        failures = failed("patches", params, project)
        assert set(failures) == {check}
        assert failures[check].unexpected == 1
        assert "test-00" in failures[check].problem or "1 without a value" in failures[check].problem

    def test_training_patches_have_the_size_of_the_params(self, params, project, alter):
        alter(PATCHES, lambda frame: frame.assign(size=112))
        failures = failed("patches", params, project)
        assert set(failures) == {"size"}
        assert failures["size"].unexpected == 12  # the other splits agree with themselves

    def test_an_id_given_twice(self, params, project, alter):
        alter(PATCHES, setting("patch_id", "test-01"))
        failures = failed("patches", params, project)
        assert set(failures) == {"unique_ids"}
        assert failures["unique_ids"].examples == ("test-01", "test-01")

    def test_an_unknown_split(self, params, project, alter):
        alter(PATCHES, setting("split", "training"))
        assert failed("patches", params, project)["known_splits"].examples == ("test-00 (split training)",)

    def test_a_patient_in_two_splits(self, params, project, alter):
        alter(PATCHES, setting("patient_id", "patient-train"))
        failures = failed("patches", params, project)
        assert set(failures) == {"one_patient_one_split"}
        assert failures["one_patient_one_split"].unexpected == 13  # all patches of that patient
        assert failures["one_patient_one_split"].examples[0] == "test-00 (patient_splits 2)"

    def test_an_image_in_two_splits_is_named_twice(self, params, project, alter):
        alter(PATCHES, lambda frame: setting("sha256", frame.loc[19, "sha256"])(frame))
        failures = failed("patches", params, project)
        assert set(failures) == {"one_image_one_split"}
        assert failures["one_image_one_split"].examples == ("test-00 (image_splits 2)", "valid-03 (image_splits 2)")

    def test_training_patches_have_tissue_and_labels(self, params, project, alter):
        def change(frame):
            row = frame.index[frame["patch_id"] == "train-05"][0]
            frame.loc[row, ["TE", "NEC", "LYM", "TAS"]] = False
            frame.loc[row, "tissue"] = 0.1

        alter(PATCHES, change)
        failures = failed("patches", params, project)
        assert set(failures) == {"tissue", "labelled"}
        assert all(outcome.examples[0].startswith("train-05 ") for outcome in failures.values())

    def test_a_class_is_scarce_in_training(self, params, project, alter):
        alter(PATCHES, lambda frame: frame.assign(NEC=frame["NEC"] & (frame["split"] != "train")))
        assert failed("patches", params, project)["patches_per_class"].examples == ("NEC (patches 0)",)

    def test_a_split_is_empty(self, params, project, alter):
        alter(PATCHES, lambda frame: frame[frame["split"] != "valid"])
        assert failed("patches", params, project)["slides_per_split"].examples == ("valid (slides 0)",)

    def test_a_missing_column_ends_the_gate(self, params, project, alter):
        alter(PATCHES, lambda frame: frame.drop(columns="LYM").astype({"size": str}))
        result = run_gate("patches", params, project, data_docs=False)
        assert [outcome.name for outcome in result.checks] == ["columns_and_types"]
        assert "LYM (kind none, expected boolean)" in result.failures[0].problem
        assert "size (kind text, expected integer)" in result.failures[0].problem


class TestClassifier:
    @pytest.mark.parametrize(
        ("key", "value", "check"),
        [
            ("mean_ap", 0.69, "mean_ap"),
            ("mean_ap", None, "mean_ap"),
            ("ap.NEC", 0.4, "better_than_chance"),
            ("predicted_positive.NEC", 0.0, "predicted_in_some"),
            ("predicted_positive.NEC", 1.0, "not_predicted_in_all"),
            ("predicted_positive.NEC", None, "predicted_in_some"),
        ],
    )
    def test_faults(self, params, project, alter, key, value, check):
        alter(CLASSIFIER, lambda metrics: metrics | {key: value})
        failures = failed("classifier", params, project)
        assert check in failures
        assert ("mean_ap" if key == "mean_ap" else "NEC") in failures[check].problem or value is None

    def test_an_absent_class_is_passed_over(self, params, project, alter):
        absent = {"ap.NEC": None, "prior.NEC": 0.0, "predicted_positive.NEC": 0.0}
        alter(CLASSIFIER, lambda metrics: metrics | absent)
        assert failed("classifier", params, project) == {}

    def test_no_class_to_judge_is_no_pass(self, params, project, alter):
        alter(CLASSIFIER, lambda metrics: {k: None if k.startswith("ap.") else v for k, v in metrics.items()})
        assert set(failed("classifier", params, project)) == {"some_class_is_judged"}

    def test_a_missing_key_is_named(self, params, project, alter):
        alter(CLASSIFIER, lambda metrics: {k: v for k, v in metrics.items() if k != "prior.LYM"})
        assert "prior.LYM is missing" in failed("classifier", params, project)["readable"].problem


class TestPseudoLabels:
    @pytest.mark.parametrize(
        ("column", "value", "checks"),
        [
            ("coverage", 0.01, {"patch_coverage", "shares_make_coverage"}),
            ("path", "labels/none.png", {"files_exist"}),
            ("patch_id", "test-00", {"one_per_patch", "training_patches_only", "label_set_only"}),
        ],
    )
    def test_one_bad_row(self, params, project, alter, column, value, checks):
        alter(LABELS, setting(column, value))
        failures = failed("pseudo_labels", params, project)
        assert set(failures) == checks
        assert all("-00" in outcome.problem for outcome in failures.values())

    def test_a_class_outside_the_label_set(self, params, project, alter):
        def change(frame):  # train-00 is labelled TE alone
            frame.loc[0, ["share_TE", "share_NEC"]] = 0.7, 0.1

        alter(LABELS, change)
        failures = failed("pseudo_labels", params, project)
        assert set(failures) == {"label_set_only"}
        assert failures["label_set_only"].examples == ("train-00 (foreign 0.1)",)

    def test_a_patch_without_a_pseudo_label(self, params, project, alter):
        alter(LABELS, lambda frame: frame.drop(index=3))
        failures = failed("pseudo_labels", params, project)
        assert set(failures) == {"one_per_patch"}
        assert failures["one_per_patch"].examples == ("train-03 (labels 0)",)

    def test_thin_labels(self, params, project, alter):
        shares = ["coverage", "share_TE", "share_NEC", "share_LYM", "share_TAS"]
        alter(LABELS, lambda frame: frame.assign(agreement=0.5, **{name: frame[name] / 4 for name in shares}))
        assert set(failed("pseudo_labels", params, project)) == {"mean_coverage", "agreement"}

    def test_collapse_to_one_class(self, params, project, alter):
        alter(PATCHES, lambda frame: frame.assign(TE=True))
        alter(LABELS, lambda frame: frame.assign(share_TE=0.8, share_NEC=0.0, share_LYM=0.0, share_TAS=0.0))
        failures = failed("pseudo_labels", params, project)
        assert set(failures) == {"class_has_pixels", "no_class_takes_all"}
        assert failures["no_class_takes_all"].examples == ("TE (share 1)",)
        assert failures["class_has_pixels"].unexpected == 3


class TestSegmenter:
    @pytest.mark.parametrize(
        ("key", "value", "checks"),
        [
            ("miou", 0.49, {"miou"}),
            ("iou.TAS", 0.1, {"class_iou"}),
            ("iou.TAS", None, set()),
        ],
    )
    def test_faults(self, params, project, alter, key, value, checks):
        alter(TEST, lambda metrics: metrics["ungated"].update({key: value}))
        failures = failed("segmenter", params, project)
        assert set(failures) == checks
        assert all(key.removeprefix("iou.") in outcome.problem for outcome in failures.values())

    def test_the_gated_metrics_excuse_nothing(self, params, project, alter):
        alter(TEST, lambda metrics: {"ungated": metrics["ungated"] | {"miou": 0.4}, "gated": metrics["ungated"]})
        assert set(failed("segmenter", params, project)) == {"miou"}


class TestSlides:
    SUMMARY = "results/slides/s1/summary.json"
    GEOJSON = "results/slides/s1/segmentation.geojson"

    @pytest.mark.parametrize(
        ("change", "checks"),
        [
            (lambda s: s | {"size": [200, 299]}, {"map_size"}),
            (lambda s: s | {"mpp": 1.1}, {"map_mpp", "polygons_match_map"}),
            (lambda s: s | {"slide": s["slide"] | {"bounds": [0, 0, 400, 640]}}, {"map_covers_slide"}),
            (lambda s: s["classes"]["TE"].update(share=0.5), {"shares_sum_to_one", "shares_match_map"}),
            (lambda s: s["classes"].pop("TE") and None, {"complete"}),
            (lambda s: s | {"model": {"weights_md5": "1" * 32}}, {"one_model"}),
        ],
    )
    def test_the_summary_disagrees(self, params, project, alter, change, checks):
        alter(self.SUMMARY, change)
        failures = failed("slides", params, project)
        assert set(failures) == checks
        assert checks == {"one_model"} or all(o.examples[0].startswith("s1 ") for o in failures.values())

    @pytest.mark.parametrize(
        ("change", "checks"),
        [
            (lambda g: g | {"features": g["features"][1:]}, {"polygons_match_map"}),
            (lambda g: g["features"][0]["geometry"]["coordinates"][0].insert(2, [0.0, 200.1]), {"valid_polygons"}),
            (lambda g: g["features"][0]["properties"]["classification"].update(name="Bone"), {"valid_polygons"}),
            (lambda g: {"type": "Feature"}, {"complete"}),
        ],
    )
    def test_the_polygons_disagree(self, params, project, alter, change, checks):
        alter(self.GEOJSON, change)
        failures = failed("slides", params, project)
        assert checks <= set(failures) <= checks | {"polygons_match_map"}

    def test_a_value_without_a_class(self, params, project):
        import tifffile

        path = project / "results/slides/s2/segmentation.tif"
        with tifffile.TiffWriter(path) as file:
            labels = np.full((64, 64), 9, np.uint8)
            file.write(labels, tile=(128, 128), resolution=(10000, 10000), resolutionunit="CENTIMETER")
        assert failed("slides", params, project)["known_values"].examples == ("s2 (stray_pixels 4096)",)

    def test_a_broken_slide_is_named_and_the_others_are_judged(self, params, project, alter):
        (project / "results/slides/s2/segmentation.tif").write_bytes(b"II*")
        alter(self.SUMMARY, lambda summary: summary | {"size": [1, 1]})
        failures = failed("slides", params, project)
        assert set(failures) == {"complete", "map_size"}
        assert failures["complete"].examples[0].startswith("s2 ")
        assert failures["map_size"].examples == ("s1 (size_error 299)",)

    def test_a_missing_file(self, params, project):
        (project / "results/slides/s1/overlay.png").unlink()
        assert failed("slides", params, project)["complete"].examples == ("s1 (problem overlay.png missing)",)

    def test_a_cohort_of_patches_has_none(self, params, project):
        shutil.rmtree(project / "results/slides")
        assert "not found" in failed("slides", params, project)["readable"].problem
        (project / "results/slides").mkdir()
        result = run_gate("slides", params, project, data_docs=False)
        assert result.passed
        assert "0 slides" in str(result)


class TestRunner:
    @pytest.mark.parametrize(
        ("relative", "content", "gate"),
        [(PATCHES, b"PAR1", "patches"), (CLASSIFIER, b"{", "classifier"), (TEST, b"[]", "segmenter")],
    )
    def test_unreadable_files_are_a_failed_check(self, params, project, relative, content, gate):
        (project / relative).write_bytes(content)
        result = run_gate(gate, params, project, data_docs=False)
        assert not result.passed
        assert relative in result.lines()[0]
        (project / relative).unlink()
        assert "not found" in run_gate(gate, params, project, data_docs=False).lines()[0]

    def test_reports_are_the_same_each_time(self, params, project):
        first, second = (json.dumps(run_gate("patches", params, project).as_dict()) for _ in range(2))
        assert first == second
        assert str(project) not in first

    def test_data_docs_are_written_anew(self, params, project):
        docs = project / "reports/gates/data_docs/segmenter"
        for _ in range(2):
            run_gate("segmenter", params, project)
        pages = sorted(page.stem for page in (docs / "validations").rglob("*.html"))
        assert len(pages) == 2  # one a table, of the last run alone
        assert "mean IoU on the test split" in (docs / "index.html").read_text(encoding="utf-8") or any(
            "mean IoU on the test split" in page.read_text(encoding="utf-8") for page in docs.rglob("*.html")
        )

    def test_a_failure_is_one_line_with_the_remedy(self, params, project, alter):
        alter(PATCHES, lambda frame: frame.assign(size=112))
        result = run_gate("patches", params, project, data_docs=False)
        (line,) = result.lines()
        assert "\n" not in line
        for part in ("gate patches", "expect_column_pair_values_to_be_equal", "12 of 20", "train-00", "patches.size"):
            assert part in line
        with pytest.raises(InputError, match="gate patches failed: 1 of"):
            result.raise_if_failed("reports/gates/patches.json")

    def test_a_missing_folder_is_named(self, params, project):
        shutil.rmtree(project / "data/pseudo_labels")
        assert "data/pseudo_labels" in run_gate("pseudo_labels", params, project, data_docs=False).lines()[0]
