import numpy as np
import openslide
import pytest
import tifffile

from wsss_mm.files import digest
from wsss_mm.patches import get_vocabulary
from wsss_mm.slides import open_slide
from wsss_mm.slides.labels import read_label_map
from wsss_mm.slides.pyramid import write_label_pyramid

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
    np.testing.assert_array_equal(read_label_map(written), labels)
    with tifffile.TiffFile(written) as tiff:
        assert len(tiff.pages) == len(tiff.series[0].levels) == 4
        for page in tiff.pages:
            assert page.is_tiled
            assert page.photometric.name == "PALETTE"
            assert set(np.unique(page.asarray())) <= {0, 1, 2, 3, 255}


def test_same_map_same_bytes(tmp_path, labels):
    for name in ("a", "b"):
        write_label_pyramid(tmp_path / f"{name}.tif", labels, 0.5, PALETTE)
    assert digest(tmp_path / "a.tif") == digest(tmp_path / "b.tif")


def test_a_memory_mapped_map(tmp_path, labels):
    labels.tofile(tmp_path / "raw")
    mapped = np.memmap(tmp_path / "raw", np.uint8, "r", shape=labels.shape)
    write_label_pyramid(tmp_path / "a.tif", mapped, 1.0, PALETTE)
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.tif"), labels)


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (256, 256), (257, 5)])
def test_odd_shapes(tmp_path, shape):
    labels = np.random.default_rng(1).integers(0, 4, shape, np.uint8)
    write_label_pyramid(tmp_path / "a.tif", labels, 1.0, PALETTE)
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.tif"), labels)
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
