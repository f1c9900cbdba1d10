"""`wsss-mm labels`: from a table of today into a journal, to other tools and back."""

import json
import unicodedata

import numpy as np
import pandas as pd
import pytest
import shapely

from pipelines import labels as stage
from tests.gates.project import write_slide
from tests.settings import copy_profile
from wsss_mm.cli.main import main
from wsss_mm.labelling import Journal, journal_path, new_entry, read_journals
from wsss_mm.labelling.drawings import Area, clean, drawing_path, names_of, read_drawing, write_drawing
from wsss_mm.patches import write_manifest
from wsss_mm.patches.images import store_patch
from wsss_mm.patches.manifest import build_manifest
from wsss_mm.patches.shards import pack_files
from wsss_mm.places import PATCHES
from wsss_mm.settings import load_params
from wsss_mm.slides.table import write_slide_table
from wsss_mm.vocabulary import get_vocabulary

TODAY = "slide_id,x,y,labels\ns1,0,0,TE;TAS\ns1,448,0,lymphocytes\n"


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    copy_profile(tmp_path)
    (tmp_path / "data/cohort").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def run(capsys):
    def command(*arguments):
        code = main(["--quiet", "labels", *map(str, arguments)])
        done = capsys.readouterr()
        return code, done.out, done.err

    return command


@pytest.fixture
def slide(project):
    import numpy as np

    (project / "data/cohort/slides").mkdir()
    write_slide(project / "data/cohort/slides/s1.tiff", np.full((600, 900, 3), 200, np.uint8))
    row = {"slide_id": "s1", "patient_id": "p", "path": "slides/s1.tiff", "split": "train"}
    write_slide_table(pd.DataFrame([row]), project / "data/cohort/slides.csv")


def answer(reader, x, states, **fields):
    entry = new_entry("answer", slide="s1", x=x, y=0, mpp=1.0, size=224, classes=states, **fields)
    Journal(journal_path(reader), reader).append([entry])


def test_from_todays_table_to_journal_and_back(run, project):
    """The remedy that the stage names is one: afterwards it makes the same table of the journal."""
    table = project / "data/labels.csv"
    table.write_text(TODAY)
    assert run("import", "--reader", "ann", table) == (
        0,
        f"{table}: 2 new, 0 changed, 0 as before\nin labels/ann.jsonl; git add it, then: dvc repro\n",
        "",
    )
    stage.main(load_params())
    assert table.read_text() == ("slide_id,x,y,labels,unsure,source\ns1,0,0,TE;TAS,,single\ns1,448,0,LYM,,single\n")
    assert "0 new, 0 changed, 0 as before" in run("import", "--reader", "ann", table)[1]  # its rows are journals' now
    (project / "old.csv").write_text(TODAY)
    assert "0 new, 0 changed, 2 as before" in run("import", "--reader", "ann", "old.csv")[1]


def test_rows_changed_by_hand_afterwards_are_not_lost(run, project):
    table = project / "data/labels.csv"
    table.write_text(TODAY)
    run("import", "--reader", "ann", table)
    table.write_text(TODAY.replace("TE;TAS", "NEC"))
    with pytest.raises(Exception, match=r"line 2: 1 rows were written by hand and are in no journal"):
        stage.main(load_params())


@pytest.mark.parametrize("name", ["out.csv", "out.json", "tiles"])
def test_round_trips(run, slide, project, name):
    answer("ann", 0, {"TE": "present", "LYM": "unsure"})
    answer("ann", 448, None, artefact="fold")
    before = [(said.place, said.states, said.artefact) for said in read_journals().answers("ann")]
    assert run("export", name)[0] == 0
    files = sorted((project / name).iterdir()) if name == "tiles" else [name]
    assert [getattr(file, "name", file) for file in files] == [name if name != "tiles" else "s1.geojson"]
    assert "2 new" in run("import", "--reader", "bob", *files)[1]
    assert [(said.place, said.states, said.artefact) for said in read_journals().answers("bob")] == before


def test_masks_of_coco(run, slide, project):
    """Drawings go out, and come in where nothing is drawn; a second time changes nothing."""
    assert "no drawings" in run("export", "--format", "coco", "a.json")[2]
    vocabulary = get_vocabulary("lung")
    ring = shapely.box(10, 10, 400, 400).difference(shapely.box(100, 100, 200, 200))
    areas = [Area("a" * 32, vocabulary.classes[0].name, clean(ring, (900, 600)))]
    path, colors = drawing_path("masks", "s1"), names_of("masks", vocabulary)
    write_drawing(path, "s1", areas, edit="", request="b" * 32, colors=colors)
    assert run("export", "--format", "coco", "a.json")[:2] == (0, "a.json: 1 area on 1 slide\n")
    path.unlink()
    assert run("import", "--format", "coco", "a.json")[:2] == (
        0,
        "a.json: 1 new, 0 changed, 0 as before, on 1 slide\nin labels/masks; git add it, then: dvc repro\n",
    )
    assert read_drawing(path, "s1").areas == tuple(areas)
    kept = path.read_bytes()
    assert "0 new, 0 changed, 1 as before" in run("import", "--format", "coco", "a.json")[1]
    assert path.read_bytes() == kept


def test_masks_of_patches_go_to_coco_from_files_and_from_shards(run, project):
    """They were taken for TIFFs, and refused."""
    vocabulary, rows = get_vocabulary(load_params().cohort.vocabulary), []
    for number in range(2):
        mask = np.full((32, 32), number, np.uint8)
        image = np.full((32, 32, 3), 99, np.uint8)
        stored = store_patch(PATCHES, f"p{number}", "test", image=image, mask=mask, vocabulary=vocabulary)
        known = {"slide_id": "s1", "patient_id": "s1", "x": 0, "y": 0, "mpp": 1.0, "tissue": 1.0}
        rows.append(stored | known | dict.fromkeys(vocabulary.codes, True))
    frame = build_manifest(rows, vocabulary, "here")
    for names in (["images/test/p0.png", "images/test/p1.png"], ["p0.png", "p1.png"]):
        if names[0] == "p0.png":
            frame = pack_files(frame, PATCHES, ("path", "mask_path"))
        write_manifest(frame, PATCHES)
        assert run("export", "--format", "coco", "--patches", "a.json")[:2] == (0, "a.json: 2 areas on 2 patches\n")
        content = json.loads((project / "a.json").read_text())
        assert [image["file_name"] for image in content["images"]] == names
        assert [area["area"] for area in content["annotations"]] == [32 * 32] * 2


def test_other_tools_call_a_slide_as_its_file_is_called(run, slide, project):
    """QuPath and COCO name the image; a slide_id is ASCII, and a file may have accents, composed or not."""
    table = project / "data/cohort/slides.csv"
    (project / "data/cohort/slides/s1.tiff").rename(project / "data/cohort/slides/Präparat 7 Süd.tiff")
    table.write_text(table.read_text().replace("slides/s1.tiff", "slides/Präparat 7 Süd.tiff"))
    states = {"TE": "present", "LYM": "unsure", "NEC": "absent"}
    answer("ann", 0, states)
    assert run("export", "tiles")[0] == 0
    vocabulary = get_vocabulary("lung")
    areas = [Area("a" * 32, vocabulary.classes[0].name, clean(shapely.box(0, 10, 900, 400), (900, 600)))]
    path, colors = drawing_path("masks", "s1"), names_of("masks", vocabulary)
    write_drawing(path, "s1", areas, edit="", request="b" * 32, colors=colors)
    assert run("export", "--format", "coco", "a.json")[0] == 0
    path.unlink()
    for form in ("NFC", "NFD"):
        name = unicodedata.normalize(form, "Präparat 7 Süd")
        tiles = (project / "tiles/s1.geojson").rename(project / f"tiles/{name}.geojson")
        assert "1 new" in run("import", "--reader", f"bob-{form}", tiles)[1]
        (said,) = read_journals().answers(f"bob-{form}")
        assert (said.place.slide, said.states) == ("s1", states)
        tiles.rename(project / "tiles/s1.geojson")
        content = json.loads((project / "a.json").read_text())
        content["images"][0]["file_name"] = f"images/{name}.tiff"
        (project / "b.json").write_text(json.dumps(content))
        assert run("import", "--format", "coco", "b.json")[0] == 0
        assert read_drawing(path, "s1").areas == tuple(areas)


def test_of_one_reader(run, project):
    answer("ann", 0, {"TE": "present"})
    answer("bob", 0, {"TE": "absent"})
    run("export", "--reader", "ann", "ann.json")
    (task,) = json.loads((project / "ann.json").read_text())
    assert task["annotations"][0]["result"][0]["value"] == {"choices": ["TE"]}
    run("export", "all.csv")
    assert (project / "all.csv").read_text().splitlines()[1].startswith("s1,0,0,,TE,disputed,TE")


def test_check(run, slide, project):
    answer("ann", 0, {"TE": "present", "LYM": "absent"})
    answer("ann", 0, {"TE": "present", "LYM": "absent"}, repeat=True)
    answer("bob", 0, {"TE": "absent", "LYM": "absent"})
    code, out, _ = run("check")
    assert code == 0
    assert (
        "ann: 1 patch of 1 slide, 1 seen twice, 0 artefacts, 0 skipped\n  TE    1 present, 0 absent, 0 unsure\n" in out
    )
    assert "0 settled, 0 agreed, 0 single, 1 disputed\n1 patch to settle\n  slide s1, 0, 0: TE\n" in out
    Journal(journal_path("ann"), "ann").append(
        [new_entry("answer", slide="lost", x=0, y=0, mpp=1.0, size=224, classes={"TE": "present"})]
    )
    Journal(journal_path("ann"), "ann").append([new_entry("mark", slide="s1", x=9, y=0, mpp=1.0, size=224)])
    said = run("check")[1]
    assert "not in data/cohort/slides.csv: lost" in said
    assert said.endswith("1 patch marked to be seen again: wsss-mm label shows them first\n")


def test_agreement(run):
    answer("ann", 0, {"TE": "present"})
    assert run("agreement")[1] == "no patch was answered by two readers, and none came twice to one\n"
    for x in range(8):
        answer("ann", 448 * x, {"TE": "present" if x < 4 else "absent"})
        answer("bob", 448 * x, {"TE": "present" if x < 4 else "absent"})
    out = run("agreement")[1]
    assert "ann, bob                 TE          8      0  1.000  1.000   0.351 ..  1.000\n" in out
    assert "mean kappa between readers, weighted by patches: 1.000\n" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check",), "labels: holds no journal; label patches: wsss-mm label"),
        (("import", "--reader", "../ann", "a.csv"), "reader '../ann' cannot name a file"),
        (("import", "--reader", "ann", "a.csv"), "a.csv: no such table of labels"),
        (("import", "--reader", "ann", "a.xml"), "a.xml: its name does not tell the format; give --format"),
        (("import", "a.csv"), "whose labels are these? give --reader NAME"),
        (("import", "--format", "coco", "a.json"), "slides.csv"),
        (("export", "--format", "coco", "--reader", "ann", "a.json"), "--reader ann: masks are nobody's"),
        (("import", "--reader", "ann", "s9.geojson"), "slides.csv"),
    ],
)
def test_what_is_wrong_is_one_line(run, arguments, message):
    code, out, error = run(*arguments)
    assert (code, out) == (2, "")
    assert message in error
    assert error.count("\n") == 1


def test_nothing_is_kept_where_one_file_is_wrong(run, project):
    (project / "a.csv").write_text(TODAY)
    (project / "b.csv").write_text(TODAY + "s1,896,0,FAT\n")
    assert run("import", "--reader", "ann", "a.csv", "b.csv")[0] == 2
    assert not (project / "labels").exists()
