"""A pixel of a coarser level lies where the slide has it, whatever rounding, padding or foreign page a pyramid has."""

import math

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from openslide.deepzoom import DeepZoomGenerator

from wsss_mm.errors import InputError
from wsss_mm.slides import open_slide
from wsss_mm.slides.levels import true_levels
from wsss_mm.slides.pages import LevelledSlide

ROUNDINGS = {"floor": math.floor, "round": round, "ceil": math.ceil}
PYRAMIDS = [(2, 4, 8, 16), (4, 16), (4, 16, 32), (4, 16, 64), (16,), (8, 64), (3, 9, 27), (3.2,), (2.5, 6.25), (10,)]
sides = st.integers(2_000, 200_000)


def _padded(size, tile):
    return tuple(-(-side // tile) * tile for side in size)


def _off(whole, factor, found):
    """px of the level by which the far corner is off."""
    return max(abs(side / factor - side / each) for side, each in zip(whole, found, strict=True))


@settings(deadline=None, max_examples=300, derandomize=True)
@given(sides, st.integers(150, 200_000), st.sampled_from(PYRAMIDS), st.sampled_from(sorted(ROUNDINGS)))
def test_rounded_levels_are_at_most_half_a_pixel_off(width, height, factors, rounding):
    whole = (width, height)
    sizes = [whole, *(tuple(max(1, ROUNDINGS[rounding](side / factor)) for side in whole) for factor in factors)]
    found = {level.number: level for level in true_levels(sizes, [(256, 256)] * len(sizes))}
    for number, factor in enumerate(factors, start=1):
        if min(sizes[number]) < 8:  # says too little
            break
        if number not in found:  # two things may be meant
            assert all(side % 256 == 0 for side in sizes[number])
            break
        exact = float(factor).is_integer() or rounding == "round"
        assert _off(whole, factor, found[number].factors) <= (0.5 if exact else 0.75)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(sides, sides, st.sampled_from([(2, 4, 8), (4, 16), (16,)]), st.sampled_from([256, 512]), st.booleans())
def test_levels_padded_to_tiles_are_right_or_left_out(width, height, factors, tile, chained):
    whole = before = (width, height)
    sizes, step = [whole], 1
    for factor in factors:
        before = _padded(tuple(math.ceil(side * step / factor) for side in (before if chained else whole)), tile)
        step = factor if chained else 1
        sizes.append(before)
    levels = true_levels(sizes, [(tile, tile)] * len(sizes))
    for level in levels[1:]:
        if all(side == level.step * n for side, n in zip(whole, sizes[level.number], strict=True)):
            continue  # as if it were not padded
        assert _off(whole, factors[level.number - 1], level.factors) <= 0.5


@pytest.mark.parametrize(
    ("whole", "factors"),
    [((12_100, 3000), (4, 16)), ((12_100, 3000), (3, 9)), ((90_001, 45_123), (2, 4, 8, 16)), ((50_000, 999), (4, 16))],
)
def test_levels_padded_to_tiles_are_known_by_the_longer_side(whole, factors):
    sizes = [whole, *(_padded(tuple(math.ceil(side / factor) for side in whole), 256) for factor in factors)]
    assert [level.step for level in true_levels(sizes, [(256, 256)] * len(sizes))] == [1, *factors]


@settings(deadline=None, max_examples=300, derandomize=True)
@given(sides, sides, st.integers(300, 1500), st.integers(200, 1500))
def test_a_picture_of_the_glass_among_the_levels_is_left_out(width, height, glass_width, glass_height):
    whole, glass = (width, height), (glass_width, glass_height)
    sizes = [whole, (width // 4, height // 4), glass]
    levels = true_levels(sizes, [(0, 0)] * 3)
    assert [level.factors for level in levels[:2]] == [(1, 1), (4, 4)]
    one_factor = abs(width / glass_width * glass_height - height) < 2 * height / glass_height + 2 * width / glass_width
    assert len(levels) == 2 or one_factor


def test_a_factor_that_the_format_states_is_taken():
    (_, level) = true_levels([(1000, 700), (130, 90)], [(0, 0)] * 2, [1.0, 8.0])
    assert level.factors == (8.0, 8.0)


def _shrunk(image, factor, rounding):
    """Means of blocks; what is left over at the ends is dropped, or a block of its own."""
    if rounding == "ceil":
        image = np.pad(image, [(0, -side % factor) for side in image.shape[:2]] + [(0, 0)], mode="edge")
    height, width = (side // factor for side in image.shape[:2])
    blocks = image[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    return blocks.mean((1, 3)).round().astype(np.uint8)


def _write(path, levels, tile=64):
    with tifffile.TiffWriter(path) as tiff:
        for number, level in enumerate(levels):
            tiff.write(
                level, photometric="rgb", tile=(tile, tile), compression="zlib", subfiletype=int(number > 0),
                metadata=None, resolution=(4e4, 4e4), resolutionunit=3,
            )  # fmt: skip


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("rounding", ["floor", "ceil"])
@pytest.mark.parametrize(("size", "factors"), [((6003, 203), (4, 16)), ((203, 6003), (4, 16)), ((3011, 1007), (2, 8))])
def test_bars_are_where_they_are_at_each_level(tmp_path, size, factors, rounding, padded):
    width, height = size
    bars = ((np.arange(max(size)) // 96) % 2).astype(bool)
    across = width > height
    image = np.full((height, width, 3), 40, np.uint8)
    image[:, bars[:width]] = 200 if across else 40
    image[bars[:height]] = image[bars[:height]] if across else 200
    levels = [image, *(_shrunk(image, factor, rounding) for factor in factors)]
    if padded:
        levels[1:] = [
            np.pad(level, [(0, -side % 64) for side in level.shape[:2]] + [(0, 0)], constant_values=255)
            for level in levels[1:]
        ]
    _write(tmp_path / "a.tif", levels)
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.steps == (1.0, *map(float, factors))
        for step in slide.steps:
            shape = tuple(math.floor(side / step) for side in size)
            line = slide.read(0, 0, shape, 0.25 * step)[..., 0].astype(float)
            line = line.mean(axis=0 if across else 1)
            edges = np.flatnonzero(np.diff(line > 120)) + 1
            truth = np.arange(96, max(size), 96) / step
            truth = truth[truth < len(line) - 1]
            assert len(edges) == len(truth)
            assert np.abs(edges - truth).max() <= 0.5 + 1e-6


def test_positions_left_and_above_of_the_slide_are_no_exception(tmp_path):
    image = np.repeat(np.arange(0, 200, dtype=np.uint8)[None, :, None], 1003, axis=0).repeat(3, axis=2)
    image = np.ascontiguousarray(image[:, :, :])
    _write(tmp_path / "a.tif", [image, _shrunk(image, 4, "floor")])
    with open_slide(tmp_path / "a.tif") as slide:
        plain, wide = slide.read(0, 0, (50, 60), 1.0), slide.read(-12, -40, (53, 70), 1.0)
    assert (wide[:10] == 255).all()
    assert (wide[:, :3] == 255).all()
    np.testing.assert_array_equal(wide[10:, 3:], plain)


def test_a_level_that_was_cut_to_whole_pixels_has_no_white_rim(tmp_path):
    image = np.full((403, 1003, 3), 80, np.uint8)
    _write(tmp_path / "a.tif", [image, _shrunk(image, 4, "floor")])
    with open_slide(tmp_path / "a.tif") as slide:
        assert (slide.read(0, 0, (250, 100), 1.0) == 80).all()
        corner = slide.read(1000, 400, (1, 1), 1.0)
    assert corner.max() < 200


def test_deep_zoom_sees_levels_where_they_are(tmp_path):
    """A slide of whose pages one is padded, and one is none of it."""
    image = np.repeat(np.arange(3000, dtype=np.uint16)[None, :, None] // 12, 700, axis=0).repeat(3, axis=2)
    half = _shrunk(image.astype(np.uint8), 2, "floor")
    half = np.pad(half, [(0, -side % 64) for side in half.shape[:2]] + [(0, 0)], constant_values=255)
    _write(tmp_path / "a.tif", [image.astype(np.uint8), half, np.full((300, 310, 3), 255, np.uint8)])
    zoom = DeepZoomGenerator(LevelledSlide(tmp_path / "a.tif"), 254, 1)
    for level in range(zoom.level_count - 1, zoom.level_count - 5, -1):
        step = 3000 / zoom.level_dimensions[level][0]
        column = zoom.level_tiles[level][0] - 1
        tile = np.asarray(zoom.get_tile(level, (column, 0)))[5, :, 0].astype(float)
        first = column * 254 - (column > 0)
        truth = (first + np.arange(len(tile)) + 0.5) * step / 12 - 0.5
        assert np.abs(tile[2:-2] - truth[2:-2]).max() < 0.5 * step / 12 + 1


def test_a_picture_of_the_glass_is_not_read(tmp_path, caplog):
    image = np.full((1500, 2000, 3), 90, np.uint8)
    _write(tmp_path / "a.tif", [image, _shrunk(image, 4, "floor"), np.full((100, 345, 3), 250, np.uint8)])
    for _ in range(3):
        with open_slide(tmp_path / "a.tif") as slide:
            assert slide.steps == (1.0, 4.0)
            assert (slide.thumbnail(100) == 90).all()
    assert [record.message.split(": ", 1)[1] for record in caplog.records] == [
        "pages of 345 x 100 px fit the slide's 2000 x 1500 px by no one factor and are not used"
    ]


def test_a_picture_of_the_glass_that_is_larger_than_the_slide_is_refused(tmp_path):
    image = np.full((1500, 2000, 3), 90, np.uint8)
    _write(tmp_path / "a.tif", [image, _shrunk(image, 4, "floor"), np.full((900, 2945, 3), 250, np.uint8)])
    with pytest.raises(InputError, match=r"a\.tif: its largest page, 2945 x 900 px, is not what the others are"):
        open_slide(tmp_path / "a.tif")


@pytest.mark.parametrize("orientation", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("level", [0, 1])
def test_a_level_that_lies_turned_is_refused(tmp_path, orientation, level):
    image = np.full((512, 512, 3), 90, np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for number, item in enumerate((image, _shrunk(image, 4, "floor"))):
            tiff.write(
                item, photometric="rgb", tile=(64, 64), subfiletype=int(number > 0), metadata=None,
                resolution=(4e4, 4e4), resolutionunit=3,
                extratags=[(274, "H", 1, orientation if number == level else 1, True)],
            )  # fmt: skip
    with pytest.raises(InputError, match=rf"a\.tif: is stored turned or mirrored \(TIFF orientation {orientation}\)"):
        open_slide(tmp_path / "a.tif")


class TestPagesOfNoScanner:
    """OpenSlide takes the first page of a TIFF that it knows no more of, and the high bytes of its numbers."""

    @staticmethod
    def write(path, *pages, reduced=(), **options):
        with tifffile.TiffWriter(path) as tiff:
            for number, page in enumerate(pages):
                tiff.write(
                    page, photometric="rgb" if page.ndim == 3 else "minisblack", tile=(64, 64), metadata=None,
                    subfiletype=int(number in reduced), resolution=(4e4, 4e4), resolutionunit=3, **options,
                )  # fmt: skip

    @pytest.mark.parametrize("reduced", [(0, 2), (), (1, 2), (0, 1, 2)])
    def test_a_larger_page_that_comes_later_is_refused(self, tmp_path, reduced):
        image = np.full((512, 768, 3), 90, np.uint8)
        self.write(tmp_path / "a.tif", image[::2, ::2], image, image[::4, ::4], reduced=reduced)
        with pytest.raises(InputError, match=r"a\.tif: a page of 768 x 512 px comes after one of 384 x 256 px"):
            open_slide(tmp_path / "a.tif")

    @pytest.mark.parametrize(
        ("values", "refused"),
        [
            (np.uint16(200 * 257), False),
            (np.uint16(200 * 16), True),
            (np.uint16(200), True),
            (np.float32(0.8), True),
            (np.uint32(200 << 24), True),
        ],
    )
    def test_deep_numbers_are_shown_or_refused(self, tmp_path, values, refused):
        self.write(tmp_path / "a.tif", np.full((128, 192, 3), values))
        if refused:
            with pytest.raises(InputError, match=r"a\.tif: (16|32) bits a channel"):
                open_slide(tmp_path / "a.tif")
            return
        with open_slide(tmp_path / "a.tif") as slide:
            assert (slide.read(0, 0, 16, 0.25) == 200).all()

    def test_channels_in_pages_of_their_own_are_refused_and_one_channel_is_told_of(self, tmp_path, caplog):
        grey = np.full((128, 192), 90, np.uint8)
        self.write(tmp_path / "rgb.tif", grey, grey, grey)
        with pytest.raises(InputError, match=r"rgb\.tif: its 3 channels are pages of their own"):
            open_slide(tmp_path / "rgb.tif")
        self.write(tmp_path / "grey.tif", grey)
        open_slide(tmp_path / "grey.tif").close()
        assert "grey.tif: has one channel, no colours" in caplog.text

    def test_further_pictures_of_its_size_are_told_of(self, tmp_path, caplog):
        image = np.full((128, 192, 3), 90, np.uint8)
        self.write(tmp_path / "stack.tif", image, image)
        open_slide(tmp_path / "stack.tif").close()
        assert "stack.tif: holds 2 pictures of 192 x 128 px, of which the first is taken" in caplog.text
