"""What a file among a slide's results must be; every row of OUTPUTS is written and looked at."""

import gzip
import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile
from PIL import Image

from tests.wsi.conftest import colour_predict, write_tissue
from wsss_mm.errors import InputError
from wsss_mm.places import SLIDE_FILES, SUMMARY
from wsss_mm.slide_parameters import DEFAULTS, TYPES, choices_of, number_of
from wsss_mm.vocabulary import get_vocabulary
from wsss_mm.wsi import SlideModel, outputs, segment_slide
from wsss_mm.wsi.outputs import OUTPUTS

WIDTH, HEIGHT, MPP = 300, 240, 1.0  # of the map; the slide is twice as fine
HERE = {"dicom_seg": find_spec("highdicom") is not None}  # what an extra writes
ASKED = {name: HERE.get(name, True) for name, kind in TYPES.items() if kind is bool}  # what is written on request, too
EVERYTHING = replace(DEFAULTS, **ASKED)
FORMS = [  # of one file in place of another: by each word of a parameter that has words alone
    {name: word}
    for name, kind in TYPES.items()
    if number_of(kind) is None
    for word in choices_of(kind)
    if word != getattr(DEFAULTS, name)
]
WRITTEN = [item for item in OUTPUTS if any(item.wanted(replace(EVERYTHING, **form)) for form in ({}, *FORMS))]
BY_FILE = pytest.mark.parametrize("output", WRITTEN, ids=[item.file for item in WRITTEN])


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    return write_tissue(tmp_path_factory.mktemp("slide") / "slide.tiff", HEIGHT, WIDTH)


def segment(slide, out, **changes):
    model = SlideModel(colour_predict, get_vocabulary("luad_normal").classes, MPP, "a" * 32)
    options = {"window": 64, "min_island": 0, "progress": False, "mpp_override": 0.5, **ASKED}
    return segment_slide(slide, model, out, **(options | changes))


def asked_for(output):
    """Parameters that are to be given for an output."""
    return next(form for form in ({}, *FORMS) if output.wanted(replace(EVERYTHING, **form)))


def content(path):
    """Bytes of a file, or of all in a folder by their names."""
    if path.is_dir():
        return {item.relative_to(path): item.read_bytes() for item in path.rglob("*") if item.is_file()}
    return path.read_bytes()


@pytest.fixture(scope="module")
def results_by_form(slide, tmp_path_factory):
    made = {}

    def results(form):
        key = tuple(form.items())
        if key not in made:
            made[key] = tmp_path_factory.mktemp("results") / "slide"
            segment(slide, made[key], **form)
        return made[key]

    return results


@pytest.fixture
def results(results_by_form, request):
    """A folder that has the output, if the test is of one."""
    output = request.node.callspec.params.get("output") if hasattr(request.node, "callspec") else None
    return results_by_form({} if output is None else asked_for(output))


def test_all_that_is_always_written_is_listed():
    always = [item.file for item in OUTPUTS if item.wanted(DEFAULTS)]
    assert len(set(always)) == len(always)
    assert sorted((*always, SUMMARY)) == sorted(SLIDE_FILES)
    assert SLIDE_FILES[-1] == SUMMARY, "the summary tells that all is there: it comes last"


def test_the_folder_holds_them_and_nothing_else(results):
    wanted = {item.file for item in OUTPUTS if item.wanted(EVERYTHING)}
    assert {path.name for path in results.iterdir()} == wanted | {SUMMARY}


@BY_FILE
def test_it_is_the_same_for_the_same_slide(output, results, slide, tmp_path):
    segment(slide, tmp_path / "again", batch_size=3, **asked_for(output))
    assert content(results / output.file) == content(tmp_path / "again" / output.file)


@BY_FILE
def test_it_can_be_read_and_lies_on_the_slide(output, results):
    path = results / output.file
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as tiff:
            shape = tiff.series[0].shape[-2:]
            assert shape == (HEIGHT, WIDTH)
            if path.name.endswith(".ome.tif"):
                assert f'PhysicalSizeX="{MPP:g}' in tiff.ome_metadata
            else:
                numerator, denominator = tiff.pages[0].tags["XResolution"].value
                assert 1e4 / (numerator / denominator) == pytest.approx(MPP)
    elif ".geojson" in path.suffixes:
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        features = json.loads(text)["features"]
        corners = np.array([point for item in features for ring in _rings(item["geometry"]) for point in ring])
        assert corners.min() >= 0
        assert (corners.max(axis=0) <= (2 * WIDTH, 2 * HEIGHT)).all()
        assert (corners.max(axis=0) > (WIDTH, HEIGHT)).all(), "coordinates are px of the slide, not of the map"
    elif path.suffix == ".png":
        with Image.open(path) as picture:
            picture.verify()
    elif path.suffix == ".parquet":
        boxes = pq.read_table(path)["bbox"].to_pylist()
        assert 2 * WIDTH >= max(box["xmax"] for box in boxes) > WIDTH
        assert 2 * HEIGHT >= max(box["ymax"] for box in boxes) > HEIGHT
    elif path.suffix == ".zarr":
        said = json.loads((path / "labels/segmentation/0/zarr.json").read_text())
        assert said["shape"] == [HEIGHT, WIDTH]
    elif path.suffix == ".json":
        json.loads(path.read_text())
    else:
        assert path.stat().st_size > 0


def _rings(geometry):
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    return [ring for polygon in polygons for ring in polygon]


@BY_FILE
def test_one_that_cannot_be_written_leaves_what_there_was(output, results, slide, tmp_path, monkeypatch):
    """Nothing appears among the results before all is done."""

    def full(path, export):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        outputs, "OUTPUTS", tuple(replace(item, write=full) if item.file == output.file else item for item in OUTPUTS)
    )
    with pytest.raises(InputError, match="the disk is full"):
        segment(slide, tmp_path / "new", **asked_for(output))
    assert not {path.name for path in (tmp_path / "new").glob("*")} & {SUMMARY, *(item.file for item in OUTPUTS)}


def test_one_that_is_not_wanted_any_more_goes(slide, tmp_path):
    segment(slide, tmp_path / "out")
    segment(slide, tmp_path / "out", **{name: getattr(DEFAULTS, name) for name in ASKED})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(SLIDE_FILES)


def test_glass_has_all_of_them(slide, tmp_path):
    path = tmp_path / "glass.tiff"
    tifffile.imwrite(path, np.full((400, 400, 3), 244, np.uint8), tile=(64, 64), photometric="rgb", metadata=None)
    for form in ({}, *FORMS):
        segment(path, tmp_path / "out", **form)
        wanted = {item.file for item in OUTPUTS if item.wanted(replace(EVERYTHING, **form))}
        assert {found.name for found in (tmp_path / "out").iterdir()} == wanted | {SUMMARY}
