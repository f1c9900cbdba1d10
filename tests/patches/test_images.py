import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.gates.project import tissue_image
from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.patches import IGNORE, get_vocabulary
from wsss_mm.patches.images import read_image, read_label_map, read_mask, store_patch, write_image, write_mask

LUNG = get_vocabulary("lung")


def _png(path, width, height, rows=b"", bits=8, colour=2):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    data = zlib.compress(rows) if rows else b""
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


class TestReadImage:
    def test_transparent_pixels_are_glass(self, tmp_path):
        Image.fromarray(np.zeros((4, 4, 4), np.uint8), "RGBA").save(tmp_path / "a.png")
        assert (read_image(tmp_path / "a.png") == 255).all()

    def test_grey_becomes_rgb(self, tmp_path):
        Image.fromarray(np.full((4, 4), 7, np.uint8)).save(tmp_path / "a.png")
        assert read_image(tmp_path / "a.png").shape == (4, 4, 3)

    @pytest.mark.parametrize("side", [20_000, 60_000])
    def test_decompression_bomb_is_refused_before_it_is_decoded(self, tmp_path, side):
        _png(tmp_path / "bomb.png", side, side)
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


@pytest.mark.parametrize("kind", ["tissue", "glass", "noise"])
def test_images_are_written_as_they_are_in_files_as_large_as_pillows(tmp_path, kind):
    rng = np.random.default_rng(0)
    image = {
        "tissue": tissue_image(rng, 224, 224),
        "glass": np.full((224, 224, 3), 243, np.uint8),
        "noise": rng.integers(0, 255, (224, 224, 3), np.uint8),
    }[kind]
    assert write_image(tmp_path / "a.png", image) == digest(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)
    write_image(tmp_path / "mirrored.png", image[:, ::-1])  # a view, whose rows do not lie one behind another
    np.testing.assert_array_equal(read_image(tmp_path / "mirrored.png"), image[:, ::-1])
    Image.fromarray(image).save(tmp_path / "b.png")
    assert (tmp_path / "a.png").stat().st_size < 1.15 * (tmp_path / "b.png").stat().st_size + 2000


class TestDepth:
    """Whatever holds a picture in 16 bits gives it back; what does not say what is white is refused."""

    GREY = np.random.default_rng(0).integers(60, 200, (32, 32)).astype(np.uint8)
    COLOUR = np.random.default_rng(1).integers(60, 200, (32, 32, 3)).astype(np.uint8)

    @pytest.mark.parametrize("name", ["a.png", "a.tif"])
    def test_grey_of_16_bits(self, tmp_path, name):
        Image.fromarray(self.GREY.astype(np.uint16) * 257).save(tmp_path / name)
        np.testing.assert_array_equal(read_image(tmp_path / name), np.repeat(self.GREY[..., None], 3, axis=2))

    @pytest.mark.parametrize(
        "options",
        [{}, {"byteorder": ">"}, {"compression": "zlib"}, {"compression": "lzw", "predictor": True}],
        ids=str,
    )
    @pytest.mark.parametrize("photometric", ["minisblack", "miniswhite", "rgb"])
    def test_tiffs_of_8_and_16_bits(self, tmp_path, options, photometric):
        pixels = self.COLOUR if photometric == "rgb" else self.GREY
        expected = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
        stored = 255 - pixels if photometric == "miniswhite" else pixels
        for number, values in enumerate((stored, stored.astype(np.uint16) * 257)):
            path = tmp_path / f"{number}.tif"
            tifffile.imwrite(path, values, photometric=photometric, metadata=None, **options)
            try:
                np.testing.assert_array_equal(read_image(path), expected)
            except InputError:  # Pillow knows no such file
                assert (photometric, options, number) == ("miniswhite", {"byteorder": ">"}, 1)

    @pytest.mark.parametrize("compression", [None, "zlib"])
    def test_separate_planes(self, tmp_path, compression):
        planes = np.moveaxis(self.COLOUR, 2, 0)
        options = {"photometric": "rgb", "planarconfig": "separate", "compression": compression}
        tifffile.imwrite(tmp_path / "a.tif", planes, **options)
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), self.COLOUR)

    @pytest.mark.parametrize("mode", ["L", "LA", "P", "PA", "RGBA", "CMYK", "1"])
    def test_modes_of_8_bits(self, tmp_path, mode):
        image = Image.fromarray(np.full((8, 8, 3), 255, np.uint8)).convert("L" if mode in ("LA", "PA") else mode)
        image = image.convert(mode)
        image.save(tmp_path / "a.tif" if mode in ("CMYK", "PA") else tmp_path / "a.png")
        assert (read_image(next(tmp_path.iterdir())) == 255).all()

    @pytest.mark.parametrize("bits", [10, 12, 14])
    @pytest.mark.parametrize("colour", [False, True])
    def test_16_bits_that_are_not_used_are_no_black_picture(self, tmp_path, bits, colour):
        pixels = (self.COLOUR if colour else self.GREY).astype(np.uint16) << (bits - 8)
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb" if colour else "minisblack")
        with pytest.raises(InputError, match=r"a\.tif: 16 bits a channel, of which the brightest pixel uses a quarter"):
            read_image(tmp_path / "a.tif")

    @pytest.mark.parametrize("kind", ["int8", "int16", "int32", "uint32", "float32", "float64"])
    def test_numbers_without_a_white_are_refused(self, tmp_path, kind):
        tifffile.imwrite(tmp_path / "a.tif", (self.GREY // 2).astype(kind))
        with pytest.raises(InputError, match=r"a\.tif: (pixels are .* numbers, of which none is known|cannot be read)"):
            read_image(tmp_path / "a.tif")


class TestWhole:
    @pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
    @pytest.mark.parametrize("reading", [read_image, read_label_map])
    def test_what_lies_turned_is_refused(self, tmp_path, name, reading):
        exif = Image.Exif()
        for orientation in (1, 3, 6, 8):
            exif[274] = orientation
            Image.fromarray(np.full((8, 6), 2, np.uint8)).save(tmp_path / name, exif=exif)
            if orientation > 1:
                with pytest.raises(InputError, match=rf"{name}: is stored turned or mirrored .*{orientation}"):
                    reading(tmp_path / name)
            elif name != "a.jpg":
                assert reading(tmp_path / name).shape[:2] == (8, 6)

    def test_damaged_exif_says_nothing(self, tmp_path):
        Image.fromarray(np.full((8, 6), 2, np.uint8)).save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
        assert read_image(tmp_path / "a.png").shape == (8, 6, 3)

    @pytest.mark.parametrize(("reduced", "taken"), [(False, False), (True, True)])
    def test_several_pages_are_several_pictures_unless_they_are_copies(self, tmp_path, reduced, taken):
        with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
            for number, side in enumerate((16, 8)):
                tiff.write(np.full((side, side), 10 * side, np.uint8), subfiletype=int(reduced and number > 0))
        if taken:
            assert (read_image(tmp_path / "a.tif") == 160).all()
        else:
            with pytest.raises(InputError, match=r"a\.tif: holds 2 pictures"):
                read_image(tmp_path / "a.tif")


class TestMasks:
    @pytest.mark.parametrize(
        ("name", "pixels", "options"),
        [
            ("a.png", np.zeros((4, 4), np.uint16), {}),
            ("a.png", np.zeros((4, 4), bool), {}),
            ("a.tif", np.zeros((4, 4), np.int32), {}),
            ("a.tif", np.zeros((4, 4), np.float32), {}),
            ("a.jpg", np.zeros((4, 4), np.uint8), {}),
        ],
    )
    def test_what_holds_no_class_indices_is_refused(self, tmp_path, name, pixels, options):
        Image.fromarray(pixels).save(tmp_path / name, **options)
        with pytest.raises(InputError, match=rf"{name}: a mask of mode .*; write class indices as a palette"):
            read_label_map(tmp_path / name)

    @pytest.mark.parametrize(("photometric", "kind"), [("miniswhite", np.uint8), ("minisblack", np.int8)])
    def test_a_tiff_whose_numbers_are_none(self, tmp_path, photometric, kind):
        tifffile.imwrite(tmp_path / "a.tif", np.ones((4, 4), kind), photometric=photometric)
        with pytest.raises(InputError, match="write class indices"):
            read_label_map(tmp_path / "a.tif")

    @pytest.mark.parametrize("bits", [2, 4])
    def test_greys_of_few_bits_are_spread_over_the_range(self, tmp_path, bits):
        """As programs that pack PNGs write them: a mask of 0 and 255 would come back as of classes 0 and 1."""
        _png(tmp_path / "a.png", 4, 1, bytes([0, *(0b0001_1011,) * (bits // 2)]), bits=bits, colour=0)
        with pytest.raises(InputError, match=rf"mode L, unsigned {bits}-bit PNG"):
            read_label_map(tmp_path / "a.png")

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

    @pytest.mark.parametrize("order", [(0, 1, 2, 3), (1, 0, 2, 3), (3, 2), (2, 0, 1, 3)])
    def test_a_palette_may_not_give_a_class_the_colour_of_another(self, tmp_path, order):
        """As where a picture in the classes' colours was turned into a palette image."""
        mask = np.arange(len(order), dtype=np.uint8)[None]
        image = Image.fromarray(mask)
        image.putpalette([channel for index in order for channel in LUNG.colors[index]])
        image.save(tmp_path / "m.png")
        if order == (0, 1, 2, 3):
            np.testing.assert_array_equal(read_mask(tmp_path / "m.png", 4, (), LUNG.colors), mask)
        else:
            wrong = next(value for value, index in enumerate(order) if value != index)
            with pytest.raises(InputError, match=rf"m\.png: value {wrong} has the colour of class {order[wrong]}"):
                read_mask(tmp_path / "m.png", 4, (), LUNG.colors)

    @pytest.mark.parametrize("first", [(0, 0, 0), LUNG.colors[3]])
    def test_colours_of_others_say_nothing(self, tmp_path, first):
        image = Image.fromarray(np.array([[0, 1, 2, 3]], np.uint8))
        image.putpalette([*first, 255, 0, 0, 0, 255, 0, 0, 0, 255])
        image.save(tmp_path / "m.png")
        assert read_mask(tmp_path / "m.png", 4, (), LUNG.colors).tolist() == [[0, 1, 2, 3]]

    def test_palette_carries_the_vocabulary_and_values_survive(self, tmp_path):
        mask = np.array([[0, 1, 2, 3, IGNORE]], np.uint8)
        write_mask(tmp_path / "m.png", mask, LUNG)
        np.testing.assert_array_equal(read_label_map(tmp_path / "m.png"), mask)
        shown = np.asarray(Image.open(tmp_path / "m.png").convert("RGB"))[0]
        assert [tuple(map(int, color)) for color in shown] == [*LUNG.colors, (255, 255, 255)]


def test_stored_patch_says_where_it_is(tmp_path):
    image = np.full((8, 8, 3), 90, np.uint8)
    known = store_patch(tmp_path, "p", "test", image=image, mask=image[..., 0] * 0, vocabulary=LUNG)
    np.testing.assert_array_equal(read_image(tmp_path / known["path"]), image)
    assert known["sha256"] == digest(tmp_path / known["path"])
    assert known["mask_sha256"] == digest(tmp_path / known["mask_path"])
    assert (known["size"], known["split"]) == (8, "test")
    assert store_patch(tmp_path, "q", "train", image=image, mask=None, vocabulary=LUNG)["mask_path"] is None
