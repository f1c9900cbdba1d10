"""What was exported is imported as it was; what other tools make of it, too; and what is wrong is named."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_mm.errors import InputError
from wsss_mm.labelling import ARTEFACT_KINDS, STATES, Journal, Place, journal_path, new_entry, read_journals
from wsss_mm.labelling.exchange import PatchLabels, journal_entries, said_by, said_of_all
from wsss_mm.labelling.exchange.label_studio import configuration, read_tasks, write_tasks
from wsss_mm.labelling.exchange.qupath import Frame, read_tiles, write_tiles
from wsss_mm.labelling.exchange.table import read_said, write_label_table
from wsss_mm.labelling.settled import settle_labels
from wsss_mm.patches.truth import read_patch_labels
from wsss_mm.slides.roi import read_annotations
from wsss_mm.vocabulary import TissueClass, Vocabulary, get_vocabulary

LUNG = get_vocabulary("lung")
FRAME = Frame((1000, 37), 0.2521)
PATCH = {"mpp": 1.0, "size": 224}


def said_things():
    """Anything that a journal can hold, of one slide."""
    states = st.dictionaries(st.sampled_from(LUNG.codes), st.sampled_from(STATES))
    item = st.tuples(
        st.tuples(st.integers(1000, 10**6), st.integers(37, 10**6)),
        st.sampled_from([0.2521, 0.5, 1.0, 1 / 3]),
        st.sampled_from([64, 224, 448]),
        states,
        st.sampled_from([None, *ARTEFACT_KINDS]),
        st.one_of(st.none(), st.floats(0, 1e6)),
    ).filter(lambda item: item[3] or item[4])
    lists = st.lists(item, max_size=8, unique_by=lambda item: item[0])
    return lists.map(
        lambda items: [
            PatchLabels(Place("s-1", *at, mpp, size), states, artefact, seconds)
            for at, mpp, size, states, artefact, seconds in items
        ]
    )


@pytest.fixture(scope="module")
def comes_back(tmp_path_factory):
    """Writes what is said of one slide in every format, and reads it again."""
    folder = tmp_path_factory.mktemp("exchange")

    def check(said, vocabulary, slide="s-1", name="a"):
        path = folder / name
        write_label_table(path.with_suffix(".csv"), said, vocabulary)
        assert read_said(path.with_suffix(".csv"), vocabulary, **PATCH) == said
        write_tasks(path.with_suffix(".json"), said, vocabulary)
        assert read_tasks(path.with_suffix(".json"), vocabulary, **PATCH) == said
        write_tiles(path.with_suffix(".geojson"), said, FRAME, vocabulary)
        assert read_tiles(path.with_suffix(".geojson"), slide, FRAME, vocabulary, **PATCH) == said

    return check


@given(said_things())
@settings(max_examples=150, deadline=None)
def test_round_trips_are_exact(comes_back, said):
    comes_back(said, LUNG)


UMLAUTS = Vocabulary(
    "haut",
    (
        TissueClass("DR", "Drüse, groß", (200, 30, 30), "tumour", ("gland; big",)),
        TissueClass("FETT", "Fett/Ödem", (30, 200, 30)),
        TissueClass("N-1", "神経 (Nerv)", (30, 30, 200)),
    ),
)


@given(st.lists(st.dictionaries(st.sampled_from(UMLAUTS.codes), st.sampled_from(STATES), min_size=1), max_size=5))
@settings(max_examples=40, deadline=None)
def test_round_trips_are_exact_with_classes_of_any_script(comes_back, states):
    said = [PatchLabels(Place("s-1-2", 1000 + 9 * at, 37, 0.5, 64), one) for at, one in enumerate(states)]
    comes_back(said, UMLAUTS, slide="s-1-2", name="ä")


SAID = [
    PatchLabels(
        Place("s-1", 1448, 37, 1.0, 224), {"TE": "present", "NEC": "absent", "LYM": "unsure", "TAS": "present"}
    ),
    PatchLabels(Place("s-1", 2448, 37, 1.0, 224), {"TE": "absent", "NEC": "absent", "LYM": "absent", "TAS": "absent"}),
    PatchLabels(Place("s-1", 3448, 37, 1.0, 224), {}, "pen", 3.5),
]


class TestTable:
    def test_the_line_reads_it(self, tmp_path):
        write_label_table(tmp_path / "a.csv", SAID[:1], LUNG)
        frame = read_patch_labels(tmp_path / "a.csv", ["s-1"], LUNG)
        assert frame[["x", "TE", "NEC", "LYM", "TAS", "unsure"]].to_numpy().tolist() == [
            [1448, True, False, False, True, "LYM"]
        ]

    def test_todays_table(self, tmp_path):
        (tmp_path / "a.csv").write_text("slide_id;x;y;labels\nS1;12000;8400;TE;TAS\nS1;12448;8400;lymphocytes\n")
        with pytest.raises(InputError, match="stands in no column"):
            read_said(tmp_path / "a.csv", LUNG, **PATCH)
        (tmp_path / "a.csv").write_text("slide_id,x,y,labels\nS1,12000,8400,TE;TAS\nS1,12448,8400,lymphocytes\n")
        first, second = read_said(tmp_path / "a.csv", LUNG, **PATCH)
        assert first == PatchLabels(
            Place("S1", 12000, 8400, 1.0, 224), {"TE": "present", "NEC": "absent", "LYM": "absent", "TAS": "present"}
        )
        assert second.named("present") == ["LYM"]

    def test_rows_made_of_journals_are_passed_over(self, tmp_path):
        text = "slide_id,x,y,labels,unsure,source\nS1,0,0,TE,,single\nS1,448,0,TE,LYM,\n"
        (tmp_path / "a.csv").write_text(text)
        assert [item.place.x for item in read_said(tmp_path / "a.csv", LUNG, **PATCH, by_hand=True)] == [448]

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("S1,0,0,,,,,,,,", "line 2: no label"),
            ("S1,0,0,FAT,,,,,,,", "line 2: 'FAT' is no class"),
            ("S1,0,0,TE,TE,,,,,,", "line 2: TE is called present and unsure"),
            ("S1,0,0,TE,,,,coffee,,,", "line 2: 'coffee' is no artefact"),
            ("S1,0,0,TE,,,,,zero,,", "line 2: mpp 'zero' is no such number"),
            ("S1,0,0,TE,,,,,,2.5,", r"line 2: size '2\.5' is no such number"),
            ("../S1,0,0,TE,,,,,,,", "line 2: slide_id '../S1' cannot name a file"),
            ("S1,-1,0,TE,,,,,,,", "line 2: x '-1' is no position"),
            ("S1,0,0,TE,,,,,,,\nS1,0,0,LYM,,,,,,,", "slide S1, patch at 0, 0: is there twice"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, row, message):
        (tmp_path / "a.csv").write_text(f"slide_id,x,y,labels,unsure,source,asked,artefact,mpp,size,seconds\n{row}\n")
        with pytest.raises(InputError, match=message):
            read_said(tmp_path / "a.csv", LUNG, **PATCH)


class TestQuPath:
    def read(self, path):
        return read_tiles(path, "s-1", FRAME, LUNG, **PATCH)

    def test_what_is_in_it(self, tmp_path):
        write_tiles(tmp_path / "a.geojson", SAID, FRAME, LUNG)
        one, nothing, pen = json.loads((tmp_path / "a.geojson").read_text())["features"]
        side = 224 / 0.2521
        assert one["geometry"]["coordinates"][0][0] == [448, 0]  # as QuPath counts, from where the scan begins
        assert one["geometry"]["coordinates"][0][2] == pytest.approx([448 + side, side])
        assert one["properties"]["objectType"] == "annotation"
        assert one["properties"]["classification"] == {"names": ["TE", "TAS"], "color": list(LUNG.colors[0])}
        measured = one["properties"]["measurements"]
        assert [measured[code] for code in LUNG.codes] == [1, 0, 0.5, 1]
        assert "classification" not in nothing["properties"]
        assert pen["properties"]["classification"]["name"] == "Ignore*"
        names = [area.names for area in read_annotations(tmp_path / "a.geojson", FRAME.origin)]
        assert names == [("TE", "TAS"), (), ("Ignore*",)]

    def test_what_somebody_changed_in_qupath(self, tmp_path, caplog):
        write_tiles(tmp_path / "a.geojson", SAID[:1], FRAME, LUNG)
        content = json.loads((tmp_path / "a.geojson").read_text())
        content["features"][0]["properties"]["classification"] = {"name": "Necrosis"}
        (tmp_path / "a.geojson").write_text(json.dumps(content["features"]))
        (found,) = self.read(tmp_path / "a.geojson")
        assert found.states == {"TE": "absent", "NEC": "present", "LYM": "unsure", "TAS": "absent"}
        assert "1 patches are of other classes than their measurements say" in caplog.text

    def test_drawn_in_qupath(self, tmp_path):
        side = 224 / 0.2521
        ring = [[0.2, 0], [side, 0], [side, side - 0.3], [0.2, side - 0.3], [0.2, 0]]
        feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}}
        feature["properties"] = {"classification": {"name": "Tumor"}, "measurements": [{"name": "Area", "value": 3}]}
        (tmp_path / "a.geojson").write_text(json.dumps(feature))
        assert self.read(tmp_path / "a.geojson") == [
            PatchLabels(Place("s-1", 1000, 37, 1.0, 224), dict.fromkeys(LUNG.codes, "absent") | {"TE": "present"})
        ]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda f: f.update(geometry=None), "feature 1: no rectangle"),
            (lambda f: f["geometry"].update(coordinates=[[[0, 0], [9, 0], [9, 9], [0, 0]]]), "9 x 9 px is no patch"),
            (lambda f: f["properties"].update(classification={"name": "FAT"}), "'FAT' is no class"),
            (lambda f: f["properties"]["measurements"].update(TE=0.7), r"measurement 'TE' is 0\.7; give 1 \(present\)"),
            (lambda f: f["properties"]["measurements"].update(TE="1"), "measurement 'TE' is no number"),
            (lambda f: f.update(properties={}), "has no class"),
            (lambda f: f["properties"]["measurements"].update({"patch px": 0}), "size is none"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, change, message):
        write_tiles(tmp_path / "a.geojson", SAID[:1], FRAME, LUNG)
        content = json.loads((tmp_path / "a.geojson").read_text())
        change(content["features"][0])
        (tmp_path / "a.geojson").write_text(json.dumps(content))
        with pytest.raises(InputError, match=rf"a\.geojson: .*{message}"):
            self.read(tmp_path / "a.geojson")

    @pytest.mark.parametrize("text", ["", "[", "3", '{"features": 3}', '["a"]'])
    def test_no_geojson(self, tmp_path, text):
        (tmp_path / "a.geojson").write_text(text)
        with pytest.raises(InputError, match=r"a\.geojson: .*; export it again"):
            self.read(tmp_path / "a.geojson")


class TestLabelStudio:
    def read(self, path, **options):
        return read_tasks(path, LUNG, **PATCH, **options)

    def test_as_label_studio_exports_it(self, tmp_path):
        """Its own keys beside ours, an empty task, a skipped one, and one that was made by hand."""
        write_tasks(tmp_path / "a.json", SAID, LUNG, "http://pictures/")
        tasks = json.loads((tmp_path / "a.json").read_text())
        assert tasks[0]["data"]["image"] == "http://pictures/s-1-1448-37.jpg"
        for task in tasks:
            task |= {"id": 7, "meta": {}, "predictions": []}
            task["annotations"][0] |= {"completed_by": {"id": 3, "email": "a@b"}, "was_cancelled": False}
        tasks.append({"data": {"slide_id": "s-1", "x": 0, "y": 0}, "annotations": []})
        tasks.append({"data": {"slide_id": "s-1", "x": 1, "y": 0}, "annotations": [{"was_cancelled": True}]})
        result = [{"from_name": "labels", "type": "choices", "value": {"choices": ["Necrosis"]}}]
        tasks.append({"data": {"slide_id": "s-1", "x": 2, "y": 0}, "annotations": [{"result": result}]})
        (tmp_path / "a.json").write_text(json.dumps(tasks))
        found = self.read(tmp_path / "a.json")
        assert found[:3] == SAID
        assert found[3] == PatchLabels(
            Place("s-1", 2, 0, 1.0, 224), dict.fromkeys(LUNG.codes, "absent") | {"NEC": "present"}
        )

    def test_its_own_library_takes_them(self, tmp_path):
        """The labelling setup, each task and each annotation."""
        peer = pytest.importorskip(
            "label_studio_sdk.label_interface", reason="not installed: pip install label-studio-sdk"
        )
        write_tasks(tmp_path / "a.json", SAID, LUNG, "http://pictures/")
        setup = peer.LabelInterface(configuration(LUNG))
        setup.validate()
        for task in json.loads((tmp_path / "a.json").read_text()):
            assert setup.validate_task({"data": task["data"]})
            assert all(map(setup.validate_annotation, task["annotations"]))
            for item in task["annotations"][0]["result"]:
                assert not setup.validate_annotation({"result": [{**item, "value": {"choices": ["FAT"]}}]})

    def test_of_several_annotators(self, tmp_path):
        write_tasks(tmp_path / "a.json", SAID[:1], LUNG)
        (task,) = json.loads((tmp_path / "a.json").read_text())
        mine = {**task["annotations"][0], "completed_by": 3}
        theirs = {"completed_by": {"id": 4, "email": "a@b"}, "result": []}
        (tmp_path / "a.json").write_text(json.dumps([{**task, "annotations": [mine, theirs]}]))
        with pytest.raises(InputError, match="task 1: has 2 annotations; say whose to take: --annotator 3 or 4 or a@b"):
            self.read(tmp_path / "a.json")
        assert self.read(tmp_path / "a.json", annotator="3") == SAID[:1]
        assert self.read(tmp_path / "a.json", annotator="a@b")[0].named("absent") == list(LUNG.codes)

    def test_the_configuration_has_the_choices(self):
        from xml.etree import ElementTree

        view = ElementTree.fromstring(configuration(LUNG))
        choices = {item.get("name"): [choice.get("value") for choice in item] for item in view.iter("Choices")}
        assert choices == {"labels": list(LUNG.codes), "unsure": list(LUNG.codes), "artefact": list(ARTEFACT_KINDS)}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda t: t["data"].pop("x"), "data names no patch: x is no position"),
            (lambda t: t["data"].update(slide_id="../s"), "data names no patch: slide is no slide_id"),
            (lambda t: t["data"].update(asked="TE"), "data.asked is no list"),
            (lambda t: t["data"].update(asked=["FAT"]), "'FAT' is no class"),
            (lambda t: t["annotations"][0]["result"][0].update(value={}), "labels has no choices"),
            (lambda t: t.pop("data"), "is no list of tasks"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, change, message):
        write_tasks(tmp_path / "a.json", SAID[:1], LUNG)
        tasks = json.loads((tmp_path / "a.json").read_text())
        change(tasks[0])
        (tmp_path / "a.json").write_text(json.dumps(tasks))
        with pytest.raises(InputError, match=rf"a\.json: .*{message}"):
            self.read(tmp_path / "a.json")


class TestJournal:
    def test_in_and_out_and_in_again(self, tmp_path):
        entries, counts = journal_entries(SAID, [], "a.csv")
        assert counts == {"new": 3, "changed": 0, "as before": 0}
        journal = Journal(journal_path("ann", tmp_path), "ann")
        journal.append(entries)
        journals = read_journals(tmp_path)
        assert said_by(journals, "ann") == SAID
        assert {entry["imported"] for entry in journal.entries()} == {"a.csv"}
        assert journal_entries(SAID, journals.answers("ann"), "a.csv") == (
            [],
            {"new": 0, "changed": 0, "as before": 3},
        )
        changed = PatchLabels(SAID[0].place, {"TE": "absent"})
        entries, counts = journal_entries([changed, *SAID[1:]], journals.answers("ann"), "b.csv")
        assert (len(entries), counts["changed"]) == (1, 1)
        assert [item.source for item in said_of_all(settle_labels(journals))] == ["single"] * 3

    def test_no_such_reader(self, tmp_path):
        with pytest.raises(InputError, match="reader 'ann': has no journal; the readers are none"):
            said_by(read_journals(tmp_path), "ann")


def test_nothing_of_torch_or_a_server_is_needed():
    code = "import sys, wsss_mm.labelling.exchange.qupath; print({'torch', 'flask', 'sklearn'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_new_entries_are_sound(tmp_path):
    entry = new_entry("answer", slide="s", x=0, y=0, mpp=1.0, size=8, classes={"TE": "present"}, imported="a.csv")
    assert Journal(journal_path("ann", tmp_path), "ann").append([entry]) == [entry["id"]]
