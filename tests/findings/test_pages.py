"""What a page says: figures with intervals, what was left out and why, and no word of how the program was made."""

import json
import re
import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from tests.findings.making import LEVELS, make_result
from wsss_mm.errors import InputError
from wsss_mm.findings import html, pdf
from wsss_mm.findings.cohort import cohort_document
from wsss_mm.findings.document import Block, Bullets, Facts, Gallery, Heading, PageTable, Shot, Signature, Text
from wsss_mm.findings.html import render_html
from wsss_mm.findings.pages import NONE, slide_document
from wsss_mm.findings.program import read_program
from wsss_mm.findings.slide import Asked, findings_of
from wsss_mm.findings.survey import survey
from wsss_mm.places import SUMMARY
from wsss_mm.vocabulary import TissueClass
from wsss_mm.wsi.viewer.results import read_result

UNKNOWN = Asked()
PICTURE = Shot(np.full((40, 60, 3), 200, np.uint8), "a picture")
OF_THE_TRADE = re.compile(
    r"\b(run id|mlflow|dvc|md5|sha256|digest|epochs?|commit|parameters?|checkpoint|weights|git|pipeline|temperature|"
    r"logits?|inference|iou|dataset|json|training|model|pixel classification|pseudo-labels?)\b",
    re.IGNORECASE,
)


def findings(folder, program, asked=UNKNOWN, outside=None):
    result = read_result(folder)
    return findings_of(result, asked, program, survey(result), outside)


def rows(document):
    """What a document says, line by line."""
    lines = [document.title, document.below]
    for block in document.blocks:
        match block:
            case Heading() | Text():
                lines.append(block.text)
            case Bullets():
                lines += block.items
            case Facts():
                lines += [f"{name}: {value}" for name, value in block.rows]
            case PageTable():
                lines += [" | ".join(block.head), *(" | ".join(cell.text for cell in row) for row in block.rows)]
            case Gallery():
                lines += [shot.caption for shot in block.shots]
            case Signature():
                lines += block.fields
    return [line.replace("\u00a0", " ") for line in lines]


def page(folder, program, **more):
    return rows(slide_document(findings(folder, program, **more), PICTURE, [PICTURE]))


@pytest.fixture
def program(model):
    return read_program(model)


@pytest.fixture
def one(run):
    return run / "results/one"


def test_areas_have_intervals_that_follow_from_certainty(one, program):
    found = findings(one, program)
    (low, high), area = found.intervals[0], found.result.classes[0].area_mm2
    assert area == pytest.approx(0.24)
    assert low < area <= high
    pixels = np.zeros((4, LEVELS))
    pixels[0, [0, -1]], pixels[3, -1] = (40_000, 200_000), 120_000
    np.testing.assert_array_equal(found.survey.pixels, pixels)
    expected = tuple(end / 1e6 for end in program.errors.interval(pixels, [0]))
    assert (low, high) == pytest.approx(expected)
    lines = page(one, program)
    assert f"Tumour epithelium | 0.240 | {low:.3f} to {high:.3f} | 66.7 % | 85.2 %" in lines
    assert "Necrosis | 0.000 |" in "\n".join(lines)
    (ratio,) = (line for line in lines if line.startswith("Tumour-stroma ratio"))
    least, most = low / found.intervals[3][1], high / found.intervals[3][0]
    assert ratio == f"Tumour-stroma ratio: 2.00 ({least:.2f} to {most:.2f})"


def test_it_says_whose_slide_it_is_what_drew_the_map_and_has_room_for_a_signature(one, program):
    lines = page(one, program, asked=Asked("patient-7", "Hôpital Nord"))
    assert "Patient: patient-7" in lines
    assert "Site: Hôpital Nord" in lines
    assert "Resolution: 0.5 µm per pixel; tissues drawn at 1" in lines
    (card,) = (line for line in lines if "learnt from 1,385 small fields" in line)
    assert card.count(". ") == 1, "two sentences"
    assert card.endswith(
        "overlap by 80 % on average of the tissues (100 % where they are the same), and least for Necrosis, by 70 %."
    )
    assert lines[-4:-1] == ["Name", "Date", "Signature"]
    assert lines[-1].startswith("Program: ")


def test_without_confidence_it_says_so_and_how_to_have_it(tmp_path, program, model):
    labels = np.zeros((300, 300), np.uint8)
    lines = page(make_result(tmp_path / "plain", labels, None, model, tmp_path), program)
    assert any("ask whoever ran the analysis to repeat it with certainty switched on" in line for line in lines)
    assert f"Tumour epithelium | 0.090 | {NONE} | 100.0 %" in lines
    assert not any("95 times of 100" in line for line in lines)


def test_without_what_validation_says_there_is_no_interval(one):
    lines = page(one, None)
    assert any("how far they may be off is not known" in line for line in lines)
    assert "Nothing is known here of the program that drew the map." in lines


def test_what_was_left_out_and_why(one, program):
    path = one / SUMMARY
    summary = json.loads(path.read_text())
    summary["artefacts"] = {
        "pen": {"area_mm2": 0.125, "left_out": True},
        "folds": {"area_mm2": 0.02, "left_out": False},
        "blur": {"area_mm2": 0.0, "left_out": False},
    }
    summary["parameters"]["unsure_below"] = 0.2
    summary["classes"]["NEC"]["unsure_area_mm2"] = 0.06
    summary |= {"unreadable_share": 0.25, "roi": {"file": "region.geojson", "sha256": "0"}}
    path.write_text(json.dumps(summary))
    before = findings(one, None).survey.pixels
    lines = page(one, program, outside=0.3)
    assert "Outside of the region of interest | 0.300 mm² | Only the region that was drawn was looked at." in lines
    assert "Pen on the glass | 0.125 mm² | Left out of all areas." in lines
    assert "Folds of the tissue | 0.020 mm² | Seen, and counted in the areas all the same: look at it." in lines
    assert (
        "Not certain enough | 0.060 mm² | Left without a tissue, because the program was less than 20 % certain."
        in lines
    )
    assert "Unreadable | 0.120 mm² | The file of the slide is damaged there." in lines
    assert not any("out of focus" in line for line in lines)
    assert before[1, 0] == pytest.approx(60_000), "what was not sure enough may be necrosis all the same"
    assert findings(one, program).lost_mm2 == pytest.approx(0.125 + 0.06 + 0.12)


def test_nobody_looked_for_pen(one, program):
    path = one / SUMMARY
    path.write_text(json.dumps(json.loads(path.read_text()) | {"artefacts": None}))
    assert f"Pen, folds and blur | {NONE} | Not looked for on this slide." in page(one, program)
    assert findings(one, program).lost_mm2 is None


def test_a_slide_that_looks_unlike_is_said_in_words(one, program):
    figures = {
        "unlikeness": {"found": 22.7, "least": 0.0, "most": 6.17},
        "haematoxylin": {"found": 0.488, "least": 0.14, "most": 0.408},
        "eosin": {"found": 0.1, "least": 0.05, "most": 0.25},
    }
    said = {"figures": figures, "windows": 9, "mpp": 0.25, "warning": "its tissue is unlike"}
    path = one / SUMMARY
    path.write_text(json.dumps(json.loads(path.read_text()) | {"appearance": said}))
    (line,) = (line for line in page(one, program) if "does not look like" in line)
    assert (
        "its general look is 22.7 (usual: at most 6.17), the strength of haematoxylin is 0.488 (usual: 0.14 to 0.408)"
        in line
    )
    assert "eosin" not in line
    assert "as if the slide had 0.25 µm per pixel, and it is said to have 0.5" in line


@pytest.mark.parametrize(
    "wrong", [{"artefacts": ["pen"]}, {"unreadable_share": float("nan")}, {"tissue_area_mm2": float("inf")}]
)
def test_a_damaged_summary_is_named(one, program, wrong):
    path = one / SUMMARY
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    with pytest.raises(InputError, match=r"summary\.json: damaged: .*segment the slide again"):
        findings(one, program)


def test_no_word_of_the_trade(run, one, program):
    found = [findings(folder, program) for folder in (one, run / "results/emp<ty>")]
    documents = [slide_document(item, PICTURE, [PICTURE]) for item in found]
    documents.append(cohort_document(found, {"x": "no such slide file"}, {}, [PICTURE], [PICTURE]))
    for document in documents:
        lines = rows(document)
        assert [line for line in lines if OF_THE_TRADE.search(line)] == []
        assert [line for line in lines if re.search("[0-9a-f]{12}", line)] == [lines[-1]], "one line of small print"


class TestCohort:
    def test_sums_slides_and_what_failed(self, run, one, program):
        asked = [Asked("patient-7", "Nord"), Asked("patient-7", "")]
        folders = (one, run / "results/emp<ty>")
        found = [findings(folder, program, who) for folder, who in zip(folders, asked, strict=True)]
        document = cohort_document(found, {"bad": "scans/bad.svs: no such slide file"}, {}, [PICTURE] * 2, [])
        lines = rows(document)
        assert "Slides: 2, and 1 without findings" in lines
        assert "Patients: 1" in lines
        assert "Sites: Nord (1), unknown (1)" in lines
        assert "Tissue: 0.360 mm²" in lines
        low, high = found[0].intervals[0]
        assert f"Tumour epithelium | 0.240 | {low:.3f} to {high:.3f} | 66.7 % | 66.7 % to 66.7 %" in lines
        assert "bad | scans/bad.svs: no such slide file" in lines
        (row,) = (line for line in lines if line.startswith("emp<ty> | patient-7"))
        assert row == f"emp<ty> | patient-7 | {NONE} | 0.00 | 0.00 | {NONE} | no"

    def test_slides_without_certainty_are_counted(self, one, tmp_path, program, model):
        plain = make_result(tmp_path / "plain", np.zeros((300, 300), np.uint8), None, model, tmp_path)
        document = cohort_document([findings(one, program), findings(plain, program)], {}, {}, [PICTURE] * 2, [])
        assert any("was not recorded for 1 of the slides" in line for line in rows(document))
        assert not any("95 times" in line for line in rows(document))

    def test_many_classes_are_shown_a_few_at_a_time(self, tmp_path, model):
        classes = [TissueClass(f"C{n}", f"Tissue number {n}", (10 * n, 200 - 10 * n, 100)) for n in range(8)]
        labels = np.repeat(np.arange(8, dtype=np.uint8), 50)[:, None].repeat(300, axis=1)
        folder = make_result(tmp_path / "eight", labels, None, model, tmp_path, classes)
        tables = [
            block
            for block in cohort_document([findings(folder, None)], {}, {}, [PICTURE], []).blocks
            if isinstance(block, PageTable)
        ]
        shares = [table for table in tables if table.head[0] == "Share of the tissue"]
        assert [len(table.head) - 1 for table in shares] == [4, 4]


class TestHtml:
    def test_it_needs_nothing_beside_it_and_escapes(self, run, program):
        found = findings(run / "results/emp<ty>", program, Asked("<b>ann</b>", ""))
        text = render_html(slide_document(found, PICTURE, []))
        assert "emp&lt;ty&gt;" in text
        assert "<b>ann" not in text
        assert set(re.findall(r'(?:src|href)="(\w+:[^,"]*)', text)) == {"data:image/jpeg;base64"}
        assert "<script" not in text
        assert "No tissue was found on this slide." in text


def test_a_model_that_was_changed_is_refused(tmp_path, model):
    folder = shutil.copytree(model, tmp_path / "m")
    (folder / "weights.pth").write_bytes(b"other")
    with pytest.raises(InputError, match=r"weights\.pth: not the weights that"):
        read_program(folder)
    with pytest.raises(InputError, match=r"model\.json: not found"):
        read_program(tmp_path / "none")


def test_each_kind_of_block_is_drawn_in_both_forms_of_a_page():
    page = Path(html.__file__).with_name("page.html").read_text(encoding="utf-8")
    for kind in get_args(Block):
        assert f'kind == "{kind.__name__}"' in page
        assert hasattr(pdf._Sheets, f"_{kind.__name__.lower()}")
