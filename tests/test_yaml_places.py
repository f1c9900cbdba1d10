"""Files of YAML that people write: whoever reads one says the same of what is wrong with it."""

import re

import pytest

from wsss_mm.choosing.tuning.values import read_grid
from wsss_mm.encoders.catalogue import read_encoders
from wsss_mm.errors import InputError
from wsss_mm.settings import load_params
from wsss_mm.vocabulary import read_vocabulary
from wsss_mm.yaml_places import parse


@pytest.mark.parametrize("reads", [load_params, read_encoders, read_grid, read_vocabulary])
def test_what_is_no_yaml_file_is_one_line(reads, tmp_path):
    path = tmp_path / "file.yaml"
    wrong = {
        "not found; .+": lambda: None,
        "not readable: Is a directory": path.mkdir,
        "not valid YAML: .+": lambda: (path.rmdir(), path.write_bytes(b"a: [\xff]\n")),
        "not valid YAML: .*line 3.*": lambda: path.write_text("a: 1\nb: [\n"),
        "not valid YAML: .*duplicate key .a.*line 2.*": lambda: path.write_text("a: 1\na: 2\n"),
    }
    for says, make in wrong.items():
        make()
        with pytest.raises(InputError) as raised:
            reads(path)
        assert re.fullmatch(f"{re.escape(str(path))}: {says}", str(raised.value))
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("reads", "text", "says"),
    [
        (load_params, "\ngates:\n  cohort: 1\n", "line 2: gates: thresholds of gates .+"),
        (read_encoders, "own:\n  loader: mmseg\n  licenze: MIT\n", "line 3: own.licenze: is nothing of an encoder.+"),
        (read_grid, "segmenter.lr: [1]\nsegmenter.loss: ce\n", "line 2: segmenter.loss: holds no list of values; .+"),
        (read_vocabulary, "classes:\n  - code: A\n    nane: B\n", "line 3: 'nane' is nothing of a class; .+"),
    ],
)
def test_a_fault_has_its_line_also_after_a_byte_order_mark(reads, text, says, tmp_path):
    path = tmp_path / "file.yaml"
    for mark in ("", "\ufeff"):
        path.write_text(mark + text, encoding="utf-8")
        with pytest.raises(InputError) as raised:
            reads(path)
        assert re.fullmatch(f"{re.escape(str(path))}: {says}", str(raised.value)), raised.value


def test_ordered_maps_have_the_line_they_begin_at():
    document = parse("a: 1\nb: !!omap [{x: 1}]\nc: !!pairs [{x: 1}]\n")
    assert [document.line(place) for place in (("b",), ("b", "x"), ("c", 0), ("c", 0, "x"))] == [2, 2, 3, 3]
