"""What a data set must be; every row of sources.yaml is written in its layout, small, found and imported."""

import re

import numpy as np
import pytest

from tests.patches.layouts import SIDE, make, run, sample, vocabulary_of
from wsss_mm.files import digest
from wsss_mm.patches import read_manifest, write_manifest
from wsss_mm.patches.images import read_label_map
from wsss_mm.patches.importers import misfits
from wsss_mm.patches.recognising import recognise
from wsss_mm.settings import load_params, write_imported
from wsss_mm.sources import SOURCES, label_of, origin_of

EACH = pytest.mark.parametrize("name", SOURCES)
NAMED = pytest.mark.parametrize("name", [name for name, row in SOURCES.items() if row.layout == "named"])


@pytest.fixture
def made(name, tmp_path):
    return make(SOURCES[name], tmp_path / "source")


@pytest.fixture
def imported(name, made):
    frame, out = run(name, made.folder, made.vocabulary)
    write_manifest(frame.reset_index(), out)
    return out


@EACH
def test_its_settings_fit_it(name, made, tmp_path):
    row = SOURCES[name]
    written = tmp_path / "params.yaml"
    write_imported(row, made.folder, vocabulary_of(row).name, mpp=row.mpp or 0.5, size=row.size or SIDE, params=written)
    params = load_params(written)
    assert (params.cohort.name, params.cohort.vocabulary) == (name, vocabulary_of(row).name)
    assert params.patches.mpp == pytest.approx(row.mpp or 0.5)
    assert params.patches.size == (row.size or SIDE)
    assert list(misfits(name, params.patches, vocabulary_of(row))) == []
    if not row.masks.classes:
        assert all(value >= len(vocabulary_of(row)) for value in row.ignored)


@NAMED
def test_its_names_are_read(name, tmp_path):
    """Other slides are other ids and patients, a patch has a plain id, and what is no such name is refused."""
    row = SOURCES[name]
    origins = [origin_of(tmp_path / f"{sample(row, number)}.png", "train", row) for number in range(4)]
    for part in ("slide_id", "patch_id", "patient_id"):
        assert len({getattr(origin, part) for origin in origins}) == 4
    assert all(re.fullmatch(r"[\w.+-]+", origin.patch_id, re.ASCII) for origin in origins)
    others = len(vocabulary_of(row)) - 1
    label = label_of(tmp_path / f"{sample(row, 0)}[1{'0' * others}].png", vocabulary_of(row))
    assert label == (True, *[False] * others)
    assert row.origin("", "train") is None


@EACH
def test_it_is_recognised(name, made):
    row = SOURCES[name]
    found = [one.definition.name for one in recognise(made.folder, vocabulary=made.vocabulary.name)]
    assert name in found
    assert row.vocabulary is None or all(SOURCES[other].vocabulary is not None for other in found)


@EACH
def test_its_manifest(name, made, imported):
    codes = list(made.vocabulary.codes)
    frame = read_manifest(imported, made.vocabulary)
    counts = frame["split"].value_counts().to_dict()
    assert len(frame) == sum(made.counts.values())
    assert {"train", "valid"} <= set(counts)
    if name != "kather2016":  # a share of whose slides is held out
        assert counts["test"] == made.counts["test"]
    else:
        assert 0 < counts["test"] < len(frame) / 2
    assert frame["patch_id"].is_unique
    assert (frame.groupby("patient_id")["split"].nunique() == 1).all()
    assert np.allclose(frame["mpp"], SOURCES[name].mpp or 0.5)
    assert frame[codes].any(axis=None)
    for row in frame.itertuples():
        assert digest(imported / row.path) == row.sha256
    assert made.labels or made.masks
    for key, labels in made.labels.items():
        found = frame[_is(frame, key, made)]
        assert len(found) == 1, (key, frame["patch_id"].tolist())
        assert tuple(found.iloc[0][codes]) == labels
    for key, mask in made.masks.items():
        found = frame[_is(frame, key, made)]
        assert len(found) == 1, (key, frame["patch_id"].tolist())
        np.testing.assert_array_equal(read_label_map(imported / found.iloc[0]["mask_path"]), mask)
        assert [code for code in codes if found.iloc[0][code]] == [
            code for index, code in enumerate(codes) if (mask == index).any()
        ]


def _is(frame, key, made):
    """Which patches are of the image whose name is this, or was made safe of it."""
    exact = frame["patch_id"].str.startswith(key)
    if exact.sum() == 1:
        return exact
    return frame["patch_id"].map(lambda patch: re.sub(r"\W|_", "", key) in re.sub(r"\W|_", "", patch))
