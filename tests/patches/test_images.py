import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.patches import IGNORE, get_vocabulary
from wsss_mm.patches.images import read_image, read_label_map, read_mask, store_patch, tissue_share, write_mask

LUNG = get_vocabulary("lung")


def _png_header(path, width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


class TestReadImage:
    def test_transparent_pixels_are_glass(self, tmp_path):
        Image.fromarray(np.zeros((4, 4, 4), np.uint8), "RGBA").save(tmp_path / "a.png")
        assert (read_image(tmp_path / "a.png") == 255).all()

    def test_grey_becomes_rgb(self, tmp_path):
        Image.fromarray(np.full((4, 4), 7, np.uint8)).save(tmp_path / "a.png")
        assert read_image(tmp_path / "a.png").shape == (4, 4, 3)

    @pytest.mark.parametrize("side", [20_000, 60_000])
    def test_decompression_bomb_is_refused_before_it_is_decoded(self, tmp_path, side):
        _png_header(tmp_path / "bomb.png", side, side)
        with pytest.raises(InputError, match=r"bomb\.png.*"):
            read_image(tmp_path / "bomb.png")

    @pytest.mark.parametrize("content", [b"", b"not an image", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\x89PNG\r\n\x1a\n"])
    def test_garbage_is_named(self, tmp_path, content):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.png: cannot be read as an image"):
            read_image(tmp_path / "a.png")

    def test_truncated_image_is_named(self, tmp_path):
        path = tmp_path / "a.png"
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:3000])
        with pytest.raises(InputError, match=r"a\.png: cannot be read"):
            read_image(path)

    def test_symlink_is_followed(self, tmp_path):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.png")
        (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
        assert read_image(tmp_path / "b.png").shape == (4, 4, 3)


class TestMasks:
    def test_ignored_values_become_255(self, tmp_path):
        Image.fromarray(np.array([[0, 3], [4, 255]], np.uint8)).save(tmp_path / "m.png")
        np.testing.assert_array_equal(read_mask(tmp_path / "m.png", 4, (4,)), [[0, 3], [IGNORE, IGNORE]])

    def test_unknown_value_is_named(self, tmp_path):
        Image.fromarray(np.array([[0, 9]], np.uint8)).save(tmp_path / "m.png")
        with pytest.raises(
            InputError, match=r"m\.png: mask value 9 is none of the 4 classes; expected 0\.\.3 and 4, 255"
        ):
            read_mask(tmp_path / "m.png", 4, (4,))

    def test_colour_mask_has_no_class_indices(self, tmp_path):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "m.png")
        with pytest.raises(InputError, match="palette or 8-bit grey"):
            read_mask(tmp_path / "m.png", 4)

    def test_palette_carries_the_vocabulary_and_values_survive(self, tmp_path):
        mask = np.array([[0, 1, 2, 3, IGNORE]], np.uint8)
        write_mask(tmp_path / "m.png", mask, LUNG)
        np.testing.assert_array_equal(read_label_map(tmp_path / "m.png"), mask)
        shown = np.asarray(Image.open(tmp_path / "m.png").convert("RGB"))[0]
        assert [tuple(map(int, color)) for color in shown] == [*LUNG.colors, (255, 255, 255)]


def test_tissue_share_is_the_share_of_dark_pixels():
    image = np.full((10, 10, 3), 240, np.uint8)
    image[:3] = (200, 100, 160)
    assert tissue_share(image) == pytest.approx(0.3)


def test_stored_patch_says_where_it_is(tmp_path):
    image = np.full((8, 8, 3), 90, np.uint8)
    known = store_patch(tmp_path, "p", "test", image=image, mask=image[..., 0] * 0, vocabulary=LUNG)
    np.testing.assert_array_equal(read_image(tmp_path / known["path"]), image)
    assert known["sha256"] == digest(tmp_path / known["path"])
    assert known["mask_sha256"] == digest(tmp_path / known["mask_path"])
    assert (known["size"], known["tissue"], known["split"]) == (8, 1.0, "test")
    assert store_patch(tmp_path, "q", "train", image=image, mask=None, vocabulary=LUNG)["mask_path"] is None
