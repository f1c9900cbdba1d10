from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wsss_mm.errors import InputError
from wsss_mm.patches import check_manifest, get_vocabulary, manifest_columns, read_manifest, write_manifest
from wsss_mm.patches.manifest import FILE_NAME, known_mask, label_sets, possible_labels

LUNG = get_vocabulary("lung")


@pytest.fixture
def frame():
    rows = [
        ("p2", "s2", "B", "test", 224, 0, "images/test/p2.png", "masks/test/p2.png"),
        ("p1", "s1", "A", "train", 0, 0, "images/train/p1.png", None),
    ]
    frame = pd.DataFrame(rows, columns=["patch_id", "slide_id", "patient_id", "split", "x", "y", "path", "mask_path"])
    return frame.assign(mpp=1.0, size=224, TE=[True, False], NEC=False, LYM=True, TAS=False, sha256="00", tissue=0.5)


def test_round_trip_sorts_and_keeps_missing_masks_none(frame, tmp_path):
    write_manifest(frame, tmp_path)
    read = read_manifest(tmp_path, LUNG)
    assert list(read.columns) == manifest_columns(LUNG.codes)
    assert read["patch_id"].tolist() == ["p1", "p2"]
    assert read["mask_path"].tolist() == [None, "masks/test/p2.png"]
    assert read["TE"].tolist() == [False, True]
    assert read["x"].tolist() == [0, 224]


def test_bytes_do_not_depend_on_row_or_column_order(frame, tmp_path):
    first = write_manifest(frame, tmp_path / "a").read_bytes()
    shuffled = frame.iloc[::-1][["sha256", *[c for c in frame.columns if c != "sha256"]]]
    assert write_manifest(shuffled, tmp_path / "b").read_bytes() == first
    assert write_manifest(read_manifest(tmp_path / "a", LUNG), tmp_path / "c").read_bytes() == first


def test_classes_in_another_order_are_those_of_other_masks(frame, tmp_path):
    """A vocabulary that was reordered: label columns have names, but the values of masks are places in the order."""
    write_manifest(frame, tmp_path)
    changed = replace(LUNG, classes=LUNG.classes[::-1])
    with pytest.raises(InputError, match=r"in the order TE, NEC, LYM, TAS, and vocabulary 'lung' has .* as TAS, LYM"):
        read_manifest(tmp_path, changed)


@pytest.mark.parametrize("column", ["mask_sha256", "site", "unsure"])
def test_a_manifest_of_before_a_column_came_is_read(column, frame, tmp_path):
    table = pq.read_table(write_manifest(frame, tmp_path)).drop_columns(column)
    pq.write_table(table, tmp_path / FILE_NAME)
    read = read_manifest(tmp_path, LUNG)
    assert list(read.columns) == manifest_columns(LUNG.codes)
    assert read[column].isna().all()


def test_a_site_is_text_or_none(frame, tmp_path):
    write_manifest(frame.assign(site=["", "Site B, ward 2"]), tmp_path)
    assert read_manifest(tmp_path, LUNG)["site"].tolist() == ["Site B, ward 2", None]
    with pytest.raises(InputError, match=r"column site: .*3.* is no text"):
        check_manifest(frame.assign(site=3, mask_sha256=None), LUNG, "here")


def test_missing_manifest_names_the_command(tmp_path):
    with pytest.raises(InputError, match=r"manifest.parquet: not found; make it with: dvc repro -f patches"):
        read_manifest(tmp_path, LUNG)


def test_garbage_is_an_input_error(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b"PAR1 but no more")
    with pytest.raises(InputError, match="not a parquet file"):
        read_manifest(tmp_path, LUNG)


def test_manifest_of_another_vocabulary(frame, tmp_path):
    write_manifest(frame, tmp_path)
    with pytest.raises(InputError, match=r"column TUM, STR is missing \(vocabulary 'breast'\)"):
        read_manifest(tmp_path, get_vocabulary("breast"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="sha256"), "column sha256 is missing"),
        (lambda f: f.assign(XYZ=True), "'XYZ' is no class"),
        (lambda f: f.assign(split="training"), "'training' is no split"),
        (lambda f: f.assign(split=["train", None]), "empty value is no split"),
        (lambda f: f.assign(patient_id="A"), "patient A is in test and train"),
        (lambda f: f.assign(patch_id="p1"), "patch_id 'p1' appears twice"),
        (lambda f: f.assign(path=["a.png", "a.png"]), "path 'a.png' appears twice"),
        (lambda f: f.assign(slide_id=["s", ""]), "row 1: slide_id is empty"),
        (lambda f: f.assign(TE=[1, 0]), "column TE holds int64, not bool"),
        (lambda f: f.assign(size=[224, 0]), "patch p1: size is 0"),
        (lambda f: f.assign(mpp=[float("nan"), 1]), "patch p2: mpp is nan"),
        (lambda f: f.assign(tissue=[1.5, 1]), "patch p2: tissue is 1.5"),
        (lambda f: f.assign(path=["../../etc/passwd", "a.png"]), "leads outside"),
        (lambda f: f.assign(mask_path=["/etc/passwd", None]), "mask_path '/etc/passwd' leads outside"),
        (lambda f: f.assign(path=["C:\\x.png", "a.png"]), "leads outside"),
        (lambda f: f.assign(patient_id=[{"a": 1}, "B"]), "column patient_id: {'a': 1} is no text"),
        (lambda f: f.assign(sha256=[["0"], "1"]), r"column sha256: \['0'\] is no text"),
    ],
)
def test_each_fault_is_named(frame, change, message):
    with pytest.raises(InputError, match=message) as caught:
        check_manifest(change(frame), LUNG, "manifest.parquet")
    assert str(caught.value).startswith("manifest.parquet: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../p", "a/b", ".hidden", "<img src=x>", "=cmd()", "a\nb", "a\x00", "", "x" * 201])
@pytest.mark.parametrize("column", ["patch_id", "slide_id"])
def test_ids_can_name_files(frame, tmp_path, column, name):
    write_manifest(frame.assign(**{column: [name, "b"]}), tmp_path)
    with pytest.raises(InputError, match=rf"manifest\.parquet: .*{column}.*(cannot name a file|is empty)"):
        read_manifest(tmp_path, LUNG)


def test_a_patch_of_a_slide_with_the_longest_name_is_fine(frame, tmp_path):
    write_manifest(
        frame.assign(slide_id=["s" * 160, "b"], patch_id=["s" * 160 + "-999999999-999999999", "b"]), tmp_path
    )
    assert len(read_manifest(tmp_path, LUNG)) == 2


def test_broken_utf_8_is_found_when_the_table_is_read(tmp_path):
    broken = pa.array([b"\xff\xfe"]).view(pa.string())
    pq.write_table(pa.table({"patch_id": broken}), tmp_path / FILE_NAME)
    with pytest.raises(InputError, match=r"manifest\.parquet: damaged: not a parquet file \(.*Invalid UTF8"):
        read_manifest(tmp_path, LUNG)


def test_more_rows_than_any_cohort_has_are_refused_unread(tmp_path, monkeypatch):
    rows = pa.DictionaryArray.from_arrays(pa.array(np.zeros(300_000, np.int32)), pa.array(["x" * 10_000]))
    pq.write_table(pa.table({"patch_id": rows}), tmp_path / FILE_NAME)
    assert (tmp_path / FILE_NAME).stat().st_size < 100_000  # of 3 GB
    monkeypatch.setattr("wsss_mm.formats._MAX_ROWS", 1000)
    with pytest.raises(InputError, match=r"manifest\.parquet: damaged: claims 300000 rows"):
        read_manifest(tmp_path, LUNG)


class TestUnsure:
    """Classes of which nobody knows: false in their column, and named in another."""

    @pytest.fixture
    def unsure(self, frame):
        return frame.assign(unsure=["NEC;TAS", None])

    def test_round_trip(self, unsure, tmp_path):
        write_manifest(unsure, tmp_path)
        assert read_manifest(tmp_path, LUNG)["unsure"].tolist() == [None, "NEC;TAS"]

    def test_what_is_known(self, unsure):
        assert known_mask(unsure, LUNG.codes).tolist() == [[True, False, True, False], [True] * 4]
        assert known_mask(unsure.drop(columns="unsure"), LUNG.codes).all()

    def test_what_is_unsure_stays_possible(self, unsure):
        assert possible_labels(unsure, LUNG.codes).tolist() == [[True] * 4, [False, False, True, False]]

    def test_nothing_is_possible_where_nothing_is_held(self, unsure):
        nothing = unsure.assign(TE=False, LYM=False)
        assert not possible_labels(nothing, LUNG.codes).any()

    def test_as_people_read_it(self, unsure):
        assert label_sets(unsure, LUNG.codes) == ["TE;NEC?;LYM;TAS?", "LYM"]

    @pytest.mark.parametrize(("text", "why"), [("TE", "'TE' is in the label set, too"), ("XYZ", "'XYZ' is no class")])
    def test_what_cannot_be_is_named(self, unsure, text, why):
        with pytest.raises(InputError, match=f"patch p2: column unsure: {why}"):
            check_manifest(unsure.assign(unsure=[text, None]), LUNG, "here")
