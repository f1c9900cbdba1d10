import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from wsss_mm.errors import InputError
from wsss_mm.slides import open_slide, reader


class TestRead:
    @pytest.mark.parametrize("mpp", [0.5, 0.7, 0.999, 1.0, 1.003, 1.7, 2.0, 3.1])
    @pytest.mark.parametrize("corner", [(0, 0), (31, 17), (40.5, 22.5)])
    def test_shows_what_lies_there_at_any_resolution(self, ramp, mpp, corner):
        size = int((120 - 41) * 0.5 / mpp)
        with open_slide(ramp) as slide:
            region = slide.read(*corner, size, mpp)
        assert region.shape == (size, size, 3)
        assert region.dtype == np.uint8
        middle = (np.arange(size) + 0.5) * mpp / 0.5 - 0.5
        expected = 2 * np.stack(np.meshgrid(corner[0] + middle, corner[1] + middle), axis=-1)
        drift = (region[..., :2].astype(float) - expected) / 2  # px
        assert np.abs(drift).max() <= 0.6
        assert abs(drift.mean()) <= 0.13  # half a grey level is a quarter of a pixel

    def test_regions_that_meet_continue_each_other(self, ramp):
        with open_slide(ramp) as slide:
            whole = slide.read(10, 20, (40, 30), 1.3)
            right = slide.read(10 + 25 * 1.3 / 0.5, 20, (15, 30), 1.3)
        assert np.abs(whole[:, 25:].astype(int) - right).max() <= 1

    @pytest.mark.parametrize("corner", [(0, 0), (10, 20), (10.25, 20.5)])
    def test_enlarged_regions_meet_without_a_seam(self, tmp_path, write_tiff, corner):
        write_tiff(tmp_path / "a.tif", [np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)], 0.5)
        with open_slide(tmp_path / "a.tif") as slide:
            whole = slide.read(*corner, (64, 48), 0.125)
            parts = [
                [slide.read(corner[0] + x / 4, corner[1] + y / 4, 16, 0.125) for x in range(0, 64, 16)]
                for y in range(0, 48, 16)
            ]
        joined = np.concatenate([np.concatenate(row, axis=1) for row in parts])
        np.testing.assert_array_equal(joined, whole)

    def test_an_enlarged_edge_of_the_slide_keeps_its_colour(self, tmp_path, write_tiff):
        write_tiff(tmp_path / "a.tif", [np.full((20, 30, 3), 80, np.uint8)], 0.5)
        with open_slide(tmp_path / "a.tif") as slide:
            assert (slide.read(0, 0, (120, 80), 0.125) == 80).all()
            outside = slide.read(-10, 0, (80, 80), 0.125)
        assert (outside[:, :36] == 255).all()
        assert (outside[:, 44:] == 80).all()

    def test_takes_the_coarsest_level_that_is_fine_enough(self, tmp_path, write_tiff):
        write_tiff(tmp_path / "a.tif", [np.full((256 // s, 256 // s, 3), s * 10, np.uint8) for s in (1, 2, 4)], 0.25)
        with open_slide(tmp_path / "a.tif") as slide:
            shown = {mpp: int(slide.read(0, 0, 16, mpp)[0, 0, 0]) for mpp in (0.2, 0.25, 0.49, 0.499, 0.5, 0.8, 1, 2)}
        assert shown == {0.2: 10, 0.25: 10, 0.49: 10, 0.499: 20, 0.5: 20, 0.8: 20, 1: 40, 2: 40}

    def test_outside_the_slide_is_white(self, ramp):
        with open_slide(ramp) as slide:
            region = slide.read(-20, 110, (30, 20), 0.5)
        assert (region[:, :20] == 255).all()
        assert (region[10:] == 255).all()
        np.testing.assert_array_equal(region[:10, 20:, 0], np.tile(np.arange(10) * 2, (10, 1)))

    def test_strips_of_large_reads_join_without_a_seam(self, ramp, monkeypatch):
        with open_slide(ramp) as slide:
            whole = slide.read(3, 5, (50, 45), 1.1)
            monkeypatch.setattr(reader, "_READ_AT_ONCE", 1000)
            strips = slide.read(3, 5, (50, 45), 1.1)
        assert np.abs(whole.astype(int) - strips).max() <= 1

    def test_transparent_pixels_are_white(self):
        rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [100, 100, 100, 128]]], np.uint8)
        np.testing.assert_array_equal(reader._on_white(rgba), [[[10, 20, 30], [255, 255, 255], [177, 177, 177]]])

    def test_thumbnail_has_the_slides_proportions(self, tmp_path, write_tiff):
        write_tiff(tmp_path / "a.tif", [np.zeros((120, 300, 3), np.uint8)], 0.5)
        with open_slide(tmp_path / "a.tif") as slide:
            assert slide.thumbnail(100).shape == (40, 100, 3)
            assert slide.bounds == (0, 0, 300, 120)


class TestOpen:
    def test_missing_file(self, tmp_path):
        with pytest.raises(InputError, match=r"none\.svs: no such slide"):
            open_slide(tmp_path / "none.svs")

    def test_not_a_slide(self, tmp_path):
        (tmp_path / "text.svs").write_text("no slide")
        with pytest.raises(InputError, match=r"text\.svs: not a readable slide .* fetch it again"):
            open_slide(tmp_path / "text.svs")

    def test_no_resolution_is_an_error_and_an_override_mends_it(self, tmp_path, write_tiff):
        write_tiff(tmp_path / "a.tif", [np.zeros((64, 64, 3), np.uint8)], None)
        with pytest.raises(
            InputError, match="no mpp in the file; give it in column mpp of the slide table or with --mpp"
        ):
            open_slide(tmp_path / "a.tif")
        assert open_slide(tmp_path / "a.tif", mpp=0.3).mpp == 0.3

    @pytest.mark.parametrize("unit", ["INCH", "CENTIMETER"])
    @pytest.mark.parametrize("dpi", [72, 96, 150, 300, 600, 720, 1200, 2400, 4800])
    def test_a_printers_resolution_is_none(self, tmp_path, dpi, unit):
        per_unit = (dpi / (1 if unit == "INCH" else 2.54),) * 2
        pixels = np.zeros((64, 64, 3), np.uint8)
        tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(64, 64), resolution=per_unit, resolutionunit=unit)
        with pytest.raises(InputError, match=rf"no mpp in the file but .* um/px, {dpi} dpi, which no microscope has"):
            open_slide(tmp_path / "a.tif")
        assert open_slide(tmp_path / "a.tif", 0.5, force=False).mpp == 0.5

    @pytest.mark.parametrize("mpp", [0.11, 0.25, 0.5, 1.0, 2.0, 3.9])
    def test_a_microscopes_resolution_is_one(self, tmp_path, write_tiff, mpp):
        write_tiff(tmp_path / "a.tif", [np.zeros((64, 64, 3), np.uint8)], mpp)
        assert open_slide(tmp_path / "a.tif").mpp == pytest.approx(mpp, rel=1e-4)

    @pytest.mark.parametrize(("height", "square"), [(1.0, False), (0.503, True)])
    def test_pixels_that_are_not_square_are_refused(self, tmp_path, height, square):
        pixels = np.zeros((64, 64, 3), np.uint8)
        resolution = (1e4 / 0.5, 1e4 / height)
        tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(64, 64), resolution=resolution, resolutionunit=3)
        if square:
            assert open_slide(tmp_path / "a.tif").mpp == pytest.approx(0.5015)
        else:
            with pytest.raises(
                InputError,
                match=r"a\.tif: pixels of 0\.5 x 1 um are not square; .* if its mpp is wrong, give",
            ):
                open_slide(tmp_path / "a.tif")
        assert open_slide(tmp_path / "a.tif", mpp=0.5).mpp == 0.5

    def test_the_override_wins(self, ramp):
        with open_slide(ramp) as plain, open_slide(ramp, mpp=0.25) as other:
            assert (plain.mpp, other.mpp) == (0.5, 0.25)
            np.testing.assert_array_equal(plain.read(8, 8, 20, 1.0), other.read(8, 8, 20, 0.5))

    @pytest.mark.parametrize(("mpp", "taken"), [(0.25, False), (0.508, True), (0.52, False)])
    def test_what_is_for_slides_that_say_nothing_is_none_for_others(self, ramp, mpp, taken):
        with open_slide(ramp, mpp) as slide:
            assert (slide.mpp, slide.stated_mpp) == (mpp, 0.5)
        if taken:
            assert open_slide(ramp, mpp, force=False).mpp == mpp
        else:
            with pytest.raises(InputError, match=rf"says 0\.5 um/px itself, and --mpp {mpp} .* add --force-mpp"):
                open_slide(ramp, mpp, force=False)

    @pytest.mark.parametrize("mpp", [0, -1, float("nan"), float("inf")])
    def test_an_impossible_override(self, ramp, mpp):
        with pytest.raises(InputError, match="is no resolution"):
            open_slide(ramp, mpp=mpp)


@pytest.mark.real_data
class TestRealSlides:
    def test_an_aperio_slide(self, real_data):
        path = real_data / "slides/CMU-1-Small-Region.svs"
        with open_slide(path) as slide, openslide.OpenSlide(path) as peer:
            assert slide.size == (2220, 2967)
            assert slide.mpp == pytest.approx(0.499)
            ours = slide.read(301, 402, 200, 0.499)
            np.testing.assert_array_equal(ours, np.asarray(peer.read_region((301, 402), 0, (200, 200)).convert("RGB")))

    def test_area_averaging_agrees_with_pillows(self, real_data):
        path = real_data / "slides/CMU-1-Small-Region.svs"
        with open_slide(path) as slide, openslide.OpenSlide(path) as peer:
            ours = slide.read(300, 400, 224, 1.0)
            side = 224 / 0.499
            full = peer.read_region((300, 400), 0, (450, 450)).convert("RGB")
            theirs = full.resize((224, 224), Image.Resampling.BOX, box=(0, 0, side, side))
        assert np.abs(ours.astype(int) - np.asarray(theirs)).mean() < 4  # Pillow counts each pixel whole or not at all

    def test_a_slide_without_resolution(self, real_data):
        path = real_data / "slides/tcga-cr-7395-01a-01-ts1.svs"
        with pytest.raises(InputError, match="no mpp in the file"):
            open_slide(path)
        with open_slide(path, mpp=0.25) as slide:
            assert slide.size == (4443, 3567)
            assert 50 < slide.read(1000, 1000, 100, 0.5).mean() < 220

    def test_a_broken_slide(self, real_data):
        with pytest.raises(InputError, match=r"broken\.svs: not a readable slide"):
            open_slide(real_data / "slides/broken.svs")


@pytest.mark.parametrize(("side", "tile"), [(64, 65_536), (60_000, 60_000), (65_000, 16_384)])
def test_a_tile_larger_than_memory_is_refused_before_it_is_read(tmp_path, side, tile):
    path = tmp_path / "bomb.tiff"
    options = {"photometric": "rgb", "tile": (64, 64), "compression": "zlib", "metadata": None}
    tifffile.imwrite(path, np.zeros((64, 64, 3), np.uint8), resolution=(2e4, 2e4), resolutionunit=3, **options)
    with tifffile.TiffFile(path, mode="r+b") as file:
        for tag, value in ((256, side), (257, side), (322, tile), (323, tile)):
            file.pages[0].tags[tag].overwrite(value)
    assert path.stat().st_size < 10_000
    with pytest.raises(InputError, match=rf"bomb\.tiff: tiles of {tile} x {tile} px, which no scanner writes"):
        open_slide(path)


def test_slides_of_one_size_are_told_apart_where_openslide_makes_no_hash(tmp_path):
    options = {
        "photometric": "rgb",
        "tile": (256, 256),
        "metadata": None,
        "resolution": (1e4, 1e4),
        "resolutionunit": 3,
    }
    hashes = []
    for value in (60, 200):
        path = tmp_path / f"{value}.tiff"
        tifffile.imwrite(path, np.full((1400, 1400, 3), value, np.uint8), **options)
        with openslide.OpenSlide(path) as peer:
            assert openslide.PROPERTY_NAME_QUICKHASH1 not in peer.properties
        with open_slide(path) as slide:
            hashes.append(slide.quickhash)
    assert (tmp_path / "60.tiff").stat().st_size == (tmp_path / "200.tiff").stat().st_size
    assert hashes[0] != hashes[1]
    assert all(hashes)
