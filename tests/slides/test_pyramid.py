import xml.etree.ElementTree as ET

import numpy as np
import openslide
import pytest
import tifffile

from wsss_mm.files import digest
from wsss_mm.patches import get_vocabulary
from wsss_mm.slides import open_slide, pyramid
from wsss_mm.slides.labels import read_label_tiff
from wsss_mm.slides.pyramid import write_label_pyramid, write_probability_pyramid

PALETTE = get_vocabulary("lung").palette
COLOURS = np.array(PALETTE, np.uint8).reshape(256, 3)


@pytest.fixture
def labels():
    coarse = np.random.default_rng(0).choice(np.array([0, 1, 2, 3, 255], np.uint8), (30, 41))
    return np.kron(coarse, np.ones((37, 29), np.uint8))[:1100, :1180]


@pytest.fixture
def written(tmp_path, labels):
    path = tmp_path / "segmentation.tif"
    write_label_pyramid(path, labels, 1.0, PALETTE)
    return path


def test_openslide_shows_the_colours_and_knows_the_resolution(written, labels):
    with openslide.OpenSlide(written) as slide:
        assert slide.properties["openslide.vendor"] == "generic-tiff"
        assert slide.dimensions == (1180, 1100)
        assert slide.level_count == 4
        region = np.asarray(slide.read_region((200, 300), 0, (400, 350)).convert("RGB"))
        np.testing.assert_array_equal(region, COLOURS[labels[300:650, 200:600]])
        coarse = np.asarray(slide.read_region((0, 0), 1, slide.level_dimensions[1]).convert("RGB"))
        np.testing.assert_array_equal(coarse, COLOURS[labels[1::2, 1::2]])
    with open_slide(written) as slide:
        assert slide.mpp == pytest.approx(1.0)


def test_tifffile_reads_the_labels_of_every_level(written, labels):
    np.testing.assert_array_equal(read_label_tiff(written), labels)
    with tifffile.TiffFile(written) as tiff:
        assert len(tiff.pages) == len(tiff.series[0].levels) == 4
        for number, level in enumerate(tiff.series[0].levels):
            assert level.keyframe.is_tiled
            assert level.keyframe.photometric.name == "PALETTE"
            step = 2**number
            np.testing.assert_array_equal(level.asarray(), labels[step // 2 :: step, step // 2 :: step])


def test_same_map_same_bytes(tmp_path, labels):
    for name in ("a", "b"):
        write_label_pyramid(tmp_path / f"{name}.tif", labels, 0.5, PALETTE)
    assert digest(tmp_path / "a.tif") == digest(tmp_path / "b.tif")


def test_a_memory_mapped_map(tmp_path, labels):
    labels.tofile(tmp_path / "raw")
    mapped = np.memmap(tmp_path / "raw", np.uint8, "r", shape=labels.shape)
    write_label_pyramid(tmp_path / "a.tif", mapped, 1.0, PALETTE)
    np.testing.assert_array_equal(read_label_tiff(tmp_path / "a.tif"), labels)


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (3, 700), (256, 256), (257, 5)])
def test_odd_shapes(tmp_path, shape):
    labels = np.random.default_rng(1).integers(0, 4, shape, np.uint8)
    write_label_pyramid(tmp_path / "a.tif", labels, 1.0, PALETTE)
    np.testing.assert_array_equal(read_label_tiff(tmp_path / "a.tif"), labels)
    assert openslide.OpenSlide(tmp_path / "a.tif").dimensions == shape[::-1]


def test_a_failed_write_leaves_what_was_there(tmp_path, labels, monkeypatch):
    path = tmp_path / "a.tif"
    path.write_bytes(b"before")

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(tifffile.TiffWriter, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        write_label_pyramid(path, labels, 1.0, PALETTE)
    assert [item.name for item in tmp_path.iterdir()] == ["a.tif"]
    assert path.read_bytes() == b"before"


OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


def _pixels(path):
    with tifffile.TiffFile(path) as tiff:
        return ET.fromstring(tiff.ome_metadata).find(f"{OME}Image/{OME}Pixels")


class TestBioFormats:
    """What Bio-Formats, with which QuPath opens such a file, looks at (checked with Bio-Formats 7.3.1)."""

    @pytest.mark.parametrize("big", [False, True])
    def test_levels_hang_below_the_plane_and_in_the_chain(self, tmp_path, labels, monkeypatch, big):
        if big:
            monkeypatch.setattr(pyramid, "_BIG", 0)
        path = tmp_path / "a.tif"
        write_label_pyramid(path, labels, 0.5, PALETTE)
        with tifffile.TiffFile(path) as tiff:
            assert tiff.is_bigtiff == big
            first = tiff.pages[0]
            assert [page.offset for page in tiff.pages] == [first.offset, *first.subifds]
        assert openslide.OpenSlide(path).level_count == 4

    def test_metadata(self, written):
        pixels = _pixels(written)
        assert (pixels.get("SizeX"), pixels.get("SizeY"), pixels.get("SizeC")) == ("1180", "1100", "1")
        assert float(pixels.get("PhysicalSizeX")) == float(pixels.get("PhysicalSizeY")) == 1.0


class TestProbabilities:
    CHANNELS = (("Tumour & \u00e9pith\u00e9lium", (205, 51, 51)), ("Stroma", (255, 165, 0)))

    @pytest.fixture
    def maps(self):
        return np.random.default_rng(0).integers(0, 256, (2, 700, 610), np.uint8)

    @pytest.fixture
    def path(self, tmp_path, maps):
        write_probability_pyramid(tmp_path / "p.ome.tif", maps, 0.5, self.CHANNELS)
        return tmp_path / "p.ome.tif"

    def test_values_of_every_level(self, path, maps):
        with tifffile.TiffFile(path) as tiff:
            (series,) = tiff.series
            assert len(series.levels) == 3
            for number, level in enumerate(series.levels):
                step = 2**number
                np.testing.assert_array_equal(level.asarray(), maps[:, step // 2 :: step, step // 2 :: step])

    def test_levels_are_the_label_maps(self, path, maps, tmp_path):
        write_label_pyramid(tmp_path / "labels.tif", maps[0], 0.5, PALETTE)
        with tifffile.TiffFile(path) as one, tifffile.TiffFile(tmp_path / "labels.tif") as other:
            shapes = [level.shape for level in other.series[0].levels]
            assert [level.shape[1:] for level in one.series[0].levels] == shapes

    def test_channels_have_names_and_colours(self, path):
        channels = _pixels(path).findall(f"{OME}Channel")
        assert [channel.get("Name") for channel in channels] == [name for name, _ in self.CHANNELS]
        colors = [int(channel.get("Color")).to_bytes(4, "big", signed=True) for channel in channels]
        assert [tuple(color) for color in colors] == [(*color, 255) for _, color in self.CHANNELS]


class TestMemory:
    def test_only_a_row_of_tiles_is_read_at_a_time(self, tmp_path, labels):
        class Counting:
            shape, most = labels.shape, 0

            def __getitem__(self, rows):
                taken = labels[rows]
                self.most = max(self.most, len(taken))
                return taken

        counting = Counting()
        write_label_pyramid(tmp_path / "a.tif", counting, 1.0, PALETTE)
        assert counting.most == 256
        np.testing.assert_array_equal(read_label_tiff(tmp_path / "a.tif"), labels)
