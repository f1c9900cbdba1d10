"""The stream equals a naive segmentation on the full canvas."""

import weakref
from dataclasses import replace

import numpy as np
import pytest

from wsss_mm.errors import InputError
from wsss_mm.patches import IGNORE
from wsss_mm.slide_parameters import Parameters
from wsss_mm.slides.tissue import TissueMask
from wsss_mm.wsi import engine as engine_module
from wsss_mm.wsi import raster as raster_module
from wsss_mm.wsi.engine import segment_rows, well_filled
from wsss_mm.wsi.lattice import window_starts, window_stride
from wsss_mm.wsi.raster import Band, Raster
from wsss_mm.wsi.work_mask import WorkMask


@pytest.fixture
def segment(array_slide, predict):
    def run(image, *, batch_size=16, **options):
        raster = Raster(lambda: array_slide(image), 1.0)
        rows = [
            replace(item, probabilities=item.probabilities.copy())
            for item in segment_rows(raster, predict, 3, Parameters(**options), batch_size=batch_size)
        ]
        assert [item.start for item in rows] == list(np.cumsum([0, *(len(item.labels) for item in rows[:-1])]))
        labels = np.concatenate([item.labels for item in rows])
        return labels, np.concatenate([item.probabilities for item in rows], axis=1)

    return run


def _naive(predict, image, window, overlap, grey=210, profile=None):
    """The whole image mirrored on every side, every window, one canvas."""
    height, width = image.shape[:2]
    stride = window_stride(window, overlap)
    canvas = np.pad(image, ((window, window), (window, window), (0, 0)), mode="symmetric")
    sums, counts = np.zeros((3, *canvas.shape[:2])), np.zeros(canvas.shape[:2])
    for y in window_starts(height, window, stride):
        for x in window_starts(width, window, stride):
            here = slice(y + window, y + 2 * window), slice(x + window, x + 2 * window)
            weights = np.ones((window, window)) if profile is None else np.outer(profile, profile)
            sums[(slice(None), *here)] += predict(canvas[here][None])[0] * weights
            counts[here] += weights
    inside = slice(window, window + height), slice(window, window + width)
    probabilities = sums[(slice(None), *inside)] / counts[inside]
    labels = probabilities.argmax(axis=0)
    # luma as OpenCV defines it
    luma = np.round(image.astype(float) @ [0.299, 0.587, 0.114])
    labels[luma > grey] = IGNORE
    return labels, probabilities


@pytest.mark.parametrize("size", [(150, 211), (32, 32), (20, 97), (5, 7), (129, 64)])
@pytest.mark.parametrize(("window", "overlap"), [(32, 0.5), (32, 0.0), (48, 0.75), (31, 0.6)])
def test_uniform_windows_equal_full_canvas(segment, predict, tissue, size, window, overlap):
    image = tissue(*size)
    labels, probabilities = segment(image, window=window, overlap=overlap, weighting="uniform")
    expected_labels, expected = _naive(predict, image, window, overlap)
    inside = expected_labels != IGNORE
    np.testing.assert_array_equal(labels, expected_labels)
    np.testing.assert_allclose(probabilities[:, inside], expected[:, inside], atol=1e-5)


def test_batch_size_and_strips_do_not_matter(segment, tissue, monkeypatch):
    image = tissue(200, 170)
    labels, probabilities = segment(image, window=32, batch_size=16)
    for batch_size, strip, block in ((1, 64, 50), (7, 33, 2048), (1000, 512, 17)):
        monkeypatch.setattr(raster_module, "_STRIP", strip)
        monkeypatch.setattr(raster_module, "_BLOCK", block)
        other_labels, other = segment(image, window=32, batch_size=batch_size)
        np.testing.assert_array_equal(labels, other_labels)
        tissue_only = labels != IGNORE
        np.testing.assert_array_equal(probabilities[:, tissue_only], other[:, tissue_only])


@pytest.mark.parametrize("size", [(130, 101), (5, 7)])
@pytest.mark.parametrize(("window", "overlap"), [(32, 0.5), (48, 0.75), (32, 0.0), (31, 0.6)])
@pytest.mark.parametrize("weighting", ["gaussian", "linear"])
def test_weighted_windows_equal_full_canvas(segment, predict, tissue, size, window, overlap, weighting):
    image = tissue(*size)
    labels, probabilities = segment(image, window=window, overlap=overlap, weighting=weighting)
    distance = np.arange(window) + 0.5 - window / 2
    linear = 1 - 2 * abs(distance) / window
    profile = linear if weighting == "linear" else np.exp(-((distance / (window / 8)) ** 2) / 2)
    expected_labels, expected = _naive(predict, image, window, overlap, profile=profile)
    inside = expected_labels != IGNORE
    np.testing.assert_array_equal(labels, expected_labels)
    np.testing.assert_allclose(probabilities[:, inside], expected[:, inside], atol=1e-5)


@pytest.mark.parametrize("weighting", ["gaussian", "linear"])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_where_no_window_counts_much_probabilities_are_still_averages(segment, tissue, overlap, weighting):
    """At the map's corners and between windows weights are smallest; the average there is that of equal windows."""
    _, probabilities = segment(tissue(100, 75) // 2, window=32, overlap=overlap, weighting=weighting)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)


def test_beneath_background_is_what_the_network_sees(array_slide, predict, tissue):
    """As on a slide whose white is just dark enough, and nothing outside the region of interest."""
    image = tissue(100, 120)
    wanted = np.ones((100, 120), bool)
    wanted[:, 90:] = False

    def rows(grey):
        raster = Raster(lambda: array_slide(image), 1.0)
        raster.wanted = WorkMask(raster.size, (0, 0), 1.0, TissueMask(wanted, (1.0, 1.0)))
        return list(segment_rows(raster, predict, 3, Parameters(window=64, background_grey=grey)))

    beneath = np.concatenate([item.beneath for item in rows(210)])
    np.testing.assert_array_equal(beneath, np.concatenate([item.labels for item in rows(255)]))
    np.testing.assert_array_equal(beneath == IGNORE, ~wanted)


@pytest.mark.parametrize(
    "options", [{"readers": 0, "ahead": 0}, {"readers": 3, "ahead": 5}, {"readers": 1, "ahead": 1}]
)
def test_threads_do_not_matter(array_slide, predict, tissue, monkeypatch, options):
    monkeypatch.setattr(raster_module, "_STRIP", 48)
    monkeypatch.setattr(raster_module, "_BLOCK", 40)
    image, maps = tissue(200, 170), []
    for readers, ahead in ((0, 0), (options["readers"], options["ahead"])):
        raster = Raster(lambda: array_slide(image), 1.0, readers)
        maps.append(
            [
                (rows.labels.copy(), rows.probabilities.copy())
                for rows in segment_rows(raster, predict, 3, Parameters(window=32), ahead=ahead)
            ]
        )
        raster.close()
    for one, other in zip(*maps, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_batches_are_filled_up_on_request(array_slide, predict, tissue):
    sizes = []

    def counting(images):
        sizes.append(len(images))
        return predict(images)

    raster = Raster(lambda: array_slide(tissue(90, 90)), 1.0)
    rows = segment_rows(raster, counting, 3, Parameters(window=32), batch_size=7, full_batches=True)
    assert sum(len(item.labels) for item in rows) == 90
    assert set(sizes) == {7}


@pytest.mark.parametrize(("start", "stop"), [(10, 50), (32, 64), (40, 130), (0, 170)])
def test_rows_over_several_strips_keep_no_more_than_themselves(array_slide, tissue, monkeypatch, start, stop):
    monkeypatch.setattr(raster_module, "_STRIP", 32)
    image = tissue(170, 90)
    rows = Raster(lambda: array_slide(image), 1.0).rows(start, stop)
    np.testing.assert_array_equal(rows, image[start:stop])
    assert (rows if rows.base is None else rows.base).shape[0] <= max(stop - start, 32)


def test_one_band_at_a_time_is_in_memory(array_slide, predict, tissue, monkeypatch):
    bands = []

    class Watched(Band):
        def __init__(self, *arguments):
            assert all(band() is None for band in bands)
            bands.append(weakref.ref(self))
            super().__init__(*arguments)

    monkeypatch.setattr(engine_module, "Band", Watched)
    for _ in segment_rows(Raster(lambda: array_slide(tissue(200, 90)), 1.0), predict, 3, Parameters(window=32)):
        pass
    assert len(bands) > 5


def test_windows_without_tissue_are_not_computed(array_slide, predict):
    image = np.full((320, 320, 3), 245, np.uint8)
    image[100:120, 150:170] = 90
    seen = []

    def counting(images):
        seen.append(len(images))
        return predict(images)

    raster = Raster(lambda: array_slide(image), 1.0)
    labels = np.concatenate([rows.labels for rows in segment_rows(raster, counting, 3, Parameters(window=32))])
    assert sum(seen) <= 16  # of 441
    assert (labels != IGNORE).sum() == 400


def test_glass_alone_gives_an_empty_map(segment):
    labels, _ = segment(np.full((70, 90, 3), 250, np.uint8), window=32)
    assert labels.shape == (70, 90)
    assert (labels == IGNORE).all()


def test_wrong_number_of_classes(array_slide, predict, tissue):
    raster = Raster(lambda: array_slide(tissue(40, 40)), 1.0)
    with pytest.raises(InputError, match="3 probabilities for 4 classes"):
        list(segment_rows(raster, predict, 4, Parameters(window=32)))


def test_probabilities_that_are_no_numbers_are_no_class(array_slide, predict, tissue):
    def overflowing(images):
        probabilities = predict(images)
        probabilities[-1, :, 3, 4] = np.nan
        return probabilities

    raster = Raster(lambda: array_slide(tissue(40, 40)), 1.0)
    with pytest.raises(InputError, match=r"no numbers; try --precision fp32"):
        list(segment_rows(raster, overflowing, 3, Parameters(window=32)))


@pytest.mark.parametrize(("steps", "width"), [((1.0,), 150), ((1.0, 4.0), 100), ((1.0, 8.0), 150), ((1.0, 2.0), 150)])
def test_an_overview_is_a_level_where_one_has_half_the_size_or_more(array_slide, monkeypatch, steps, width):
    monkeypatch.setattr(array_slide, "steps", steps)
    raster = Raster(lambda: array_slide(np.zeros((300, 400, 3), np.uint8)), 1.0)
    monkeypatch.setattr(raster, "_read_block", lambda x, y, width, height, shrink: (np.zeros((height, width, 3)), 0))
    assert raster.overview(150).shape[1] == width


class TestUnreadable:
    def test_bad_tile_counts_as_background(self, array_slide, predict, monkeypatch):
        monkeypatch.setattr(raster_module, "_SMALLEST", 16)
        image = np.full((300, 400, 3), 100, np.uint8)
        raster = Raster(lambda: array_slide(image, broken=(130, 70, 20, 10)), 1.0)
        labels = np.concatenate([rows.labels for rows in segment_rows(raster, predict, 3, Parameters(window=32))])
        assert (labels[70:80, 130:150] == IGNORE).all()
        assert 200 <= (labels == IGNORE).sum() == raster.unreadable < 2000
        again = Raster(lambda: array_slide(image, broken=(130, 70, 20, 10)), 1.0)
        beneath = np.concatenate([rows.beneath for rows in segment_rows(again, predict, 3, Parameters(window=32))])
        np.testing.assert_array_equal(beneath == IGNORE, labels == IGNORE)
        assert raster.overview(100).shape == (75, 100, 3)
        raster.check_readable("slide")

    def test_mostly_unreadable_is_an_error(self, array_slide, predict, tissue):
        raster = Raster(lambda: array_slide(tissue(200, 200), broken=(0, 0, 200, 200)), 1.0)
        list(segment_rows(raster, predict, 3, Parameters(window=32)))
        with pytest.raises(InputError, match=r"bad\.svs: 100%"):
            raster.check_readable("bad.svs")

    def test_what_is_judged_is_what_had_to_be_read(self, array_slide, predict, monkeypatch):
        """All tissue of a slide that is mostly glass."""
        monkeypatch.setattr(raster_module, "_BLOCK", 64)
        monkeypatch.setattr(raster_module, "_STRIP", 64)
        image = np.full((640, 640, 3), 100, np.uint8)
        raster = Raster(lambda: array_slide(image, broken=(0, 0, 128, 128)), 1.0)
        wanted = np.zeros((640, 640), bool)
        wanted[:100, :100] = True
        raster.reach = 16
        raster.wanted = WorkMask(raster.size, (0, 0), 1.0, TissueMask(wanted, (1.0, 1.0)))
        list(segment_rows(raster, predict, 3, Parameters(window=16)))
        assert raster.unreadable / image[..., 0].size < 0.1
        with pytest.raises(InputError, match=r"bad\.svs: 100% of what is needed of it"):
            raster.check_readable("bad.svs")

    def test_a_slide_that_does_not_open_again_is_named(self, array_slide, tissue):
        opened = []

        def open_slide():
            if opened:
                raise InputError("bad.svs: no such slide file; correct its path")
            opened.append(array_slide(tissue(64, 64), broken=(0, 0, 5, 5)))
            return opened[0]

        raster = Raster(open_slide, 1.0)
        with pytest.raises(InputError, match="no such slide file"):
            raster.rows(0, 64)
        raster.close()
        assert opened[0].closed == 1


@pytest.mark.parametrize("width", [10, 224, 500, 4096, 100_000])
@pytest.mark.parametrize("largest", [1, 8, 256])
def test_a_full_batch_is_filled_by_the_rows_that_may_wait_for_it(width, largest):
    parameters = Parameters(window=224, overlap=0.5)
    columns = len(window_starts(width, 224, window_stride(224, 0.5)))
    batch = well_filled(largest, width, parameters)
    assert 1 <= batch <= min(largest, 2 * columns)
    assert batch == largest or 2 * batch > 2 * columns  # the next power of two would not be filled
