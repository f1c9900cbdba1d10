"""`wsss-mm cohort`: a user's own slides, from files to a divided table."""

import io
import json
import shutil
import sys

import numpy as np
import pytest

from tests.cohort.conftest import write_tiff  # noqa: F401
from tests.settings import copy_profile
from wsss_mm import places
from wsss_mm.cli.main import main
from wsss_mm.cohort import Cohort
from wsss_mm.labelling import Journal, journal_path, new_entry
from wsss_mm.settings import load_profile, write_profile

HEAD = "slide_id,patient_id,site,path,split,mpp,roi,annotation\n"
SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [60, 0], [60, 60], [0, 60], [0, 0]]]}
TABLE = places.OWN_SLIDES


@pytest.fixture(scope="session")
def pictures(tmp_path_factory, write_tiff):  # noqa: F811
    """Six different slides of 0.5 um/px."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(6):
        write_tiff(folder / f"{number}.tif", np.full((64, 64, 3), 40 * number, np.uint8), 0.5)
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def scans(project, pictures):
    (project / "scans").mkdir()
    for number, name in enumerate(["P1_S1_A", "P1_S2_A", "P2_S3_B", "P3_S4_B"]):
        shutil.copyfile(pictures / f"{number}.tif", project / f"scans/{name}.tif")
    return project / "scans"


def run(*words):
    return main(["cohort", *map(str, words)])


def rows(table=TABLE):
    return table.read_text().removeprefix(HEAD).splitlines()


def test_the_default_place_is_the_profiles():
    assert load_profile("slides").cohort.source == TABLE


def test_from_files_to_a_cohort(scans, capsys):
    assert run("add", "scans", "--pattern", "{patient}_{slide}_{site}.tif", "--yes") == 0
    assert rows() == [
        "S1,P1,A,../scans/P1_S1_A.tif,,,,",
        "S2,P1,A,../scans/P1_S2_A.tif,,,,",
        "S3,P2,B,../scans/P2_S3_B.tif,,,,",
        "S4,P3,B,../scans/P3_S4_B.tif,,,,",
    ]
    said = capsys.readouterr().out
    assert "P1_S1_A.tif  S1        P1          A" in said
    assert "4 files, 3 patients, 2 sites, 0 splits" in said
    assert "wsss-mm cohort split" in said
    assert "wsss-mm profile slides --source data/slides.csv" in said
    assert "wsss-mm label" in said
    assert run("split") == 0
    said = capsys.readouterr().out
    assert "before       train  valid  test  none" in said
    assert "  of site A      0      0     0     2" in said
    cohort = Cohort.read(TABLE)
    assert sorted(cohort.splits) == ["S1", "S2", "S3", "S4"]
    assert set(cohort.splits.values()) == {"train", "valid", "test"}
    assert cohort.splits["S1"] == cohort.splits["S2"]


def test_a_pattern_is_shown_and_asked_about(scans, capsys, monkeypatch):
    arguments = ("add", "scans", "--pattern", "{patient}_{slide}_{site}")
    assert run(*arguments) == 2
    assert "nobody is here to ask: look at it with --dry-run, then add --yes" in capsys.readouterr().err
    for answer, code in (("n\n", 2), ("y\n", 0)):
        stream = io.StringIO(answer)
        stream.isatty = lambda: True
        monkeypatch.setattr(sys, "stdin", stream)
        assert run(*arguments) == code
        assert TABLE.exists() is (code == 0)
    assert "take this from the names? [y/N]" in capsys.readouterr().err


def test_a_dry_run_writes_nothing(scans, capsys):
    assert run("add", "scans", "--pattern", "{patient}_{slide}_{site}", "--dry-run") == 0
    assert "4 slides would be added" in capsys.readouterr().out
    assert not TABLE.parent.exists()


def test_a_name_that_does_not_fit_the_pattern_stops(scans, capsys):
    assert run("add", "scans", "--pattern", "{patient}_{slide}_A", "--yes") == 2
    assert "does not fit scans/P2_S3_B.tif, scans/P3_S4_B.tif" in capsys.readouterr().err
    assert not TABLE.exists()


def test_other_files_of_a_folder_are_named_and_passed_over(scans, capsys):
    (scans / "notes.txt").write_text("none")
    (scans / "broken.svs").write_text("none")
    assert run("add", "scans") == 1
    said = capsys.readouterr().err
    assert "no slides, passed over: scans/notes.txt" in said
    assert "not added: scans/broken.svs: not a readable slide" in said
    assert len(rows()) == 4


def test_a_file_that_is_named_has_to_be_a_slide(scans, capsys):
    (scans / "notes.txt").write_text("none")
    assert run("add", "scans/P1_S1_A.tif", "scans/notes.txt") == 2
    assert "scans/notes.txt: not a readable slide" in capsys.readouterr().err
    assert not TABLE.exists()


def test_a_slide_of_nobody_counts_as_a_patient_with_a_warning(scans, capsys):
    assert run("add", "scans/P1_S1_A.tif") == 0
    assert rows() == ["P1_S1_A,P1_S1_A,,../scans/P1_S1_A.tif,,,,"]
    assert "nothing says whose 1 of them are" in capsys.readouterr().err


def test_a_barcode_says_whose_and_where(project, pictures, capsys):
    shutil.copyfile(pictures / "0.tif", "tcga-cr-7395-01a-01-ts1.tif")
    assert run("add", "tcga-cr-7395-01a-01-ts1.tif") == 0
    assert rows() == ["tcga-cr-7395-01a-01-ts1,TCGA-CR-7395,CR,../tcga-cr-7395-01a-01-ts1.tif,,,,"]
    assert "nothing says" not in capsys.readouterr().err


def test_a_slide_that_is_there_already_is_passed_over(scans, project, caplog):
    assert run("add", "scans/P1_S1_A.tif", "--patient", "P1") == 0
    before = TABLE.read_bytes()
    (project / "link.tif").symlink_to("scans/P1_S1_A.tif")
    caplog.set_level("INFO")
    assert run("add", "scans/P1_S1_A.tif", project / "link.tif", "--patient", "P2") == 0
    assert "scans/P1_S1_A.tif: is there already, data/slides.csv: line 2 (P1_S1_A)" in caplog.text
    assert "wsss-mm cohort set P1_S1_A --patient P2" in caplog.text
    assert "shows the same" not in caplog.text
    assert TABLE.read_bytes() == before


def test_two_files_with_one_name(scans, pictures, capsys):
    (scans / "more").mkdir()
    shutil.copyfile(pictures / "5.tif", scans / "more/p1_s1_a.tif")
    assert run("add", "scans/P1_S1_A.tif", "scans/more/p1_s1_a.tif") == 2
    assert "differs only in case" in capsys.readouterr().err
    assert run("add", "scans/P1_S1_A.tif") == 0
    assert run("add", "scans/more/p1_s1_a.tif") == 2
    assert "line 2: slide P1_S1_A is data/../scans/P1_S1_A.tif already; call it otherwise" in capsys.readouterr().err
    assert run("add", "scans/more/p1_s1_a.tif", "--slide-id", "other") == 0


def test_a_slide_that_has_moved_is_told_how_to_set_it(scans, capsys):
    assert run("add", "scans/P1_S1_A.tif") == 0
    (scans / "new").mkdir()
    (scans / "P1_S1_A.tif").rename(scans / "new/P1_S1_A.tif")
    assert run("add", "scans/new/P1_S1_A.tif") == 2
    assert "wsss-mm cohort set P1_S1_A --path scans/new/P1_S1_A.tif" in capsys.readouterr().err
    assert run("set", "P1_S1_A", "--path", "scans/new/P1_S1_A.tif") == 0
    assert rows() == ["P1_S1_A,P1_S1_A,,../scans/new/P1_S1_A.tif,,,,"]


def test_a_patient_that_looks_like_another_is_warned_of_and_shares_its_split(scans, caplog, capsys):
    assert run("add", "scans/P1_S1_A.tif", "--patient", "P1", "--split", "test") == 0
    assert run("add", "scans/P2_S3_B.tif", "--patient", "p01") == 0
    assert "patients 'P1' and 'p01' differ only in case" in caplog.text
    assert rows()[1] == "P2_S3_B,p01,,../scans/P2_S3_B.tif,test,,,"
    assert run("add", "scans/P3_S4_B.tif", "--patient", "P01", "--split", "train") == 2
    said = capsys.readouterr().err
    assert "is to be in split train, but P1_S1_A of its patient P01 is in test" in said
    assert "wsss-mm cohort set P1_S1_A --split train" in said


def test_an_mpp_that_contradicts_the_file(scans, capsys):
    assert run("add", "scans/P1_S1_A.tif", "--mpp", "0.25") == 2
    assert "says 0.5 um/px itself, and --mpp 0.25 is for slides that do not" in capsys.readouterr().err
    assert run("add", "scans/P1_S1_A.tif", "--mpp", "0.505") == 0
    assert run("add", "scans/P1_S2_A.tif", "--mpp", "0.25", "--force-mpp") == 0
    assert [row.split(",")[5] for row in rows()] == ["", "0.25"]
    assert run("add", "scans/P2_S3_B.tif", "--mpp", "10.6") == 2
    assert run("add", "scans/P2_S3_B.tif", "--force-mpp") == 2


@pytest.mark.parametrize("option", ["--roi", "--annotation"])
def test_what_is_drawn_has_to_lie_on_the_slide(scans, project, option, capsys):
    (project / "in.geojson").write_text(json.dumps(SQUARE))
    off = {"type": "Polygon", "coordinates": [[[x + 900, y] for x, y in SQUARE["coordinates"][0]]]}
    (project / "off.geojson").write_text(json.dumps(off))
    assert run("add", "scans/P1_S1_A.tif", option, "off.geojson") == 2
    assert "off.geojson: no area lies on the slide" in capsys.readouterr().err
    assert run("add", "scans/P1_S1_A.tif", option, "none.geojson") == 2
    assert run("add", "scans/P1_S1_A.tif", option, "in.geojson") == 0
    assert rows()[0].split(",")[6 if option == "--roi" else 7] == "../in.geojson"
    assert run("add", "scans", option, "in.geojson") == 2
    assert "polygons belong to one slide, but 4 are given; write {slide}" in capsys.readouterr().err


def test_each_slide_finds_its_own_drawing(scans, project):
    (project / "P2_S3_B.geojson").write_text(json.dumps(SQUARE))
    assert run("add", "scans", "--roi", "{slide}.geojson") == 0
    assert [row.split(",")[6] for row in rows()] == ["", "", "../P2_S3_B.geojson", ""]


def test_the_users_table_keeps_what_it_has(scans, project):
    table = project / "lab/slides.csv"
    table.parent.mkdir()
    lines = [
        "\ufeffSlide ID;Patient;patient_id;path;split;mpp;Remark",
        "# first batch",
        'old;x;P9;../scans/P1_S1_A.tif;Train;0,5;keep "this"',
    ]
    text = "\r\n".join(lines) + "\r\n"
    table.write_bytes(text.encode())
    assert (
        run(
            "add",
            "scans/P3_S4_B.tif",
            "--patient",
            "P3",
            "--site",
            "Ulm",
            "--mpp",
            "0,6",
            "--force-mpp",
            "--table",
            table,
        )
        == 0
    )
    lines = table.read_bytes().decode().split("\r\n")
    assert lines == [
        "\ufeffSlide ID;Patient;patient_id;path;split;mpp;Remark;site",
        "# first batch",
        'old;x;P9;../scans/P1_S1_A.tif;Train;0,5;keep "this";',
        "P3_S4_B;;P3;../scans/P3_S4_B.tif;;0,6;;Ulm",
        "",
    ]
    assert run("set", "P3_S4_B", "--split", "test", "--table", table.parent) == 0
    assert [slide.mpp for slide in Cohort.read(table)] == [0.5, 0.6]


def test_paths_are_relative_where_both_move_together(scans, project, tmp_path_factory, pictures):
    archive = tmp_path_factory.mktemp("archive")
    shutil.copyfile(pictures / "5.tif", archive / "-x.tif")
    assert run("add", archive / "-x.tif", "--slide-id", "far") == 0
    assert run("add", archive / "-x.tif", "--slide-id", "near", "--table", archive / "slides.csv") == 0
    assert rows() == [f"far,far,,{archive}/-x.tif,,,,"]
    assert rows(archive / "slides.csv") == ["near,near,,./-x.tif,,,,"]


def test_links_keep_their_names(scans, project, tmp_path_factory, pictures):
    archive = tmp_path_factory.mktemp("archive")
    shutil.copyfile(pictures / "5.tif", archive / "0815.tif")
    (scans / "P4_S5_A.tif").symlink_to(archive / "0815.tif")
    assert run("add", "scans/P4_S5_A.tif") == 0
    assert rows() == ["P4_S5_A,P4_S5_A,,../scans/P4_S5_A.tif,,,,"]


def test_a_read_only_table(scans, capsys):
    assert run("add", "scans/P1_S1_A.tif") == 0
    TABLE.chmod(0o444)
    assert run("add", "scans/P1_S2_A.tif") == 2
    assert "data/slides.csv: is read-only" in capsys.readouterr().err


def test_the_copy_of_stage_cohort_is_nobodys_to_edit(scans, capsys):
    assert run("add", "scans/P1_S1_A.tif", "--table", places.COHORT / "slides.csv") == 2
    assert "is made by stage cohort, which replaces it" in capsys.readouterr().err


def test_params_name_the_table(scans, project, capsys):
    (project / "lab").mkdir()
    (project / "lab/slides.csv").write_text(HEAD)
    write_profile("slides", "params.yaml", project / "lab")
    assert run("add", "scans/P1_S1_A.tif", "--patient", "P1") == 0
    assert rows(project / "lab/slides.csv") == ["P1_S1_A,P1,,../scans/P1_S1_A.tif,,,,"]
    assert "profile slides" not in capsys.readouterr().out


def test_list(scans, project, capsys):
    run("add", "scans", "--pattern", "{patient}_{slide}_{site}", "--yes")
    (project / "data/labels.csv").write_text("slide_id,x,y,labels\nS3,0,0,TE\nS3,224,0,TE;NEC\n")
    (scans / "P3_S4_B.tif").unlink()
    capsys.readouterr()
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["slide", "patient", "site", "split", "mpp", "size", "magn.", "labels"]
    assert lines[3].split() == ["S3", "P2", "B", "-", "0.5", "64", "x", "64", "20x", "2"]
    assert "no such slide file" in lines[4]
    assert lines[5] == "data/slides.csv: 4 slides (4 without a split)"
    assert run("list", "--json") == 0
    slides = json.loads(capsys.readouterr().out)
    assert slides[2] == {
        "slide_id": "S3",
        "patient_id": "P2",
        "site": "B",
        "split": "",
        "mpp": 0.5,
        "size": [64, 64],
        "magnification": 20.0,
        "labels": 2,
        "path": "data/../scans/P2_S3_B.tif",
        "problem": None,
    }
    assert slides[3]["size"] is None


def test_a_split_counts_labelled_classes(scans, project, capsys):
    run("add", "scans", "--pattern", "{patient}_{slide}_{site}", "--yes")
    (project / "data/labels.csv").write_text("slide_id,x,y,labels\nS3,0,0,TE\nS1,224,0,TE;NEC\n")
    capsys.readouterr()
    assert run("split", "--dry-run") == 0
    assert "  with TE        0      0     0     2" in capsys.readouterr().out
    assert all(row.split(",")[4] == "" for row in rows())


def test_splits_that_were_given_change_only_when_told(scans, capsys):
    run("add", "scans", "--pattern", "{patient}_{slide}_{site}", "--split", "test", "--yes")
    before = TABLE.read_bytes()
    assert run("split") == 0
    assert TABLE.read_bytes() == before
    assert "no slide is in split train" in capsys.readouterr().err
    assert run("split", "--again") == 2
    assert TABLE.read_bytes() == before
    assert run("split", "--again", "--yes") == 0
    assert set(Cohort.read(TABLE).splits.values()) == {"train", "valid", "test"}


def test_a_site_is_held_out(scans):
    run("add", "scans", "--pattern", "{patient}_{slide}_{site}", "--yes")
    assert run("split", "--hold-out-site", "A", "--as", "test") == 0
    splits = Cohort.read(TABLE).splits
    assert {name for name, split in splits.items() if split == "test"} == {"S1", "S2"}
    assert run("split", "--hold-out-site", "C") == 2


def test_set_moves_the_whole_patient(scans, capsys):
    run("add", "scans", "--pattern", "{patient}_{slide}_{site}", "--split", "train", "--yes")
    assert run("set", "S1", "--split", "test") == 0
    assert "changed S1, S2" in capsys.readouterr().out
    assert run("set", "S3", "--patient", "P1") == 2
    assert "patient 'P1' would be in the splits test (slide S1) and train (S3)" in capsys.readouterr().err
    assert run("set", "S3", "--patient", "P1", "--split", "test", "--site", "") == 0
    assert rows()[2] == "S3,P1,,../scans/P2_S3_B.tif,test,,,"


def test_each_slide_is_given_its_own_drawing(scans, project):
    run("add", "scans", "--pattern", "{patient}_{slide}_{site}", "--yes")
    for name in ("S1", "S3"):
        (project / f"{name}.geojson").write_text(json.dumps(SQUARE))
    assert run("set", "S1", "S3", "--annotation", "{slide}.geojson", "--site", "Ulm") == 0
    named = {row.split(",")[0]: row.split(",")[7] for row in rows()}
    assert {name: cell for name, cell in named.items() if cell} == {"S1": "../S1.geojson", "S3": "../S3.geojson"}
    assert run("set", "S1", "S3", "--annotation", "") == 0
    assert not any(row.split(",")[7] for row in rows())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("S1",), "nothing to set"),
        (("S9", "--site", "x"), "has no slide 'S9', but 'S"),
        (("S1", "--mpp", "9"), "mpp '9' is no resolution"),
        (("S1", "--path", "none.tif"), "no such slide file"),
        (("S1", "S2", "--roi", "x"), "--roi x: a file belongs to one slide, but 2 are named; write {slide}"),
        (("S1", "S3", "--roi", "{slide}.geojson"), "S1.geojson"),
        (("S1", "--patient", "a b"), "patient_id 'a b' must be of letters"),
    ],
)
def test_what_cannot_be_set(scans, arguments, message, capsys):
    run("add", "scans", "--pattern", "{patient}_{slide}_{site}", "--yes")
    before = TABLE.read_bytes()
    assert run("set", *arguments) == 2
    assert message in capsys.readouterr().err
    assert TABLE.read_bytes() == before


def test_remove(scans, project, capsys):
    run("add", "scans", "--pattern", "{patient}_{slide}_{site}", "--yes")
    (project / "data/labels.csv").write_text("slide_id,x,y,labels\nS3,0,0,TE\n")
    assert run("remove", "S3", "S1") == 0
    assert [row[:2] for row in rows()] == ["S2", "S4"]
    assert "S3: 1 labels of it stay" in capsys.readouterr().err
    assert (scans / "P2_S3_B.tif").exists()


def test_a_table_that_changes_meanwhile_is_not_overwritten(scans, monkeypatch, capsys):
    from wsss_mm.cohort import assign

    run("add", "scans", "--pattern", "{patient}_{slide}_{site}", "--yes")
    divide = assign.divide
    monkeypatch.setattr(assign, "divide", lambda *given: run("remove", "S1") or divide(*given))
    assert run("split") == 2
    assert "was changed by another program meanwhile" in capsys.readouterr().err
    assert len(rows()) == 3


def test_check_quick(scans, capsys):
    run("add", "scans", "--pattern", "{patient}_{slide}_{site}", "--yes")
    capsys.readouterr()
    assert run("check", "--quick") == 1
    assert "S1  has no split; give it there, or to all that have none: wsss-mm cohort split" in capsys.readouterr().out
    run("split")
    capsys.readouterr()
    assert run("check", "--quick") == 0
    assert "S1  good\n" in capsys.readouterr().out


def test_a_copy_is_passed_over_in_a_folder_and_warned_of_elsewhere(scans, caplog):
    shutil.copyfile(scans / "P1_S1_A.tif", scans / "copy.tif")
    assert run("add", "scans") == 0
    assert "scans/copy.tif: shows the same as scans/P1_S1_A.tif; passed over" in caplog.text
    assert len(rows()) == 4
    assert run("add", "scans/P1_S1_A.tif", "scans/copy.tif", "--table", "other.csv") == 0
    assert "one of them will have to go" in caplog.text


def test_names_that_a_table_can_hold_and_such_that_it_cannot(project, pictures, capsys):
    (project / "scans").mkdir()
    for number, name in enumerate(["=1+2.tif", "two\nlines.tif", 'a "b"; c,d.tif', "Müller.tif"]):
        shutil.copyfile(pictures / f"{number}.tif", project / "scans" / name)
    assert run("add", "scans", "--table", "scans/slides.csv") == 0
    slides = Cohort.read(project / "scans/slides.csv", for_training=False)
    assert {slide.path.name for slide in slides} == {path.name for path in (project / "scans").glob("*.tif")}
    assert ",./=1+2.tif," in (project / "scans/slides.csv").read_text()
    shutil.copyfile(pictures / "5.tif", project / "scans/\udce4.tif")
    assert run("add", "scans/\udce4.tif", "--slide-id", "x") == 2
    assert "not UTF-8" in capsys.readouterr().err
    assert not TABLE.exists()


def test_a_real_slide_says_its_objective(real_data, project, capsys):
    assert run("add", real_data / "slides/CMU-1-Small-Region.svs", "--patient", "CMU") == 0
    assert run("add", real_data / "slides/tcga-cr-7395-01a-01-ts1.svs") == 2
    said = capsys.readouterr().err
    assert "no mpp in the file; give it in column mpp of the slide table or with --mpp" in said
    assert run("list", "--json") == 0
    (slide,) = json.loads(capsys.readouterr().out)
    assert (slide["magnification"], slide["size"], round(slide["mpp"], 3)) == (20, [2220, 2967], 0.499)


def test_a_folder_without_a_slide_is_refused(project, capsys):
    (project / "scans").mkdir()
    (project / "scans/a.txt").touch()
    assert run("add", "scans") == 2
    assert "scans: no slide; name files that OpenSlide opens" in capsys.readouterr().err
    assert not TABLE.exists()


def test_an_empty_table_lists_and_divides_nothing(project, capsys):
    TABLE.parent.mkdir()
    TABLE.write_text(HEAD)
    assert run("list") == 0
    assert "0 slides" in capsys.readouterr().out
    assert run("split") == 0
    assert run("check") == 2
    TABLE.unlink()
    assert run("list") == 2
    assert "no such table of slides; make it with: wsss-mm cohort add SLIDE..." in capsys.readouterr().err


def next_of(capsys):
    """The commands that are said to come next."""
    said = capsys.readouterr().out.partition("next:\n")[2]
    return [line.partition("#")[0].strip() for line in said.splitlines()]


def test_what_comes_next_follows_from_what_is_there(scans, capsys):
    profile = ["profile", "slides"]
    assert main(profile) == 2
    assert run("check") == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all("make it with: wsss-mm cohort add SLIDE..." in line for line in said)
    assert run("add", "scans", "--pattern", "{patient}_{slide}_{site}.tif", "--yes") == 0
    to_label = ["dvc repro candidates", "wsss-mm label"]
    switch = "wsss-mm profile slides --source data/slides.csv"
    assert next_of(capsys) == ["wsss-mm cohort split", "wsss-mm cohort check", switch, *to_label]
    assert run("split") == 0
    assert next_of(capsys) == ["wsss-mm cohort check", switch, *to_label]
    assert main(profile) == 0
    assert next_of(capsys) == to_label
    assert run("check", "--quick") == 0
    assert next_of(capsys) == to_label

    ids = {split: name for name, split in Cohort.read(TABLE).splits.items()}
    place = {"x": 0, "y": 0, "mpp": 1.0, "size": 224}
    journal = Journal(journal_path("ann"), "ann")
    journal.append([new_entry("answer", slide=ids["valid"], classes={"TE": "present"}, **place)])
    journal.append([new_entry("answer", slide=ids["train"], classes={"TE": "absent"}, **place)])
    assert main(profile) == 0
    assert next_of(capsys) == to_label  # nothing to train on yet
    journal.append([new_entry("answer", slide=ids["train"], classes={"TE": "present"}, **place)])
    assert main(profile) == 0
    assert next_of(capsys) == ["wsss-mm label", "make repro"]
    for split in ("valid", "test"):
        drawing = places.MASKS / f"{ids[split]}.geojson"
        drawing.parent.mkdir(exist_ok=True)
        drawing.write_text("{}")
    assert main(profile) == 0
    assert next_of(capsys) == ["make repro"]
    journal.path.write_text("no line of a journal\n")
    assert main(profile) == 0
    assert next_of(capsys) == ["wsss-mm labels check"]
    journal.path.unlink()
    places.LABELS.write_text(f"slide_id,x,y,labels\n{ids['train']},0,0,TE\n")
    assert main(profile) == 0
    assert next_of(capsys) == ["make repro"]


def test_nothing_is_labelled_in_a_cohort_that_is_labelled(project, capsys):
    copy_profile(project)
    assert main(["label"]) == 2
    assert "begin with slides of your own: wsss-mm cohort add SLIDE..." in capsys.readouterr().err
