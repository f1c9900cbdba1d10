"""Rows of sources.yaml: what one of one's own needs, and what is wrong with it."""

import pytest

from tests.patches.layouts import make
from wsss_mm.errors import InputError
from wsss_mm.patches.finding import find
from wsss_mm.sources import SOURCES, Source
from wsss_mm.vocabulary import get_vocabulary

LUNG, BREAST, GLANDS, COLON = map(get_vocabulary, ("lung", "breast", "glands", "colon"))


class TestRows:
    def test_a_row_of_ones_own_needs_no_python(self, tmp_path, monkeypatch):
        made = make(SOURCES["folders"], tmp_path / "tiles")
        monkeypatch.chdir(tmp_path)
        (tmp_path / "sources.yaml").write_text(
            "kidneys: {about: our kidneys, layout: folders, vocabulary: lung, mpp: 0.5, size: 224, "
            'names: "(?P<slide>[A-Z])", splits: {test: 0.3}}\n'
        )
        files = find(made.folder, SOURCES["kidneys"], LUNG)
        by_slide = {}
        for file in files:
            assert file.origin is not None
            by_slide.setdefault(file.origin.slide_id, set()).add(file.split)
        assert sorted(by_slide) == ["A", "B", "C", "D"]
        assert sorted(map(len, by_slide.values())) == [1, 1, 1, 1]

    @pytest.mark.parametrize(
        ("row", "says"),
        [
            ("{about: x, layout: folder}", r"sources\.yaml: line 1: a\.layout: Input should be 'named'"),
            ("{about: x, layout: folders, mp: 1}", r"a\.mp: is nothing of a data set; did you mean mpp\?"),
            ("{layout: folders}", r"a\.about: is missing"),
            ("{about: x, layout: folders, names: '('}", r"a\.names: is no regular expression"),
            ("{about: x, layout: folders, names: '(x)'}", r"a\.names: has no group \(\?P<slide>"),
            ("{about: x, layout: folders, splits: {test: 1.5}}", r"a\.splits\.test: 1\.5 is no share"),
            ("{about: x, layout: folders, splits: {test: '['}}", r"a\.splits\.test: is no regular expression"),
            ("{about: x, layout: table}", r"a\.table: layout table has one"),
            ("{about: x, layout: pairs, masks: {others: instances}}", r"a\.masks: others: instances needs a table"),
            ("{about: x, layout: folders, mpp: 0.0}", r"a\.mpp: 0\.0 is no resolution"),
            ("{about: x, layout: folders, names: {train: '(?P<slide>.)'}}", r"a\.names: give one pattern, or one for"),
            ("text", r"give about, layout, vocabulary and mpp below it"),
        ],
    )
    def test_faults_name_the_line(self, tmp_path, monkeypatch, row, says):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "sources.yaml").write_text(f"a: {row}\n")
        with pytest.raises(InputError, match=says):
            list(SOURCES)

    def test_taken_names_and_what_is_no_table(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "sources.yaml").write_text("phantom: {about: x, layout: folders}\n")
        with pytest.raises(InputError, match=r"line 1: phantom: is no data set's name"):
            list(SOURCES)
        (tmp_path / "sources.yaml").write_text("- a\n")
        with pytest.raises(InputError, match="describes no data sets"):
            list(SOURCES)

    def test_the_default_row_is_no_surprise(self):
        row = Source("x", "y", "folders")
        origin = row.origin("a/b", "train")
        assert origin is not None
        assert origin.slide_id.startswith("a_b-")
