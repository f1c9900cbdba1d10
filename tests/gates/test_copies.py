"""Gate slides holds what is written for other tools against the map."""

import re
import shutil
from importlib.util import find_spec

import pytest

from tests.gates.project import MAPS, write_result
from wsss_mm.gates import run_gate
from wsss_mm.settings import Params

# 3 to 10 s of import: once
pytestmark = [pytest.mark.xdist_group("great_expectations"), pytest.mark.usefixtures("each_column_once")]

ASKED = {"simplify_um": 1.0, "geojson": "gz", "geoparquet": True, "ome_zarr": True}
TEST, MORE = "results/slides/slide-test", "results/slides/slide-more"


@pytest.fixture
def failures(params_content, project):
    """What fails of results with everything, after a change of these; and why."""
    params = Params.model_validate(params_content | {"slides": params_content["slides"] | ASKED})
    for name, labels in MAPS.items():
        shutil.rmtree(project / "results/slides" / name)
        write_result(project, name, labels, **ASKED)

    def after(change):
        change(project)
        return {outcome.name: outcome.problem for outcome in run_gate("slides", params, project).failures}

    return after


def test_it_passes_and_then_finds_each_that_is_of_another_map(failures, project):
    assert failures(lambda root: None) == {}
    (project / TEST / "segmentation.parquet").rename(project / "aside")
    shutil.copy(project / MORE / "segmentation.parquet", project / TEST)
    found = failures(lambda root: None)
    assert set(found) == {"copies_match_map"}
    assert "polygons of TAS in segmentation.parquet" in found["copies_match_map"]
    (project / "aside").replace(project / TEST / "segmentation.parquet")
    shutil.rmtree(project / TEST / "segmentation.ome.zarr")
    shutil.copytree(project / MORE / "segmentation.ome.zarr", project / TEST / "segmentation.ome.zarr")
    found = failures(lambda root: None)
    assert set(found) == {"copies_match_map"}
    assert "px of segmentation.ome.zarr" in found["copies_match_map"]
    shutil.rmtree(project / TEST / "segmentation.ome.zarr")
    assert "segmentation.ome.zarr is not there" in failures(lambda root: None)["complete"]


@pytest.mark.skipif(find_spec("highdicom") is None, reason="needs the extra dicom")
def test_of_a_segmentation_in_dicom_pixels_classes_and_resolution_are_held_against_the_map(params_content, project):
    asked = {"dicom_seg": True}
    params = Params.model_validate(params_content | {"slides": params_content["slides"] | asked})
    for name, labels in MAPS.items():
        shutil.rmtree(project / "results/slides" / name)
        write_result(project, name, labels, **asked)

    def found():
        return {outcome.name: outcome.problem for outcome in run_gate("slides", params, project).failures}

    assert found() == {}
    path = project / TEST / "segmentation.dcm"
    good = path.read_bytes()
    shutil.copy(project / MORE / "segmentation.dcm", path)
    assert re.search(r"slide-test: others in \d+ px of segmentation\.dcm", found()["copies_match_map"])
    path.write_bytes(good.replace(b"LYM", b"NEC"))
    assert "others in classes of segmentation.dcm" in found()["copies_match_map"]
    path.write_bytes(good[:2000])
    assert "cannot be read as a segmentation in DICOM" in found()["complete"]
    path.unlink()
    assert "segmentation.dcm is not there" in found()["complete"]


def test_points_beside_simplified_outlines_are_no_misplaced_ones(failures, project):
    """But polygons that lie elsewhere are."""

    def exchanged(root):
        one, other = (root / folder / "segmentation.geojson.gz" for folder in (TEST, MORE))
        one.rename(root / "aside")
        other.rename(one)
        (root / "aside").rename(other)

    assert "polygons_in_place" in failures(exchanged)


def test_the_class_whose_area_ran_away_is_named(params_content, project):
    asked = ASKED | {"simplify_um": 30.0}
    params = Params.model_validate(params_content | {"slides": params_content["slides"] | asked})
    for name, labels in MAPS.items():
        shutil.rmtree(project / "results/slides" / name)
        write_result(project, name, labels, **asked)
    (failure,) = run_gate("slides", params, project).failures
    assert failure.name == "simplified_areas"
    assert "area off by " in failure.problem
    assert "lower slides.simplify_um" in failure.remedy
