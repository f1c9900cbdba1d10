"""A slide that is unlike the model's training is told of: on the terminal, in the summary, on the overlay."""

import json
from functools import partial

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.patches.test_likeness import SIDE, tissue
from wsss_mm.patches import VOCABULARIES
from wsss_mm.patches.likeness import appearance_of
from wsss_mm.places import LABEL_MAP, MAP_NOTES, OVERLAY, SUMMARY
from wsss_mm.slide_parameters import DEFAULTS
from wsss_mm.wsi import SlideModel, segment_slide
from wsss_mm.wsi.export import export_slide
from wsss_mm.wsi.job import Job
from wsss_mm.wsi.likeness import WINDOWS, _places
from wsss_mm.wsi.mapping import map_slide

MPP = 1.0  # of the model, and of the slide
WIDE = 4 * SIDE


@pytest.fixture(scope="module")
def appearance():
    """Of all patches of six slides."""
    slides = [tissue(number, side=WIDE) for number in range(6)]
    places = [(top, left) for top in range(0, WIDE, SIDE) for left in range(0, WIDE, SIDE)]
    patches = [
        (f"slide-{number}", partial(slide.__getitem__, np.s_[top : top + SIDE, left : left + SIDE]))
        for number, slide in enumerate(slides)
        for top, left in places
    ]
    return appearance_of(patches, SIDE)


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    """Tissue as that of the training, with a border of glass."""
    path = tmp_path_factory.mktemp("slide") / "s.tiff"
    image = np.pad(tissue(80, side=WIDE), ((0, 40), (0, 60), (0, 0)), constant_values=244)
    tifffile.imwrite(path, image, tile=(64, 64), photometric="rgb", compression="zlib", metadata=None)
    return path


@pytest.fixture
def model(predict, appearance):
    return SlideModel(predict, VOCABULARIES["luad_normal"].classes, MPP, "a" * 32, appearance=appearance)


def segment(slide, model, out, **changes):
    options = {"window": 64, "progress": False, "mpp_override": MPP} | changes
    return segment_slide(slide, model, out, **options)["appearance"]


def test_its_own_tissue_is_passed_in_silence(slide, model, tmp_path, caplog):
    found = segment(slide, model, tmp_path / "out")
    assert found["warning"] is None
    assert found["mpp"] is None
    assert found["windows"] >= 16
    assert "unlike" not in caplog.text


@pytest.mark.parametrize("said", [MPP / 2, MPP * 2])
def test_an_mpp_that_is_wrong_by_two_is_told_with_the_right_one(slide, model, tmp_path, caplog, said):
    """It was read too coarsely, or too finely; no tag of the file is asked."""
    found = segment(slide, model, tmp_path / "out", mpp_override=said)
    assert found["mpp"] == MPP
    assert f"like that at {MPP:g} um/px, and it is said to have {said:g}" in found["warning"]
    (line,) = [record.message for record in caplog.records if "um/px" in record.message]
    assert line == f"s.tiff: {found['warning']}"


def test_it_is_written_on_the_overlay_and_nowhere_in_the_map(slide, model, predict, tmp_path):
    without = SlideModel(predict, model.classes, MPP, "a" * 32)
    assert segment(slide, without, tmp_path / "silent") is None
    segment(slide, model, tmp_path / "like")
    silent, like = (tmp_path / name / OVERLAY for name in ("silent", "like"))
    assert silent.read_bytes() == like.read_bytes()
    assert (tmp_path / "silent" / LABEL_MAP).read_bytes() == (tmp_path / "like" / LABEL_MAP).read_bytes()
    segment(slide, model, tmp_path / "unlike", mpp_override=2 * MPP)
    alarm = (np.asarray(Image.open(tmp_path / "unlike" / OVERLAY)) == (170, 20, 20)).all(axis=-1)
    rows, columns = np.nonzero(alarm)
    assert len(rows) > 50
    assert columns.min() > 2 * WIDE, "beside the picture"


def test_the_stages_say_the_same(slide, model, tmp_path):
    parameters = DEFAULTS.__class__(window=64)
    notes = map_slide(Job("s", slide, tmp_path / "maps/s", 2 * MPP), model, parameters, progress=False)
    summary = export_slide(Job("s", slide, tmp_path / "two", 2 * MPP), tmp_path / "maps", parameters)
    once = segment(slide, model, tmp_path / "one", mpp_override=2 * MPP)
    assert summary["appearance"] == once == notes["appearance"]
    for name in (OVERLAY, SUMMARY):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    path = tmp_path / "maps/s" / MAP_NOTES
    path.write_text(
        json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "appearance"})
    )
    assert (
        export_slide(Job("s", slide, tmp_path / "older", 2 * MPP), tmp_path / "maps", parameters)["appearance"] is None
    )


def test_glass_is_not_compared(model, tmp_path):
    path = tmp_path / "glass.tiff"
    tifffile.imwrite(path, np.full((400, 400, 3), 244, np.uint8), tile=(64, 64), photometric="rgb", metadata=None)
    assert segment(path, model, tmp_path / "out") == {"windows": 0, "figures": {}, "mpp": None, "warning": None}


class _Bare:
    wanted = None

    def __init__(self, *size):
        self.size = size


def test_windows_lie_inside_are_mixed_and_not_too_many():
    large = list(_places(_Bare(90_000, 40_000), 200))
    assert len(large) == len(set(large)) == 4 * WINDOWS
    assert large == list(_places(_Bare(90_000, 40_000), 200))
    assert max(x for x, _ in large) > 80_000
    assert max(y for _, y in large) > 35_000
    small = list(_places(_Bare(500, 300), 200))
    assert len(small) == 8  # which overlap by half
    assert all(x + 200 <= 500 and y + 200 <= 300 for x, y in small)
    assert list(_places(_Bare(50, 30), 200)) == [(0, 0)]
