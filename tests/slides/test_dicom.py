"""Slides in DICOM: what is shown is what was written, and colours under the wrong tag are told of."""

import cv2
import numpy as np
import pytest

from tests.slides.dicom import write_dicom
from wsss_mm.cli.main import main
from wsss_mm.errors import InputError
from wsss_mm.slides.dicom import is_mislabelled
from wsss_mm.slides.reader import open_slide

MPP = 0.5
SAID = pytest.mark.parametrize(("said", "rgb"), [("YBR_FULL_422", False), ("RGB", True)])
WRONG = pytest.mark.parametrize(("said", "rgb"), [("YBR_FULL_422", True), ("RGB", False)])


def stained():
    """Glass, eosin and a few nuclei, each of one colour."""
    image = np.full((400, 600, 3), (240, 240, 238), np.uint8)
    image[80:300, 100:400] = (190, 110, 170)
    image[120:180, 160:240] = (90, 60, 140)
    return image


def write(folder, series, **options):
    """A slide of two levels, a file for each."""
    folder.mkdir()
    image = stained()
    write_dicom(folder / "one.dcm", image, series=series, mpp=MPP, **options)
    write_dicom(folder / "two.dcm", image[::2, ::2], series=series, mpp=2 * MPP, number=2, **options)
    return folder / "one.dcm"


@SAID
def test_it_is_opened_with_its_colours_levels_and_resolution(tmp_path, caplog, said, rgb):
    path = write(tmp_path / "slide", f"right {said}", said=said, rgb=rgb)
    for name in ("one.dcm", "two.dcm"):  # any file of it
        with open_slide(path.with_name(name)) as slide:
            assert slide.size == (600, 400)
            assert (slide.mpp, slide.power) == (MPP, 20)
            assert slide.steps == (1, 2)
            shown = slide.read(0, 0, slide.size, MPP)
            far = np.abs(shown.astype(int) - stained().astype(int)).max(axis=2)
            assert np.median(far) <= 1
            assert (far <= 3).mean() > 0.98, "JPEG is unsure at edges alone"
            half = slide.read(0, 0, (300, 200), 2 * MPP)
            assert np.abs(half[75, 100].astype(int) - (90, 60, 140)).max() <= 2
    assert "colours are wrong" not in caplog.text


@WRONG
def test_a_wrong_tag_is_told_of_once(tmp_path, caplog, said, rgb):
    path = write(tmp_path / "slide", f"wrong {said}", said=said, rgb=rgb)
    for _ in range(3):
        open_slide(path).close()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert lines[0].startswith(f"{path}: its colours are wrong: its photometric interpretation says {said}")


def test_wsss_mm_cohort_check_says_it(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "slide", "in a cohort", said="YBR_FULL_422", rgb=True)
    (tmp_path / "slides.csv").write_text(f"slide_id,patient_id,path,split\nA,P,{path},train\n")
    main(["cohort", "check", "--table", "slides.csv"])
    assert f"{path}: its colours are wrong" in caplog.text


def test_a_folder_names_a_file_of_it(tmp_path):
    write(tmp_path / "slide", "of a folder")
    with pytest.raises(InputError, match=r"slide: is a folder; name one of the files of the slide in it, such as one"):
        open_slide(tmp_path / "slide")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no such slide file"):
        open_slide(tmp_path / "empty")


def test_a_folder_of_levels_is_one_slide(tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "slide", "to be added")
    assert main(["cohort", "add", "slide", "--table", "slides.csv", "--split", "train"]) == 0
    assert "1 slides added" in capsys.readouterr().out
    assert "two.dcm: shows the same as slide/one.dcm; passed over" in caplog.text


class TestColours:
    """Pixels alone."""

    def test_without_glass_nothing_is_said(self):
        tissue = stained()[80:300, 100:400].reshape(-1, 3)
        assert not is_mislabelled(cv2.cvtColor(tissue[None], cv2.COLOR_RGB2YCrCb)[0][:, (0, 2, 1)], "RGB")

    @pytest.mark.parametrize("said", ["RGB", "YBR_FULL_422", "YBR_ICT"])
    @pytest.mark.parametrize("colour", [(230, 128, 128), (255, 123, 255), (210, 128, 150)])
    def test_beside_glass_no_colour_is_wrong(self, said, colour):
        """Blood, or red ink."""
        pixels = np.full((1000, 3), colour, np.uint8)
        pixels[:100] = (240, 240, 238)
        assert not is_mislabelled(pixels, said)

    def test_of_nothing(self):
        assert not is_mislabelled(np.empty((0, 3), np.uint8), "RGB")

    def test_real_slides(self, real_data):
        for name in ("CMU-1-Small-Region.svs", "tcga-cr-7395-01a-01-ts1.svs"):
            with open_slide(real_data / "slides" / name, mpp=0.5) as slide:
                shown = slide.thumbnail(800).reshape(-1, 3)
            assert not is_mislabelled(shown, "RGB")
            assert not is_mislabelled(shown, "YBR_FULL_422")
            ybr = cv2.cvtColor(shown[None], cv2.COLOR_RGB2YCrCb)[0][:, (0, 2, 1)]
            assert is_mislabelled(ybr, "RGB")
            taken = cv2.cvtColor(np.ascontiguousarray(shown[None][..., (0, 2, 1)]), cv2.COLOR_YCrCb2RGB)[0]
            assert is_mislabelled(taken, "YBR_FULL_422")
