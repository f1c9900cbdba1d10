"""What a data set of patches must be; every one in SOURCES is written in its layout, small, and imported."""

import re

import numpy as np
import pytest
from PIL import Image

from wsss_mm.cohort import Cohort
from wsss_mm.cohort.splits import hold_out
from wsss_mm.files import digest
from wsss_mm.patches import read_manifest, write_manifest
from wsss_mm.patches.images import read_label_map
from wsss_mm.patches.importers import import_patches, list_slides
from wsss_mm.patches.layout import SPLIT_FOLDERS
from wsss_mm.patches.regions import TILE
from wsss_mm.settings import load_profile, profile_names
from wsss_mm.slides.table import write_slide_table
from wsss_mm.sources import SOURCES, label_of, origin_of, without_label
from wsss_mm.vocabulary import IGNORE, get_vocabulary

pytestmark = pytest.mark.parametrize("name", SOURCES)

STRIPE = 16  # px of a mask, each class


def named(name, number):
    """A file name of the data set's shape, of another slide for every number."""
    stem = without_label(re.sub(r"\.\w+$", "", SOURCES[name].pattern))
    return re.sub("[A-Za-z0-9]", "ABCDEFGHJKLM"[number], stem, count=1)


def vocabulary(name):
    return get_vocabulary(SOURCES[name].vocabulary)


@pytest.fixture
def source(name, tmp_path):
    """One training patch a class, and one with all of them; two patches each to validate and to test."""
    folder, classes = tmp_path / "source", len(vocabulary(name))
    labels = [*np.eye(classes, dtype=int), np.ones(classes, dtype=int)]
    for number, label in enumerate(labels):
        save(folder / "training" / f"{named(name, number)}{''.join(map(str, label))}", number, label)
    for split, first in (("val", 6), ("test", 8)):
        for number in (first, first + 1):
            save(folder / split / "img" / named(name, number), number)
            mask = np.repeat(np.arange(TILE) // STRIPE % classes, TILE).reshape(TILE, TILE)
            mask[:STRIPE] = SOURCES[name].ignored[0] if SOURCES[name].ignored else 0
            save(folder / split / "mask" / named(name, number), mask=mask)
    return folder


def save(path, number=0, label=None, mask=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    if label is not None:
        path = path.with_name(path.name[: -len(label)] + f"-[{' '.join(map(str, label))}]")
    image = np.random.default_rng(number).integers(60, 180, (TILE, TILE, 3)) if mask is None else mask
    Image.fromarray(image.astype(np.uint8)).save(f"{path}.png")


@pytest.fixture
def imported(name, source, tmp_path):
    table, out = tmp_path / "slides.csv", tmp_path / "patches"
    write_slide_table(hold_out(list_slides(name, source), 0.5, 0, str(source)), table)
    settings = load_profile(name, source).patches.model_copy(update={"size": TILE})
    frame = import_patches(name, source, out, Cohort.read(table), settings=settings, vocabulary=vocabulary(name))
    write_manifest(frame, out)
    return out


def test_its_profile_fits_it(name):
    assert name in profile_names()
    params = load_profile(name)
    assert params.cohort.name == name
    assert params.cohort.vocabulary == SOURCES[name].vocabulary
    assert params.patches.mpp == pytest.approx(SOURCES[name].mpp, rel=0.1)
    assert all(value >= len(vocabulary(name)) for value in SOURCES[name].ignored)


def test_its_names_are_read(name, tmp_path):
    """Other slides are other ids and patients, a patch has a plain id, and what is no such name is refused."""
    origins = [origin_of(tmp_path / f"{named(name, number)}.png", "train", SOURCES[name]) for number in range(4)]
    for part in ("slide_id", "patch_id", "patient_id"):
        assert len({getattr(origin, part) for origin in origins}) == 4
    assert all(re.fullmatch(r"[\w.+-]+", origin.patch_id, re.ASCII) for origin in origins)
    codes = vocabulary(name).codes
    label = "".join("1" if number == 0 else "0" for number in range(len(codes)))
    assert label_of(tmp_path / f"{named(name, 0)}[{label}].png", vocabulary(name)) == (
        True,
        *[False] * (len(codes) - 1),
    )
    assert SOURCES[name].origin("", "train") is None


def test_its_manifest(name, source, imported):
    codes = list(vocabulary(name).codes)
    frame = read_manifest(imported, vocabulary(name))
    assert {split: int((frame["split"] == split).sum()) for split in SPLIT_FOLDERS} == {
        "train": len(codes) + 1,
        "valid": 2,
        "test": 2,
    }
    assert frame["patch_id"].is_unique
    assert (frame.groupby("patient_id")["split"].nunique() == 1).all()
    assert np.allclose(frame["mpp"], SOURCES[name].mpp)
    train = frame[frame["split"] == "train"]
    assert sorted(train[codes].sum(axis=1)) == [1] * len(codes) + [len(codes)]
    assert (train[codes].sum() == 2).all()
    assert frame.loc[frame["split"] != "train", codes].all(axis=None)
    for row in frame.itertuples():
        assert digest(imported / row.path) == row.sha256


def test_its_masks(name, source, imported):
    codes = vocabulary(name).codes
    frame = read_manifest(imported, vocabulary(name))
    judged = frame[frame["split"] != "train"]
    assert judged["mask_path"].notna().all()
    for path in judged["mask_path"]:
        mask = read_label_map(imported / path)
        wanted = np.repeat(np.arange(TILE) // STRIPE % len(codes), TILE).reshape(TILE, TILE)
        wanted[:STRIPE] = IGNORE if SOURCES[name].ignored else 0
        np.testing.assert_array_equal(mask, wanted)
