import logging

import numpy as np
import pandas as pd
import pytest

from wsss_mm.cohort import Cohort
from wsss_mm.cohort.splits import hold_out
from wsss_mm.errors import InputError
from wsss_mm.patches import IGNORE, get_vocabulary, write_manifest
from wsss_mm.patches.cutting import cut_rows, cut_slides
from wsss_mm.patches.images import read_image, read_label_map
from wsss_mm.patches.truth import class_shares
from wsss_mm.settings import PatchSettings
from wsss_mm.slides import SlideReader, reader
from wsss_mm.slides.table import write_slide_table

LUNG = get_vocabulary("lung")
CODES = list(LUNG.codes)


def cut(cohort, out, **changes):
    values = {
        "mpp": 1.0,
        "size": 128,
        "min_tissue": 0.5,
        "leave_out_pen": True,
        "min_class_share": 0.1,
        "valid_share": 0.5,
        "storage": "auto",
    } | changes
    return cut_slides(Cohort.read(cohort.table), out, settings=PatchSettings(**values), vocabulary=LUNG)


def write_labels(cohort, *lines):
    cohort.labels.write_text("\n".join(["slide_id,x,y,labels", *lines]) + "\n")


@pytest.fixture
def phantom(cohort, quarters):
    return cohort.add("a", "train", truth=quarters).add("b", "valid", truth=quarters).add("c", "test", truth=quarters)


@pytest.mark.parametrize(("leave_out_pen", "patches"), [(True, 6), (False, 12)])
def test_what_looks_like_pen_is_cut_where_it_is_said_to_be_none(cohort, quarters, tmp_path, leave_out_pen, patches):
    cohort.add("a", "train", truth=quarters).add("v", "valid", truth=quarters).mark("a", 512)
    frame = cut(cohort, tmp_path / "out", leave_out_pen=leave_out_pen)
    assert (frame["slide_id"] == "a").sum() == patches


class TestTruth:
    def test_grid_of_patches_with_masks_and_label_sets_from_truth(self, phantom, quarters, tmp_path):
        frame = cut(phantom, tmp_path / "out")
        assert frame["split"].value_counts().to_dict() == {"train": 12, "valid": 12, "test": 12}
        for row in frame[frame["slide_id"] == "a"].itertuples():
            mask = read_label_map(tmp_path / "out" / row.mask_path)
            expected = quarters[row.y // 2 : row.y // 2 + 128, row.x // 2 : row.x // 2 + 128]
            np.testing.assert_array_equal(mask, expected)
            shares = [(expected == index).mean() for index in range(4)]
            assert [getattr(row, code) for code in CODES] == [share >= 0.1 for share in shares]

    def test_site_is_that_of_the_slide(self, cohort, quarters, tmp_path):
        cohort.add("a", "train", truth=quarters, site="Ghent").add("b", "valid", truth=quarters)
        frame = cut(cohort.add("c", "test", truth=quarters), tmp_path / "out")
        sites = frame.groupby("slide_id")["site"].unique().map(list).to_dict()
        assert sites == {"a": ["Ghent"], "b": [None], "c": [None]}

    def test_image_lies_on_its_mask(self, phantom, tmp_path):
        frame = cut(phantom, tmp_path / "out").set_index("patch_id")
        image = read_image(tmp_path / "out" / frame.loc["a-512-256", "path"])
        assert image.shape == (128, 128, 3)
        np.testing.assert_allclose(image[0, :, 1], 512 // 16 + np.arange(128) // 8, atol=1)
        np.testing.assert_allclose(image[:, 0, 2], 130 + 256 // 16 + np.arange(128) // 8, atol=1)

    @pytest.mark.parametrize("factor", [1, 2])
    def test_truth_on_any_grid_gives_the_same_masks(self, cohort, quarters, tmp_path, factor):
        truth = np.kron(quarters, np.ones((factor, factor), np.uint8))
        frame = cut(
            cohort.add("a", "train", truth=quarters).add("b", "test", truth=truth).add("c", "valid", truth=truth),
            tmp_path / "out",
        ).set_index("patch_id")
        masks = [read_label_map(tmp_path / "out" / frame.loc[f"{name}-256-256", "mask_path"]) for name in "ab"]
        np.testing.assert_array_equal(*masks)

    def test_rare_class_is_not_seen_by_whoever_labels(self, phantom, tmp_path):
        frame = cut(phantom, tmp_path / "out", min_class_share=0.4).set_index("patch_id")
        # Rows 128..255 of the truth: half class 0, half class 2.
        assert frame.loc["a-0-256", CODES].tolist() == [True, False, True, False]
        assert frame.loc["a-0-512", CODES].tolist() == [False, False, True, False]

    def test_training_patch_without_a_class_is_left_out_but_its_test_twin_is_scored(self, phantom, tmp_path):
        frame = cut(phantom, tmp_path / "out", min_class_share=0.6)
        assert "a-0-512" not in set(frame["patch_id"])
        assert not frame.set_index("patch_id").loc["c-0-512", CODES].any()

    def test_glass_is_left_out(self, cohort, quarters, tmp_path):
        cohort.add("a", "train", truth=quarters, glass=512).add("b", "valid", truth=quarters)
        frame = cut(cohort, tmp_path / "out")
        assert frame.loc[frame["slide_id"] == "a", "x"].max() == 256
        assert frame["tissue"].min() >= 0.5

    def test_bytes_are_the_same_twice(self, phantom, tmp_path):
        manifests = [write_manifest(cut(phantom, tmp_path / name), tmp_path / name) for name in "pq"]
        assert manifests[0].read_bytes() == manifests[1].read_bytes()

    def test_without_a_valid_split_whole_patients_are_held_out(self, cohort, quarters, tmp_path):
        for name, patient in (("a", "P"), ("b", "P"), ("c", "Q")):
            cohort.add(name, "train", truth=quarters, patient_id=patient)
        with pytest.raises(InputError, match="has no valid split"):
            cut(cohort, tmp_path / "out")
        write_slide_table(hold_out(pd.DataFrame(cohort.rows), 0.5, 0, "here"), cohort.table)
        frame = cut(cohort, tmp_path / "out")
        assert set(frame["split"]) == {"train", "valid"}
        assert frame.groupby("patient_id")["split"].nunique().max() == 1
        assert frame["path"].str.contains("images/valid/").sum() == (frame["split"] == "valid").sum()

    @pytest.mark.parametrize(
        ("truth", "message"),
        [
            (np.full((384, 512), 7), r"a\.tif: value 7 is no class"),
            (np.zeros((512, 512)), r"a\.tif: 512 x 512 px do not span"),
        ],
    )
    def test_wrong_truth_is_named(self, cohort, tmp_path, truth, message):
        with pytest.raises(InputError, match=message):
            cut(cohort.add("a", "test", truth=truth), tmp_path / "out")


class TestRegion:
    def test_only_patches_of_the_region_from_its_corner(self, cohort, quarters, tmp_path):
        cohort.add("a", "test", truth=quarters, roi="roi.json")
        cohort.draw("roi.json", (None, 100, 60, 100 + 512 + 20, 60 + 256 + 20))
        frame = cut(cohort, tmp_path / "out")
        assert list(zip(frame["x"], frame["y"], strict=True)) == [(100, 60), (356, 60)]

    def test_a_region_that_misses_the_slide_stops(self, cohort, quarters, tmp_path):
        cohort.add("a", "train", truth=quarters, roi="roi.json").add("b", "valid", truth=quarters)
        cohort.draw("roi.json", (None, 5000, 60, 5500, 500))
        with pytest.raises(InputError, match=r"roi\.json: no area lies on the slide: .* the slide is 1024 x 768 px"):
            cut(cohort, tmp_path / "out")

    def test_a_slide_that_gives_no_patch_is_named(self, cohort, quarters, tmp_path, caplog):
        cohort.add("a", "train", truth=quarters, glass=512, roi="roi.json").add("b", "valid", truth=quarters)
        cohort.draw("roi.json", (None, 600, 0, 1000, 700))  # on glass
        with caplog.at_level(logging.WARNING):
            assert set(cut(cohort, tmp_path / "out")["slide_id"]) == {"b"}
        assert "a: no patch has enough tissue and truth; look at its roi and annotation" in caplog.text


class TestAnnotation:
    def test_drawings_give_masks_and_label_sets(self, cohort, tmp_path):
        cohort.draw(
            "a.geojson", ("Tumour epithelium", 0, 0, 512, 256), ("tas", 384, 0, 512, 256), ("Ignore*", 0, 0, 9, 9)
        )
        frame = cut(cohort.add("a", "test", annotation="a.geojson"), tmp_path / "out").set_index("patch_id")
        assert list(frame.index) == ["a-0-0", "a-256-0"]
        assert frame.loc["a-256-0", CODES].tolist() == [True, False, False, True]
        mask = read_label_map(tmp_path / "out" / frame.loc["a-256-0", "mask_path"])
        assert (mask[:, :64] == 0).all()
        assert (mask[:, 64:] == 3).all()

    def test_training_slides_are_never_labelled_from_drawings(self, cohort, tmp_path, caplog):
        cohort.draw("a.geojson", ("TE", 0, 0, 512, 512))
        cohort.add("a", "train", annotation="a.geojson").add("b", "test", annotation="a.geojson")
        cohort.add("v", "valid")
        with caplog.at_level(logging.WARNING):
            frame = cut(cohort, tmp_path / "out")
        assert set(frame["slide_id"]) == {"b"}
        assert "a: nothing is known" in caplog.text
        assert "v: nothing is known" in caplog.text

    def test_outlines_of_another_slide_stop(self, cohort, tmp_path):
        cohort.draw("a.geojson", ("TE", 0, 800, 700, 1000))
        with pytest.raises(InputError, match=r"a\.geojson: no area lies on the slide \(x and y exchanged they would\)"):
            cut(cohort.add("a", "train", annotation="a.geojson").add("b", "valid"), tmp_path / "out")

    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            ("Mucin", r"a\.geojson: feature 1: 'Mucin' is no class of vocabulary 'lung' \(TE, NEC"),
            (None, "no area has a class"),
        ],
    )
    def test_class_must_be_known(self, cohort, tmp_path, kind, message):
        cohort.draw("a.geojson", (kind, 0, 0, 512, 512))
        with pytest.raises(InputError, match=message):
            cut(cohort.add("a", "test", annotation="a.geojson"), tmp_path / "out")


class TestLabelTable:
    def test_exactly_the_named_patches(self, cohort, tmp_path):
        cohort.draw("a.geojson", ("NEC", 0, 0, 1024, 768))
        cohort.add("a", "train", annotation="a.geojson").add("b", "train").add("c", "valid", annotation="a.geojson")
        write_labels(cohort, "a,10,20,TE;TAS", "b,256,0,  lymphocytes ", "a,512,256.0,NEC;")
        frame = cut(cohort, tmp_path / "out").set_index("patch_id")
        train = frame[frame["split"] == "train"]
        assert list(train.index) == ["a-10-20", "a-512-256", "b-256-0"]
        assert train.loc["a-10-20", CODES].tolist() == [True, False, False, True]
        assert train.loc["b-256-0", CODES].tolist() == [False, False, True, False]
        assert train["mask_path"].notna().tolist() == [True, True, False]  # to judge pseudo-labels with
        assert read_image(tmp_path / "out" / train.loc["a-10-20", "path"]).shape == (128, 128, 3)
        assert (frame["split"] == "valid").sum() == 12

    def test_outlines_count_over_labels_where_a_slide_is_judged(self, cohort, tmp_path, caplog):
        cohort.draw("v.geojson", ("TE", 0, 0, 512, 256), ("TAS", 384, 0, 512, 256))
        cohort.add("a", "train", annotation="v.geojson").add("v", "valid", annotation="v.geojson").add("t", "test")
        write_labels(cohort, "a,0,0,NEC", "t,0,0,NEC", "v,0,0,TE;LYM", "v,256,0,TE;TAS", "v,0,512,LYM")
        frame = cut(cohort, tmp_path / "out").set_index("patch_id")
        assert list(frame.index) == ["a-0-0", "t-0-0", "v-0-0", "v-256-0"]
        assert frame.loc["a-0-0", CODES].tolist() == [False, True, False, False]  # who labels, says
        assert frame.loc["v-0-0", CODES].tolist() == [True, False, False, False]  # who outlines
        assert (
            "v: is outlined, and its outlines count instead of its 3 labelled patches, of which 1 differ and 1 lie "
            f"where nothing is outlined; the first: {cohort.labels}: line 4: v: the patch at 0, 0 holds LYM, and what "
            "is outlined does not; correct one of them"
        ) in caplog.text

    def test_an_unsure_class_differs_from_no_outline(self, cohort, tmp_path, caplog):
        cohort.draw("v.geojson", ("TE", 0, 0, 256, 256), ("TAS", 128, 0, 256, 256))
        cohort.add("v", "valid", annotation="v.geojson")
        cohort.labels.write_text("slide_id,x,y,labels,unsure\nv,0,0,TE,TAS\n")
        cut(cohort, tmp_path / "out")
        assert "differ" not in caplog.text

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("z,0,0,TE", r"labels\.csv: line 3: slide_id 'z' is not in slides\.csv"),
            ("a,0,0,TE;MUC", r"line 3: 'MUC' is no class of vocabulary 'lung' \(TE, NEC, LYM, TAS\)"),
            ("a,0,0,", "line 3: no label"),
            ("a,-1,0,TE", "line 3: x '-1' is no position"),
            ("a,0,1.5,TE", "line 3: y '1.5' is no position"),
            ("a,512,0,NEC", "line 3: the patch of line 2 again"),
            ("a,1000,0,TE", r"labels\.csv: line 3: a: the patch at 1000, 0 leaves the slide"),
        ],
    )
    def test_faults_name_the_line(self, cohort, tmp_path, line, message):
        write_labels(cohort.add("a", "train").add("b", "valid"), "a,512,0,TE", line)
        with pytest.raises(InputError, match=message):
            cut(cohort, tmp_path / "out")

    @pytest.mark.parametrize(
        ("corner", "message"),
        [
            (
                (0, 0),
                r"labels\.csv: line 3: a: the patch at 0, 0 lies outside of what was scanned, 256 x 192 px",
            ),
            ((400, 44), "lies outside"),
            ((656, 300), "lies outside"),
            ((144, 300), "lies outside"),
            ((145, 45), None),
            ((655, 491), None),
            ((500, 400), r"line 3: a: the patch at 500, 400 shows nothing, that part was not scanned"),
        ],
    )
    def test_patches_beside_the_scan_are_no_glass(self, cohort, tmp_path, monkeypatch, corner, message):
        """A scan of a part of the glass, with a hole in it."""
        cohort.add("a", "train").add("b", "valid", truth=np.zeros((768, 1024), np.uint8))
        write_labels(cohort, "a,600,300,TE", f"a,{corner[0]},{corner[1]},NEC")
        read = SlideReader.read
        monkeypatch.setattr(reader, "_bounds", lambda _: (400, 300, 256, 192))
        monkeypatch.setattr(
            SlideReader,
            "read",
            lambda self, x, y, *rest: read(self, x, y, *rest) | np.uint8(255 * (message is not None and x == 500)),
        )
        if message is None:
            assert f"a-{corner[0]}-{corner[1]}" in set(cut(cohort, tmp_path / "out")["patch_id"])
        else:
            with pytest.raises(InputError, match=message):
                cut(cohort, tmp_path / "out")

    def test_missing_column(self, cohort, tmp_path):
        cohort.add("a", "train").add("b", "valid").labels.write_text("slide_id,x,labels\na,0,TE\n")
        with pytest.raises(InputError, match="column y is missing"):
            cut(cohort, tmp_path / "out")


class TestSlides:
    def test_every_slide_is_tried_before_any_is_cut(self, phantom, tmp_path):
        (phantom.folder / "slides" / "c.tiff").write_bytes(b"no slide")
        with pytest.raises(InputError, match=r"c\.tiff: not a readable slide"):
            cut(phantom, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_slide_without_mpp(self, cohort, quarters, tmp_path):
        cohort.add("a", "test", truth=quarters, mpp=None)
        with pytest.raises(InputError, match=r"a\.tiff: no mpp"):
            cut(cohort, tmp_path / "out")
        cohort.rows[0]["mpp"] = 0.5
        cohort.add("b", "test", truth=quarters)
        assert len(cut(cohort, tmp_path / "out")) == 24

    def test_nothing_known_at_all(self, cohort, tmp_path):
        with pytest.raises(InputError, match="gives no patches at all"):
            cut(cohort.add("a", "test"), tmp_path / "out")


def test_ignored_pixels_count_in_the_whole():
    mask = np.array([[0, 0, 1, IGNORE]], np.uint8)
    assert class_shares(mask, 3).tolist() == [0.5, 0.25, 0]


@pytest.mark.real_data
def test_real_slides_with_a_table_of_labels(real_data, tmp_path):
    header = "slide_id,patient_id,path,split,mpp"
    rows = [
        f"cmu,p1,{real_data}/slides/CMU-1-Small-Region.svs,train,",
        f"tcga,p2,{real_data}/slides/tcga-cr-7395-01a-01-ts1.svs,valid,0.5",
    ]
    table, labels = tmp_path / "slides.csv", tmp_path / "labels.csv"
    table.write_text("\n".join([header, *rows]) + "\n")
    labels.write_text("slide_id,x,y,labels\ncmu,900,1200,TE;TAS\ntcga,1000,1000,TE\n")
    settings = PatchSettings(
        mpp=1.0, size=224, min_tissue=0.25, leave_out_pen=True, min_class_share=0.03, valid_share=0.2, storage="auto"
    )
    frame = cut_slides(Cohort.read(table), tmp_path / "out", settings=settings, vocabulary=LUNG)
    assert frame["patch_id"].tolist() == ["cmu-900-1200", "tcga-1000-1000"]
    assert frame["tissue"].min() > 0.5
    assert read_image(tmp_path / "out" / frame["path"][0]).std() > 10
    table.write_text(table.read_text().replace("valid,0.5", "valid,"))
    with pytest.raises(InputError, match=r"tcga-cr-7395.*no mpp"):
        cut_slides(Cohort.read(table), tmp_path / "out", settings=settings, vocabulary=LUNG)


def test_rows_are_the_same_whatever_becomes_of_the_patches(phantom, tmp_path):
    settings = PatchSettings(
        mpp=1.0, size=128, min_tissue=0.5, leave_out_pen=True, min_class_share=0.1, valid_share=0.5, storage="auto"
    )
    pictures = {}

    def keep(patch_id, split, *, image, mask):
        pictures[patch_id] = image
        return {"patch_id": patch_id, "split": split, "mask": mask}

    rows = cut_rows(Cohort.read(phantom.table), keep, settings=settings, vocabulary=LUNG, side=32)
    frame = cut(phantom, tmp_path / "out").set_index("patch_id")
    assert sorted(row["patch_id"] for row in rows) == sorted(frame.index)
    for row in rows:
        said = frame.loc[row["patch_id"]]
        assert all(row[name] == said[name] for name in ("slide_id", "patient_id", "split", "x", "y", "tissue", *CODES))
        np.testing.assert_array_equal(row["mask"], read_label_map(tmp_path / "out" / said["mask_path"]))
        small = read_image(tmp_path / "out" / said["path"]).reshape(32, 4, 32, 4, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(pictures[row["patch_id"]], small, atol=2)
