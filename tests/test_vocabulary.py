"""Vocabularies are files: what is in one, what is refused, and what a model carries of it."""

import json
from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.settings import copy_profile
from wsss_mm.errors import InputError
from wsss_mm.models.description import _Class
from wsss_mm.settings import load_params
from wsss_mm.vocabulary import (
    IGNORE,
    MOST_ALIASES,
    MOST_CLASSES,
    ROLES,
    SPLITS,
    TissueClass,
    Vocabulary,
    get_vocabulary,
    read_vocabulary,
    vocabulary_names,
)

QUPATH = {"Tumor": "tumour", "Stroma": "stroma", "Immune cells": "lymphocytes", "Necrosis": "necrosis"}
TEXT = """\
classes:
  - code: A
    name: Alveoli
    color: [200, 30, 30]
    role: normal
  - {code: B, name: Bone, color: [255, 220, 0], role: other, aliases: [Os, Bony  tissue]}
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes vocabularies/own.yaml in an empty project."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vocabularies").mkdir()
    path = tmp_path / "vocabularies/own.yaml"

    def write(text):
        path.write_text(
            text
            if isinstance(text, str)
            else yaml.safe_dump({"classes": text}, sort_keys=False, default_flow_style=None)
        )
        return path

    return write


def item(index=0, **changes):
    colors = [[200, 30, 30], [255, 220, 0], [40, 90, 240]]
    return {"code": f"C{index}", "name": f"Class {index}", "color": colors[index % 3], "role": "other"} | changes


class TestShipped:
    def test_names_and_order(self):
        assert vocabulary_names() == ["breast", "colon", "colon_texture", "glands", "luad_normal", "lung"]
        assert get_vocabulary("lung").codes == ("TE", "NEC", "LYM", "TAS")  # as in LUAD-HistoSeg's file names
        assert get_vocabulary("breast").codes == ("TUM", "STR", "LYM", "NEC")
        assert get_vocabulary("luad_normal").codes == ("TUM", "STR", "NOR")

    @pytest.mark.parametrize("name", ["lung", "breast", "luad_normal", "colon", "colon_texture"])
    def test_qupaths_own_classes_are_known(self, name):
        vocabulary = get_vocabulary(name)
        roles = {item.role for item in vocabulary.classes}
        for called, role in QUPATH.items():
            index = vocabulary.find(called)
            assert (None if index is None else vocabulary.classes[index].role) == (role if role in roles else None)

    def test_ignore_is_no_class(self):
        assert IGNORE == 255 > MOST_CLASSES
        assert SPLITS == ("train", "valid", "test")
        for name in vocabulary_names():
            palette = get_vocabulary(name).palette
            assert len(palette) == 768 and palette[-3:] == [255, 255, 255]


class TestOwn:
    def test_classes_are_found_by_every_name_in_any_case(self, written):
        written(TEXT)
        own = get_vocabulary("own")
        assert own == Vocabulary(
            "own",
            (
                TissueClass("A", "Alveoli", (200, 30, 30), "normal"),
                TissueClass("B", "Bone", (255, 220, 0), "other", ("Os", "Bony  tissue")),
            ),
        )
        assert [own.find(name) for name in ("a", "ALVEOLI", "os", " bony tissue", "Lung")] == [0, 0, 1, 1, None]
        assert own.with_role("normal") == (0,)

    def test_accents_may_be_characters_of_their_own_as_macos_writes_them(self, written):
        vocabulary = read_vocabulary(written([item(name="Dr\u00fcse"), item(1, aliases=["Pla\u0308ttchen"])]))
        assert [vocabulary.find("DRU\u0308SE"), vocabulary.find("Pl\u00e4ttchen")] == [0, 1]

    def test_the_projects_wins_over_the_shipped_one_which_others_may_still_name(self, written):
        written(TEXT).rename("vocabularies/lung.yaml")
        assert get_vocabulary("lung").codes == ("A", "B")
        assert vocabulary_names() == ["lung"]
        assert get_vocabulary("breast").codes == ("TUM", "STR", "LYM", "NEC")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "line 1: has no list `classes`"),
            ("classes: []", "line 1: classes is no list, or empty"),
            ("classes: {A: 1}", "line 1: classes is no list"),
            ("a: [", "not valid YAML"),
            ("name: own\n" + TEXT, "line 1: 'name' is nothing of a vocabulary"),
            ([item(), item(1, code="c0")], r"line 6: c0: C0 is called 'c0' too"),
            ([item(), item(1, name="class  0")], "C1: C0 is called 'class  0' too"),
            ([item(aliases=["Fat"]), item(1, name="fat")], "C1: C0 is called 'fat' too"),
            ([item(), item(1, aliases=["C0"])], "C1: C0 is called 'C0' too"),
            ([item(), item(1), item(0, code="X", name="X")], r"X: color \[200, 30, 30\] is too much like C0's"),
            ([item(color=[205, 51, 51]), item(1, color=[0, 200, 80])], r"with red-green blindness \(4.8, and 5"),
            ([item(), item(1, color=[203, 34, 28])], "too much like C0's"),
            ([item(color=[255, 255, 255])], r"line 4: color \[255, 255, 255\] is white"),
            ([item(color=[252, 255, 251])], "is white"),
            ([item(color=[1, 2])], "is no RGB colour"),
            ([item(color=[1, 2, 256])], "is no RGB colour"),
            ([item(color=[1, 2, True])], "is no RGB colour"),
            ([item(color="#cd3333")], "is no RGB colour"),
            ([item(role="tumor")], "role 'tumor' is none of tumour, .*; did you mean tumour?"),
            ([item(role=None)], "role 'null' is none of"),
            ([item(code=False)], "code 'false' is no text; put it in quotation marks"),
            ([item(code="a b")], "code 'a b' names columns"),
            ([item(code="")], "code '' names columns"),
            ([item(code="slide_id")], "line 2: code 'slide_id' is a column of every manifest; choose another"),
            ([item(), item(1, code="x")], "line 6: code 'x' is a column of every manifest"),
            (
                [item(name="Gew\u00e4sser"), item(1, aliases=["gewa\u0308sser"])],
                "C1: C0 is called 'gewa\u0308sser' too",
            ),
            ([item(name=" ")], "is empty"),
            ([item(name="a\x1bb")], "cannot be printed"),
            ([item(name="Ignore*")], r"ends in \*"),
            ([item(aliases=["Region*"])], r"ends in \*"),
            ([item(name="Ignore* ")], r"ends in \*"),
            ([item(aliases=[f"n{i}" for i in range(MOST_ALIASES + 1)])], "line 6: 65 aliases, more than 64"),
            ([item(aliases="Tumor")], "is no list of texts"),
            ([item(aliases=[1])], "is no list of texts"),
            ([item(colour=[1, 2, 3])], "'colour' is nothing of a class; did you mean color?"),
            ([{"code": "A", "name": "A", "color": [1, 2, 3]}], "line 2: role is missing"),
            (["A"], "'A' is no class"),
            ([item(code="A", name=f"n{i}") for i in range(MOST_CLASSES + 1)], "255 classes; a mask has values for 254"),
        ],
    )
    def test_each_fault_is_one_line_with_its_place(self, written, text, message):
        with pytest.raises(InputError, match=message) as caught:
            read_vocabulary(written(text))
        assert "own.yaml: " in str(caught.value) and "\n" not in str(caught.value)

    @given(st.lists(st.text(min_size=1), max_size=MOST_ALIASES + 1, unique=True), st.text(min_size=1), st.text())
    def test_what_is_read_a_model_can_carry(self, tmp_path_factory, aliases, name, code):
        path = tmp_path_factory.getbasetemp() / "carried.yaml"
        path.write_text(yaml.safe_dump({"classes": [item(code=code or "A", name=name, aliases=aliases)]}))
        with suppress(InputError):
            for content in read_vocabulary(path).to_json()["classes"]:
                assert _Class.model_validate(content)

    def test_a_name_may_repeat_the_code_of_its_own_class(self, written):
        assert len(read_vocabulary(written([item(code="Fat", name="fat", aliases=["FAT"])]))) == 1

    @given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
    def test_whatever_stands_in_a_class_is_read_or_refused(self, tmp_path_factory, value):
        path = tmp_path_factory.getbasetemp() / "any.yaml"
        for key in item(aliases=[]):
            path.write_text(yaml.safe_dump({"classes": [item(**{key: value})]}))
            try:
                assert getattr(read_vocabulary(path).classes[0], key) in (value, (), tuple(value or ()))
            except InputError as error:
                assert str(error).startswith(f"{path}: ")


class TestParams:
    def test_a_misspelt_name_is_refused_with_the_near_one(self, project_root, tmp_path, monkeypatch):
        monkeypatch.chdir(project_root)
        path = copy_profile(tmp_path)
        text = path.read_text()
        for name, message in (
            ("lungs", r"line \d+: cohort.vocabulary: no vocabulary 'lungs'; choose from breast, .*did you mean lung\?"),
            ("kidney", r"or write vocabularies/kidney.yaml"),
            ("../vocabularies/lung", r"or write a file in vocabularies"),
        ):
            path.write_text(text.replace("  vocabulary: lung ", f"  vocabulary: {name} "))
            with pytest.raises(InputError, match=message):
                load_params(path)

    def test_so_is_what_is_wrong_in_the_file(self, written):
        path = written([item(role="tumor")])
        params = copy_profile(path.parent)
        params.write_text(params.read_text().replace("  vocabulary: lung ", "  vocabulary: own "))
        with pytest.raises(InputError, match=r"^vocabularies/own.yaml: line 5: role 'tumor'"):
            load_params(params)

    def test_another_suffix_is_told(self, written):
        written(TEXT).rename("vocabularies/own.yml")
        with pytest.raises(InputError, match=r"rename vocabularies/own.yml to own.yaml"):
            get_vocabulary("own")


class TestModel:
    @pytest.mark.parametrize("name", ["lung", "breast", "luad_normal", "colon", "colon_texture"])
    def test_a_model_carries_all_of_it(self, name):
        vocabulary = get_vocabulary(name)
        content = json.loads(json.dumps(vocabulary.to_json()))
        assert Vocabulary.from_json(content, "model.json") == vocabulary
        assert list(content["classes"][0]) == ["code", "name", "color", "role", "aliases"]

    def test_an_older_one_gets_the_roles_of_the_codes_it_has(self):
        colors = {"TE": [205, 51, 51], "NEC": [0, 200, 80], "FAT": [255, 255, 255]}  # as they were, or odd
        classes = [{"code": code, "name": code, "color": color} for code, color in colors.items()]
        vocabulary = Vocabulary.from_json({"classes": classes}, "model.json")
        assert [item.role for item in vocabulary.classes] == ["tumour", "necrosis", "other"]
        assert vocabulary.colors == tuple(map(tuple, colors.values()))

    def test_its_own_roles_count(self):
        classes = [{"code": "TE", "name": "x", "color": [1, 2, 3], "role": "normal", "aliases": ["y"]}]
        (found,) = Vocabulary.from_json({"vocabulary": "own", "classes": classes}, "model.json").classes
        assert (found.role, found.aliases) == ("normal", ("y",)) and found.role in ROLES

    def test_two_classes_of_a_code_are_refused(self):
        classes = [{"code": "A", "name": name, "color": [1, 2, 3]} for name in "xy"]
        with pytest.raises(InputError, match=r"model.json: classes: A: A is called 'A' too"):
            Vocabulary.from_json({"classes": classes}, "model.json")
