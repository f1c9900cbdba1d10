"""Names from the data in what gates show people: the page and the reports."""

import json

import pytest

from tests.fuzzing.contract import harmless
from tests.gates.injection import inside
from tests.gates.project import edit
from wsss_mm.files import rounded, write_json
from wsss_mm.gates import report_path, run_gate
from wsss_mm.gates.page import write_page
from wsss_mm.gates.reading import read_report
from wsss_mm.patches.shards import is_stored_inside

pytestmark = pytest.mark.xdist_group("great_expectations")  # 3 to 10 s of import: once

EVIL = "<img src=x onerror=alert(1)>.svs"
NAMES = {"slide_id": {"slide-train": EVIL, "slide-test": "</td><script>alert('&amp;')</script>"}}


@pytest.fixture
def judged(params, project):
    """A project whose slides and patches have such names and fail; its reports and page."""
    edit(project / "data/cohort/slides.csv", lambda table: table.replace(NAMES).assign(path="none.svs", mpp="<b>"))
    names = {"patch_id": {"train-02": EVIL}} | NAMES
    edit(project / "data/patches/manifest.parquet", lambda frame: frame.replace(names).assign(size=99, path="../../x"))
    with inside(project):
        for gate in ("cohort", "patches"):
            write_json(report_path(gate), run_gate(gate, params, project).as_dict())
        write_page(project)
    return project


def test_nothing_from_the_data_is_markup(judged):
    page = (judged / "reports/gates/index.html").read_text(encoding="utf-8")
    harmless(page)
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_reports_name_rows_as_they_are(judged):
    result = read_report(judged / report_path("patches"))
    size = next(outcome for outcome in result.checks if outcome.name == "size")
    assert EVIL in size.offending
    opens = next(o for o in read_report(judged / report_path("cohort")).checks if o.name == "opens")
    assert NAMES["slide_id"]["slide-test"] in opens.offending
    assert rounded(result.as_dict()) == json.loads((judged / report_path("patches")).read_text())


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "link.png", "a\x00", "x" * 5000, "", None, 3, "."])
def test_what_is_no_file_inside(tmp_path, name):
    (tmp_path / "x").write_text("x")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link.png").symlink_to(tmp_path / "x")
    assert not is_stored_inside(tmp_path / "in", name)
