import numpy as np
import pytest
import tifffile

from wsss_mm.errors import InputError
from wsss_mm.slides.labels import label_bands, read_label_tiff, resample_labels
from wsss_mm.slides.pyramid import write_label_pyramid

LABELS = np.random.default_rng(0).choice(np.array([0, 1, 2, 3, 255], np.uint8), (24, 30))


def test_scale_one_is_a_cut():
    np.testing.assert_array_equal(resample_labels(LABELS, 3, 5, (10, 8), 1), LABELS[5:13, 3:13])


def test_halving_takes_the_majority_and_the_lowest_in_a_tie():
    labels = np.array([[3, 3, 0, 2, 255, 255], [3, 1, 2, 0, 255, 1]], np.uint8)
    assert resample_labels(labels, 0, 0, (3, 1), 2).tolist() == [[3, 0, 255]]


@pytest.mark.parametrize("step", [2, 3, 5, 8])
def test_each_pixel_takes_the_label_that_is_counted_most_often(step):
    found = resample_labels(LABELS, -1, 2, (5, 3), step)
    whole = np.pad(LABELS, ((0, 24), (1, 40)), constant_values=255)[2:]
    for row, column in np.ndindex(3, 5):
        block = whole[row * step : (row + 1) * step, column * step : (column + 1) * step]
        assert found[row, column] == np.bincount(block.ravel()).argmax()


def test_fractions_take_what_lies_under_the_centre():
    labels = np.arange(20, dtype=np.uint8)[None, :].repeat(20, 0)
    assert resample_labels(labels, 1, 0, (4, 1), 2.5).tolist() == [[2, 4, 7, 9]]


@pytest.mark.parametrize("scale", [1, 2, 2.5])
def test_outside_is_nothing(scale):
    out = resample_labels(LABELS, -10, -10, 40, scale)
    assert (out[:2] == 255).all()
    assert (out[-2:] == 255).all()
    assert (out != 255).any()


def test_files_that_are_no_label_map(tmp_path):
    with pytest.raises(InputError, match="no such label map"):
        read_label_tiff(tmp_path / "none.tif")
    (tmp_path / "text.tif").write_text("text")
    with pytest.raises(InputError, match="not readable as a TIFF"):
        read_label_tiff(tmp_path / "text.tif")
    whole = tmp_path / "whole.tif"
    tifffile.imwrite(whole, LABELS, compression="zlib", metadata=None)
    (tmp_path / "damaged.tif").write_bytes(whole.read_bytes()[:-40] + b"x" * 40)
    with pytest.raises(InputError, match="not readable as a TIFF"):
        read_label_tiff(tmp_path / "damaged.tif")
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((8, 8, 3), np.uint8), photometric="rgb")
    with pytest.raises(InputError, match="one uint8 channel"):
        read_label_tiff(tmp_path / "rgb.tif")


@pytest.mark.parametrize(("tags", "values"), [((256, 257), 60_000), ((322, 323), 65_536)])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, tags, values):
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), tile=(32, 32), compression="zlib", metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as file:
        for tag in tags:
            file.pages[0].tags[tag].overwrite(values)
    assert path.stat().st_size < 10_000
    with pytest.raises(InputError, match=r"bomb\.tif: claims .* which is no label map"):
        read_label_tiff(path)


@pytest.mark.parametrize("shape", [(600, 300), (256, 512), (1, 1), (257, 900)])
def test_bands_are_the_map(tmp_path, shape):
    labels = np.random.default_rng(0).choice(np.array([0, 1, 255], np.uint8), shape)
    write_label_pyramid(tmp_path / "map.tif", labels, 1.0, [0] * 768)
    bands = list(label_bands(tmp_path / "map.tif"))
    assert [top for top, _ in bands] == list(range(0, shape[0], 256))
    np.testing.assert_array_equal(np.concatenate([band for _, band in bands]), labels)


def test_bands_of_files_that_are_no_map(tmp_path):
    labels = np.zeros((600, 300), np.uint8)
    path = tmp_path / "map.tif"
    with pytest.raises(InputError, match="no such label map"):
        list(label_bands(path))
    for content in ({"data": labels}, {"data": np.zeros((64, 64, 3), np.uint8), "tile": (64, 64)}):
        tifffile.imwrite(path, **content)
        with pytest.raises(InputError, match=r"map\.tif: a map is one uint8 channel in tiles"):
            list(label_bands(path))
    write_label_pyramid(path, np.random.default_rng(0).integers(0, 9, (600, 300), np.uint8), 1.0, [0] * 768)
    whole = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[2]
    path.write_bytes(whole[:offset] + bytes(500) + whole[offset + 500 :])
    with pytest.raises(InputError, match=r"map\.tif: not readable as a TIFF"):
        list(label_bands(path))
