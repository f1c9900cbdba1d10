"""Maps as DICOM-SEG, read back by a library that knows nothing of them."""

from importlib.util import find_spec

import numpy as np
import pytest
import tifffile

from tests.slides.dicom import WSI, uid, write_dicom
from tests.wsi.conftest import colour_predict, make_tissue
from wsss_mm.errors import InputError
from wsss_mm.places import DICOM_SEG, LABEL_MAP
from wsss_mm.slides.reader import open_slide
from wsss_mm.vocabulary import IGNORE, get_vocabulary
from wsss_mm.wsi import SlideModel, dicom_seg, segment_slide
from wsss_mm.wsi.dicom_seg import write_dicom_seg

NEEDS_EXTRA = pytest.mark.skipif(find_spec("highdicom") is None, reason="extra dicom is not installed")
VOCABULARY = get_vocabulary("luad_normal")
MPP = 1.0  # of the map; the slide is twice as fine
MODEL = SlideModel(colour_predict, VOCABULARY.classes, MPP, "a" * 32, digest="b" * 64)
HEIGHT, WIDTH = 240, 300  # of the map
OPTIONS = {"window": 64, "min_island": 0, "progress": False, "dicom_seg": True}


def fine():
    return np.repeat(np.repeat(make_tissue(HEIGHT, WIDTH), 2, axis=0), 2, axis=1)


def put_together(path):
    """The map from its frames: what lies where, by the file's own words."""
    import pydicom

    found = pydicom.dcmread(path)
    frames = found.pixel_array.reshape(-1, found.Rows, found.Columns)
    pixels = np.full((found.TotalPixelMatrixRows, found.TotalPixelMatrixColumns), IGNORE, np.uint8)
    for frame, said in zip(frames, found.PerFrameFunctionalGroupsSequence, strict=True):
        place = said.PlanePositionSlideSequence[0]
        top = place.RowPositionInTotalImagePixelMatrix - 1
        left = place.ColumnPositionInTotalImagePixelMatrix - 1
        part = pixels[top : top + found.Rows, left : left + found.Columns]
        inside = frame[: part.shape[0], : part.shape[1]] > 0
        assert (part[inside] == IGNORE).all(), "no pixel is of two classes"
        part[inside] = said.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1
    return found, pixels


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slide")
    image = fine()
    write_dicom(folder / "fine.dcm", image, mpp=0.5, series="for a map")
    write_dicom(folder / "coarse.dcm", image[::2, ::2], mpp=1.0, series="for a map", number=2)
    write_dicom(folder / "other.dcm", image, mpp=0.5, series="another slide")
    (folder / "notes.txt").write_text("x")
    return folder / "fine.dcm"


@NEEDS_EXTRA
class TestOfADicomSlide:
    @pytest.fixture(scope="class")
    def results(self, slide, tmp_path_factory):
        out = tmp_path_factory.mktemp("results") / "slide"
        segment_slide(slide, MODEL, out, **OPTIONS)
        return out

    def test_it_is_the_map(self, results):
        found, pixels = put_together(results / DICOM_SEG)
        expected = tifffile.imread(results / LABEL_MAP, key=0)
        assert len(np.unique(expected)) > 3, "a map of one class would say little"
        assert (pixels == expected).all()
        assert [item.SegmentLabel for item in found.SegmentSequence] == [item.name for item in VOCABULARY.classes]
        codes = [item.SegmentedPropertyTypeCodeSequence[0].CodeValue for item in found.SegmentSequence]
        assert codes == list(VOCABULARY.codes)

    def test_it_lies_on_the_slide(self, results):
        found, _ = put_together(results / DICOM_SEG)
        assert found.FrameOfReferenceUID == uid("frame of reference for a map")
        assert (found.StudyInstanceUID, found.PatientID) == (uid("study"), "P1")
        (series,) = found.ReferencedSeriesSequence
        (image,) = series.ReferencedInstanceSequence
        assert (image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID) == (WSI, uid("for a map 1"))
        measures = found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        assert [float(side) for side in measures.PixelSpacing] == pytest.approx([MPP / 1000] * 2)
        origin = found.TotalPixelMatrixOriginSequence[0]
        # the centre of its first pixel lies between the first two of the slide, along -y for columns and -x for rows
        assert float(origin.XOffsetInSlideCoordinateSystem) == pytest.approx(-0.25e-3, abs=1e-9)
        assert float(origin.YOffsetInSlideCoordinateSystem) == pytest.approx(-0.25e-3, abs=1e-9)

    def test_any_file_of_the_slide_may_be_named(self, results, slide, tmp_path):
        segment_slide(slide.with_name("coarse.dcm"), MODEL, tmp_path / "again", **OPTIONS)
        assert (tmp_path / "again" / DICOM_SEG).read_bytes() == (results / DICOM_SEG).read_bytes()


@NEEDS_EXTRA
def test_of_another_slide_it_stands_alone(tmp_path):
    path = tmp_path / "slide.tiff"
    tifffile.imwrite(path, fine(), tile=(64, 64), photometric="rgb", metadata=None)
    segment_slide(path, MODEL, tmp_path / "out", mpp_override=0.5, **OPTIONS)
    found, pixels = put_together(tmp_path / "out" / DICOM_SEG)
    assert (pixels == tifffile.imread(tmp_path / "out" / LABEL_MAP, key=0)).all()
    assert (found.PatientID, found.ContainerIdentifier) == ("", "slide")


@NEEDS_EXTRA
def test_a_map_without_a_class_and_one_that_is_too_large(slide, tmp_path, monkeypatch, caplog, recwarn):
    caplog.set_level("INFO")
    with open_slide(slide) as reader:
        said = {"mpp": reader.mpp, "bounds": reader.bounds, "quickhash": reader.quickhash}
    more = {"slide": slide, "identity": {"slide": said, "mpp": MPP}, "model": ""}
    write_dicom_seg(tmp_path / "empty.dcm", np.full((64, 64), IGNORE, np.uint8), VOCABULARY, **more)
    assert not caplog.records, "nothing of a patient on the terminal"
    assert not recwarn.list
    assert (put_together(tmp_path / "empty.dcm")[1] == IGNORE).all()
    monkeypatch.setattr(dicom_seg, "MOST_PIXELS", 64 * 64 - 1)
    with pytest.raises(InputError, match="too large for DICOM-SEG; set dicom_seg to false"):
        write_dicom_seg(tmp_path / "large.dcm", np.full((64, 64), IGNORE, np.uint8), VOCABULARY, **more)


def test_without_the_extra_no_window_is_computed(slide, tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_seg, "find_spec", lambda name: None)

    def predict(images):
        pytest.fail("a window was computed")

    model = SlideModel(predict, VOCABULARY.classes, MPP, "a" * 32)
    with pytest.raises(InputError, match=r"pip install 'wsss-mm\[dicom\]', or set it to false"):
        segment_slide(slide, model, tmp_path / "out", **OPTIONS)
    assert not (tmp_path / "out").exists()
