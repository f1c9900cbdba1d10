"""What people say of tissues: outlines, and tables of labelled patches."""

import json
import logging
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss_mm.errors import InputError
from wsss_mm.patches import IGNORE, get_vocabulary
from wsss_mm.patches.truth import classes_in, read_drawn_truth, read_patch_labels
from wsss_mm.slides import open_slide
from wsss_mm.vocabulary import Vocabulary

LUNG = get_vocabulary("lung")


class TestOutlines:
    @pytest.fixture
    def classes(self, cohort):
        """Reads areas, and gives the classes along a line that crosses them: at 50, 150 and 250 px."""
        cohort.add("a", "test")

        def along(*features):
            path = cohort.folder / "a.geojson"
            path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
            with open_slide(cohort.folder / "slides/a.tiff") as slide:
                return read_drawn_truth(path, slide, LUNG).mask(0, 0, 300, slide.mpp)[50, 50::100].tolist()

        return along

    @staticmethod
    def area(classification, left=0, right=100, *children):
        ring = [[left, 0], [right, 0], [right, 100], [left, 100], [left, 0]]
        properties = {"objectType": "annotation"} | ({"classification": classification} if classification else {})
        geometry = {"type": "Polygon", "coordinates": [ring]}
        item = {"type": "Feature", "geometry": geometry, "properties": properties}
        return item | ({"childObjects": list(children)} if children else {})

    @pytest.mark.parametrize(
        ("classification", "expected"),
        [
            ({"name": "te"}, 0),
            ({"names": ["TE", "Positive"]}, 0),
            ({"names": ["Positive", "Tumour  Epithelium"]}, 0),
            ({"names": ["TE", "Ignore*"]}, 0),
            ({"names": ["LYM"], "color": [1, 2, 3]}, 2),
            ("LYM", 2),
        ],
    )
    def test_classes_as_qupath_writes_them(self, classes, classification, expected):
        assert classes(self.area(classification)) == [expected, 255, 255]

    def test_a_derived_class_that_the_vocabulary_names_itself_is_that_one(self, cohort):
        cohort.add("a", "test")
        tumour, invasive = LUNG.classes[0], replace(LUNG.classes[1], code="INV", aliases=("TE: Invasive",))
        path = cohort.folder / "a.geojson"
        with open_slide(cohort.folder / "slides/a.tiff") as slide:
            for names, expected in ((["TE", "Invasive"], 1), (["TE", "Positive"], 0)):
                path.write_text(json.dumps(self.area({"names": names})))
                truth = read_drawn_truth(path, slide, Vocabulary("own", (tumour, invasive)))
                assert truth.mask(0, 0, 60, slide.mpp)[50, 50] == expected

    def test_a_child_is_drawn_over_its_parent_and_what_comes_later_over_both(self, classes):
        child = self.area({"name": "LYM"}, 100, 200)
        parent = self.area({"name": "TAS"}, 0, 300, child)
        assert classes(parent) == [3, 2, 3]
        assert classes(parent, self.area({"name": "NEC"}, 200, 300)) == [3, 2, 1]

    @pytest.mark.parametrize(
        ("features", "message"),
        [
            (
                [("TE", 0, 100), ("Fat", 0, 100)],
                r"feature 2: 'Fat' is no class of vocabulary 'lung' \(TE, NEC, LYM",
            ),
            ([("TE: Positive", 0, 100)], "feature 1: 'TE: Positive' is no class"),
            ([({"names": ["Fat", "Positive"]}, 0, 100)], "feature 1: 'Fat: Positive' is no class"),
            ([({"names": ["TE", "LYM"]}, 0, 100)], "feature 1: 'TE: LYM' names 2 classes; give an area one of them"),
            ([({"name": "Ignore*"}, 0, 100), (None, 0, 100)], "no area has a class"),
            ([("TE", 9000, 9100)], r"no area lies on the slide: .* the slide is 1024 x 768 px"),
        ],
    )
    def test_what_is_wrong_is_named_with_its_feature(self, classes, features, message):
        with pytest.raises(InputError, match=rf"a\.geojson: {message}"):
            classes(*(self.area(*item) for item in features))

    def test_an_area_that_another_class_was_drawn_over_is_named(self, classes, caplog):
        with caplog.at_level(logging.WARNING):
            assert classes(self.area("LYM", 100, 200), self.area("TE"), self.area("TAS", 0, 300)) == [3, 3, 3]
        assert "feature 1 (LYM) lies whole under feature 3 (TAS) and counts for nothing, one of 2 such" in caplog.text
        caplog.clear()
        assert classes(self.area("TAS", 0, 300), self.area("LYM", 100, 200), self.area("TAS", 100, 150)) == [3, 2, 3]
        assert classes(self.area("TAS", 0, 200), self.area("TAS", 0, 300)) == [3, 3, 3]
        assert not caplog.records

    @pytest.mark.parametrize(("name", "index"), [("Tumor", 0), ("Necrosis", 1), ("Immune cells", 2), ("stroma", 3)])
    def test_qupaths_own_classes_are_known(self, classes, name, index):
        assert classes(self.area(name)) == [index, 255, 255]
        assert classes(self.area({"names": [name, "Positive"]})) == [index, 255, 255]

    def test_what_qupath_ignores_is_not_judged_where_it_is_drawn_over_a_class(self, classes):
        assert classes(self.area("TE", 0, 300), self.area("Ignore*", 100, 200)) == [0, 255, 0]
        assert classes(self.area("Ignore*", 100, 200), self.area("TE", 0, 300)) == [0, 0, 0]
        assert classes(self.area("TE", 0, 200), self.area("Region*", 0, 300)) == [0, 0, 255]

    def test_outlines_on_glass_are_named(self, classes, cohort, caplog):
        cohort.add("a", "test", glass=900)
        with caplog.at_level(logging.WARNING):
            classes(self.area("TE", 0, 120))
            assert not caplog.records
            classes(self.area("TE", 0, 120), self.area("TE", 120, 1000))
        assert re.search(r"a\.geojson: 1\d% of what is outlined is tissue; was it drawn on a\.tiff", caplog.text)

    def test_areas_without_a_class_are_named(self, classes, caplog):
        with caplog.at_level(logging.WARNING):
            assert classes(self.area(None, 100, 200), self.area("TE")) == [0, 255, 255]
        assert "a.geojson: 1 of 2 areas have no class and are left out, the first: feature 1" in caplog.text


class TestLabels:
    @pytest.fixture
    def read(self, tmp_path):
        def from_text(text):
            (tmp_path / "labels.csv").write_text(text)
            return read_patch_labels(tmp_path / "labels.csv", ["S1", "S2"], LUNG)

        return from_text

    @pytest.mark.parametrize(
        "text",
        [
            "slide_id,x,y,labels\nS1,448,0,TE;TAS\n",
            'Slide ID;X;Y;Labels\nS1;448,0;0;"TE;TAS"\n;;;\n',
            'slide_id,x,y,labels\nS1,448.00,0,"te, tumour-associated\u00a0stroma"\n',
            'slide_id,x,y,labels\nS1,448,0,"TE\nTAS"\n',
        ],
    )
    def test_a_table_of_any_spreadsheet(self, read, text):
        frame = read(text)
        assert frame.to_dict("records") == [
            {"slide_id": "S1", "x": 448, "y": 0, "TE": True, "NEC": False, "LYM": False, "TAS": True, "unsure": None}
        ]

    def test_columns_that_journals_add(self, read):
        frame = read('slide_id,x,y,labels,unsure,source\nS1,0,0,TE;TAS,"lym, NEC",agreed\nS1,448,0,TE,,single\n')
        assert frame["unsure"].tolist() == ["NEC;LYM", None]
        assert frame[["TE", "NEC", "LYM", "TAS"]].to_numpy().tolist() == [
            [True, False, False, True],
            [True] + [False] * 3,
        ]

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("S1,0,0,TE,TE;LYM,", "line 2: TE is in labels and in unsure; keep one of them"),
            ("S1,0,0,,LYM,", "line 2: no label"),
            ("S1,0,0,TE,FAT,", "line 2: 'FAT' is no class"),
        ],
    )
    def test_what_is_unsure_and_cannot_be(self, read, row, message):
        with pytest.raises(InputError, match=message):
            read(f"slide_id,x,y,labels,unsure,source\n{row}\n")

    def test_rows_keep_their_lines(self, read):
        assert list(read("\nslide_id,x,y,labels\n\nS1,0,0,TE\n\nS2,0,0,TE\n").index) == [4, 6]

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("S1,12.000,0,TE", r"line 3: x '12\.000' is no position"),  # a thousand, or a decimal point
            ('S1,"12,000",0,TE', "line 3: x '12,000' is no position"),
            ("S1,1e3,0,TE", "line 3: x '1e3' is no position"),
            ("S1,0_25,0,TE", "line 3: x '0_25' is no position"),
            ("S1,\u0661,0,TE", "is no position"),
            ("s1,0,0,TE", r"line 3: slide_id 's1' is not in slides\.csv \(S1 is\)"),
            ("S1,0,0,TE,TAS", "line 3: 'TAS' stands in no column, of slide_id, x, y, labels"),
            ("S1,0,0,#N/A", "line 3: '#N/A' is no class"),
        ],
    )
    def test_what_may_mean_two_things_is_refused(self, read, row, message):
        with pytest.raises(InputError, match=message):
            read(f"slide_id,x,y,labels\n\n{row}\n")


@given(
    counts=st.lists(st.integers(0, 50), min_size=4, max_size=4),
    ignored=st.integers(0, 50),
    least=st.sampled_from([0.0, 0.03, 0.1, 0.5, 1.0]),
)
def test_a_mask_gives_the_classes_of_the_least_share_and_none_without_a_pixel(counts, ignored, least):
    values = [*range(4), IGNORE]
    mask = np.repeat(values, [*counts, max(ignored, 1)]).astype(np.uint8)[None]
    expected = [count > 0 and count / mask.size >= least for count in counts]
    assert classes_in(mask, 4, least).tolist() == expected
