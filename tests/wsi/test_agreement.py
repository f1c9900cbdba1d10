"""What agrees is never said not to: maps and what is written of them, whatever their shape, resolution and islands."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from wsss_mm.patches import IGNORE, VOCABULARIES
from wsss_mm.slides.bands import open_label_pyramid
from wsss_mm.slides.pyramid import write_label_pyramid
from wsss_mm.wsi.agreement import compare_outlines, expected_outlines, tally
from wsss_mm.wsi.geojson import write_geojson

LUNG = VOCABULARIES["lung"]


def some_map(seed, height, width, grain):
    rng = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(rng.normal(size=(height, width)), grain) for _ in range(5)]
    labels = np.argmax(fields, axis=0).astype(np.uint8)
    return np.where(labels == 4, IGNORE, labels).astype(np.uint8)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sides=st.tuples(st.integers(20, 300), st.integers(20, 300)),
    grain=st.sampled_from([0.3, 1.0, 4.0]),
    factor=st.floats(0.9, 8),
    min_area=st.sampled_from([0, 5, 50, 1e9]),
)
def test_a_map_and_its_outlines(tmp_path_factory, seed, sides, grain, factor, min_area):
    folder = tmp_path_factory.mktemp("map")
    labels = some_map(seed, *(round(side / factor) for side in sides), grain)
    options = {"factor": factor, "limits": sides[::-1], "min_area": min_area}
    written = write_geojson(folder / "map.geojson", labels, LUNG.classes, **options)
    write_label_pyramid(folder / "map.tif", labels, 1.0, LUNG.palette)
    with open_label_pyramid(folder / "map.tif") as pyramid:
        level = pyramid.levels[0]
        counts, _ = tally(level)
        expected = expected_outlines(level, counts[:4], min_area)
        found = compare_outlines(folder / "map.geojson", level, LUNG, expected, factor=factor, seed=seed)
    assert counts.tolist() == np.bincount(labels.ravel(), minlength=256).tolist()
    assert dict(zip(LUNG.codes, expected, strict=True)) == written
    assert (found.miscounted, found.misplaced, found.recolored) == (0, 0, 0)


@pytest.mark.parametrize("grain", [1.0, 3.0])
def test_neighbours_agree_in_tissue_and_not_by_chance(tmp_path, grain):
    labels = some_map(0, 200, 300, grain)
    shuffled = np.random.default_rng(0).permutation(labels.ravel()).reshape(labels.shape)
    found = []
    for item in (labels, shuffled, np.zeros_like(labels), np.full_like(labels, IGNORE)):
        write_label_pyramid(tmp_path / "map.tif", item, 1.0, LUNG.palette)
        with open_label_pyramid(tmp_path / "map.tif") as pyramid:
            found.append(tally(pyramid.levels[0])[1])
    assert found[0] > 0.5
    assert abs(found[1]) < 0.02
    assert found[2:] == [1, 1]
