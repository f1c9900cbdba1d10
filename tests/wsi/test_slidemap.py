"""A stored map comes back as it was, or is refused in a line."""

import json

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsss_mm.errors import InputError
from wsss_mm.patches import VOCABULARIES
from wsss_mm.wsi.slidemap import MAP, NOTES, SlideMap, store, stored, stored_already

VOCABULARY = VOCABULARIES["luad_normal"]


def _made(labels, probabilities=()):
    height, width = labels.shape
    identity = {
        "slide": {"file": "a.svs", "bytes": 1, "quickhash": "q", "mpp": 0.25, "bounds": [0, 0, width, height]},
        "mpp": 0.123456789,
        "size": [width, height],
        "model": {"weights_md5": "a" * 32, "classes": list(VOCABULARY.codes), "precision": "fp32"},
        "parameters": {"probabilities": bool(probabilities)},
        "roi": None,
    }
    return SlideMap(labels, list(probabilities), VOCABULARY, identity, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("map")
    store(folder, _made(rng.integers(0, 200, (300, 270), np.uint8)))
    return folder


@given(height=st.integers(1, 600), width=st.integers(1, 600), seed=st.integers(0, 9), planes=st.booleans())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_comes_back_as_it_was(tmp_path, height, width, seed, planes):
    rng = np.random.default_rng(seed)
    labels, *of_classes = (rng.integers(0, 256, (height, width), np.uint8) for _ in range(4 if planes else 1))
    made = _made(labels, of_classes)
    store(tmp_path, made)
    with stored(tmp_path) as found:
        for plane, expected in zip((found.labels, *found.probabilities), (labels, *of_classes), strict=True):
            assert plane.shape == expected.shape
            np.testing.assert_array_equal(plane[0:height], expected)
            np.testing.assert_array_equal(plane[height // 2 : height], expected[height // 2 :])
        assert (found.vocabulary, found.identity, found.unreadable) == (VOCABULARY, made.identity, 0)
    assert stored_already(tmp_path, made.identity) is not None
    assert stored_already(tmp_path, made.identity | {"mpp": 0.123456788}) is None


@given(name=st.sampled_from([MAP, NOTES]), place=st.floats(0, 1), byte=st.integers(0, 255), cut=st.booleans())
@settings(max_examples=60, deadline=None)
def test_damaged_is_told_in_a_line_or_read(folder, name, place, byte, cut):
    content = (folder / name).read_bytes()
    at = min(int(place * len(content)), len(content) - 1)
    (folder / name).write_bytes(content[:at] + (b"" if cut else bytes([byte]) + content[at + 1 :]))
    try:
        with stored(folder) as found:
            assert found.labels[0:300].shape == (300, 270)
    except InputError as error:
        assert str(folder) in str(error)
        assert "\n" not in str(error)
    finally:
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("key", ["classes", "size", "mpp", "slide", "model", "parameters", "unreadable", "format"])
@pytest.mark.parametrize("value", [None, [], {}, "x", -1, 1e300])
def test_notes_of_any_kind(folder, key, value):
    notes = json.loads((folder / NOTES).read_text())
    (folder / NOTES).write_text(json.dumps(notes | {key: value}))
    try:
        with stored(folder) as found:
            assert key in ("slide", "model", "mpp", "unreadable")
            assert found.labels.shape == (300, 270)
    except InputError as error:
        assert "map." in str(error)
    finally:
        (folder / NOTES).write_text(json.dumps(notes))


def test_pages_are_a_tiff_that_others_open(folder):
    assert tifffile.imread(folder / MAP).shape == (300, 270)
