"""Pages as PDF: A4, text that an independent reader finds, and tables that go on over pages."""

import re

import numpy as np
import pytest

from wsss_mm.findings.document import Bullets, Cell, Document, Facts, Gallery, Heading, PageTable, Shot, Signature, Text
from wsss_mm.findings.pdf import _ROOM, _length, _wrapped, write_pdf

COLOUR = np.zeros((50, 80, 3), np.uint8) + np.array([200, 120, 160], np.uint8)


def document(slides=3):
    rows = [[Cell(f"slide-{n:03d}-" + "long" * 20, (200, 0, 0)), Cell(f"{n}.25")] for n in range(slides)]
    return Document(
        "Tissues on slide TCGA-" + "0123456789" * 12,
        "Research use only",
        (
            Facts([("Site", "Hôpital Nord, 東京"), ("Resolution", "0.25 µm")]),
            Text("Look out", "alarm"),
            Heading("Slides"),
            PageTable(("Slide", "Area, mm²"), rows, (0.7, 0.3)),
            Gallery([Shot(COLOUR, f"field {n}", (0, 0, 200)) for n in range(slides)], 4),
            Bullets(["$one$ of _two_", "another " * 60]),
            Heading("Seen by"),
            Signature(),
            Text("Program: 0123", "small"),
        ),
    )


def test_equal_documents_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write_pdf(document(), tmp_path / name)
    data = (tmp_path / "a").read_bytes()
    assert data == (tmp_path / "b").read_bytes()
    assert data.startswith(b"%PDF-")
    assert set(re.findall(rb"/MediaBox \[ ([^\]]*) \]", data)) == {b"0 0 595.28 841.89"}


def test_lines_fit_into_their_room():
    text = "a Tumour-associated-stroma " + "x" * 300 + " end\u00a0together"
    for bold in (False, True):
        lines = _wrapped(text, 60, 9, bold=bold)
        assert max(_length(line, 9, bold=bold) for line in lines) <= 60
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
        assert lines[1] == "Tumour-", "words are cut behind a hyphen"
    assert _wrapped("", _ROOM, 9) == [""]
    assert _wrapped("東 a", _ROOM, 9) == ["\ufffd a"], "the font has no such letter"


def test_an_independent_reader_finds_all_of_it(tmp_path):
    pypdf = pytest.importorskip("pypdf", reason="no independent reader of PDF here: the extra findings-test has pypdf")
    write_pdf(document(60), tmp_path / "many.pdf")
    reader = pypdf.PdfReader(tmp_path / "many.pdf")
    pages = [page.extract_text() for page in reader.pages]
    text = "\n".join(pages)
    assert reader.metadata.title == document().title
    assert "CreationDate" not in str(reader.metadata)
    assert all(float(page.mediabox.width) == pytest.approx(595.28) for page in reader.pages)
    for wanted in ("Hôpital Nord", "0.25 µm", "Look out", "$one$ of _two_", "Remarks", "Signature", "Program: 0123"):
        assert wanted in text
    assert all(f"slide-{n:03d}-" in text and f"field {n}" in text for n in range(60))
    of_table = [page for page in pages if "slide-" in page.replace("Tissues on slide", "")]
    assert len(of_table) > 2
    assert all("Area, mm²" in page for page in of_table), "the head is said again"
    assert [f"{n} of {len(pages)}" in page for n, page in enumerate(pages, start=1)] == [True] * len(pages)
    assert "Seen by" in pages[-1]
    assert "Signature" in pages[-1], "a heading does not stand alone"
    assert len(reader.pages[0]["/Resources"]["/XObject"]) == 60, "which all pages share"
    assert {"TrueType", "Type0"} & {
        str(font.get_object()["/Subtype"])[1:]
        for page in reader.pages
        for font in page["/Resources"]["/Font"].get_object().values()
    }, "fonts are in the file"
