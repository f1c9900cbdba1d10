"""Pages of a run: written once, again where something changed, and a bad slide takes no good one with it."""

import csv
import json
import re

import numpy as np
import pytest

from tests.findings.making import CLASSES, make_result
from wsss_mm.cli.main import main
from wsss_mm.errors import InputError
from wsss_mm.files import digest
from wsss_mm.findings import Asked, FindingsRun, write_findings, writing
from wsss_mm.findings.program import read_program
from wsss_mm.places import LABEL_MAP, SUMMARY
from wsss_mm.wsi.viewer.results import find_slides, read_results


@pytest.fixture(autouse=True)
def quick(request, monkeypatch):
    """PDFs that are none, where nobody looks: fonts take a second each."""
    if "test_pages_of_slides_and_of_all" not in request.node.name:
        monkeypatch.setattr(writing, "write_pdf", lambda document, path: path.write_bytes(b"%PDF-"))


def run_of(folder, model, **more):
    results = read_results(folder / "results")
    slides = find_slides(results, [folder / "scans"])
    asked = {"one": Asked("patient-7", "Hôpital Nord")}
    return FindingsRun(results, slides, asked, read_program(model), **more)


def write(folder, model, **more):
    return write_findings(run_of(folder, model), folder / "out", progress=False, **more)


def stamps(out):
    return {path.relative_to(out).as_posix(): path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


def test_pages_of_slides_and_of_all(run, model):
    assert write(run, model) == []
    out = run / "out"
    names = {
        f"{slide}/{name}" for slide in ("one", "emp<ty>") for name in ("findings.html", "findings.pdf", "figures.json")
    }
    assert set(stamps(out)) == names | {"cohort.html", "cohort.pdf", "areas.csv"}
    page = (out / "one/findings.html").read_text(encoding="utf-8")
    assert "Tumour epithelium: most certain (100\u00a0%)" in page
    assert "Tumour epithelium: least certain (11\u00a0%)" in page
    assert page.count("<img") == 1 + 4, "the slide, and two fields of each class that is there"
    cohort = (out / "cohort.html").read_text(encoding="utf-8")
    assert 'href="emp%3Cty%3E/findings.html"' in cohort
    assert "least certain (11\u00a0%), one" in cohort
    rows = list(csv.DictReader((out / "areas.csv").open(encoding="utf-8")))
    assert [row["tissue"] for row in rows[-4:]] == [item.name for item in CLASSES]
    row = next(row for row in rows if row["slide"] == "one")
    assert (row["patient"], row["site"], row["area_mm2"]) == ("patient-7", "Hôpital Nord", "0.240000")
    assert float(row["area_mm2_low"]) < 0.24 <= float(row["area_mm2_high"])


def test_what_is_written_is_not_looked_at_again(run, model, monkeypatch):
    write(run, model)
    before = stamps(run / "out")
    monkeypatch.setattr(writing, "survey", lambda result: pytest.fail(f"{result.name} was looked at again"))
    assert write(run, model) == []
    after = stamps(run / "out")
    assert {name for name in after if after[name] != before[name]} == {"cohort.html", "cohort.pdf", "areas.csv"}


@pytest.mark.parametrize("change", ["summary", "map", "page", "memory", "program"])
def test_what_changed_is_written_again(run, model, change, monkeypatch):
    write(run, model)
    page, seen = run / "out/one/findings.html", []
    if change == "summary":
        path = run / "results/one" / SUMMARY
        path.write_text(json.dumps(json.loads(path.read_text()) | {"unreadable_share": 0.5}))
    elif change == "map":
        path = run / "results/one" / LABEL_MAP
        path.write_bytes(path.read_bytes() + b"more")
    elif change == "page":
        page.with_suffix(".pdf").unlink()
    elif change == "memory":
        (run / "out/one/figures.json").write_text('{"of": ')
    look = writing.survey
    monkeypatch.setattr(writing, "survey", lambda result: seen.append(result.name) or look(result))
    if change == "program":
        results = run_of(run, model)
        write_findings(FindingsRun(results.results, results.slides, results.asked), run / "out", progress=False)
        assert sorted(seen) == ["emp<ty>", "one"]
    else:
        write(run, model)
        assert seen == ["one"]
        assert page.with_suffix(".pdf").is_file()


def test_a_bad_slide_is_named_and_the_others_are_finished(run, model, caplog):
    labels = np.zeros((300, 300), np.uint8)
    folder = make_result(run / "results/bad", labels, labels + 200, model, run / "scans")
    (folder / LABEL_MAP).write_bytes(b"no tiff")
    assert write(run, model) == ["bad"]
    assert "bad: " in caplog.text
    assert "segment the slide again" in caplog.text
    cohort = (run / "out/cohort.html").read_text(encoding="utf-8")
    assert "2, and 1 without findings" in cohort
    assert (run / "out/one/findings.pdf").is_file()
    assert not (run / "out/bad/findings.html").exists()


def test_other_classes_are_refused(run, model):
    make_result(run / "results/two", np.zeros((300, 300), np.uint8), None, model, run / "scans", CLASSES[:2])
    with pytest.raises(InputError, match=r"two: has other classes than .*one model at a time"):
        write(run, model)


def test_the_slides_of_another_model_have_no_intervals_and_that_is_said(run, model, caplog):
    make_result(
        run / "results/other", np.zeros((300, 300), np.uint8), np.full((300, 300), 200, np.uint8), None, run / "scans"
    )
    assert write(run, model) == []
    assert "other: was segmented with another model than" in caplog.text
    rows = list(csv.DictReader((run / "out/areas.csv").open(encoding="utf-8")))
    assert {row["area_mm2_low"] for row in rows if row["slide"] == "other"} == {""}


def test_without_the_slide_there_is_a_page_without_fields(run, model):
    found = run_of(run, model)
    write_findings(FindingsRun(found.results, {}, {}, found.program), run / "out", progress=False)
    page = (run / "out/one/findings.html").read_text(encoding="utf-8")
    assert "The file of the slide, one.tiff, was not at hand, so no fields are shown." in page
    assert page.count("<img") == 1


def test_how_much_lies_outside_of_a_region_is_known_where_its_file_is(run, model):
    region = run / "region.geojson"
    ring = [[0, 0], [800, 0], [800, 600], [0, 600], [0, 0]]  # level-0 px of 0.5 um: 0.12 of 0.48 mm2
    region.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    path = run / "results/one" / SUMMARY
    summary = json.loads(path.read_text()) | {"roi": {"file": region.name, "sha256": digest(region)}}
    path.write_text(json.dumps(summary))
    found = run_of(run, model)
    for roi, area in ((region, "0.360"), (None, "\u2013")):
        asked = {"one": Asked("patient-7", "", roi)}
        write_findings(FindingsRun(found.results, {}, asked, found.program), run / "out", progress=False)
        page = (run / "out/one/findings.html").read_text(encoding="utf-8")
        (row,) = re.findall(r"Outside of the region of interest</td><td>([^<]*)<", page)
        assert row.replace("\u00a0mm\u00b2", "") == area


class TestCommand:
    def test_it_writes_all(self, run, model, capsys, monkeypatch):
        monkeypatch.chdir(run)
        (run / "results/slides.csv").write_text("slide_id,status,error\nlost,failed,lost.svs: no such slide file\n")
        arguments = ["findings", "results", "--slide", "scans", "--table", "slides.csv", "--model", str(model)]
        assert main([*arguments, "--quiet"]) == 0
        said = capsys.readouterr()
        assert said.out == "findings/cohort.html\n"
        assert "slide/s" not in said.err, "--quiet has no progress bar"
        page = (run / "findings/one/findings.html").read_text(encoding="utf-8")
        assert "patient-7" in page
        assert "Hôpital Nord" in page
        assert "lost.svs: no such slide file" in (run / "findings/cohort.html").read_text(encoding="utf-8")

    def test_a_bad_slide_is_code_1(self, run, model, monkeypatch):
        monkeypatch.chdir(run)
        (run / "results/one" / LABEL_MAP).write_bytes(b"no tiff")
        assert main(["findings", "results", "--model", str(model), "--quiet"]) == 1

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["nothing"], "holds no results of `wsss-mm segment`"),
            (["results", "--model", "nowhere"], "nowhere/model.json: not found"),
            (["results", "--table", "none.csv"], "none.csv: no such table of slides; correct --table"),
            (["results", "--slide", "none"], "none: no such slide or folder"),
            (["results", "--out", "slides.csv"], "--out slides.csv: is no folder"),
        ],
    )
    def test_errors_are_one_line(self, run, model, arguments, says, capsys, monkeypatch):
        monkeypatch.chdir(run)
        assert main(["findings", *arguments, "--quiet"]) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("wsss-mm: error: ")
        assert says in last
