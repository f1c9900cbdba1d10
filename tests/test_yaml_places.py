"""Files of YAML that people write: whoever reads one says the same of what is wrong with it."""

import re

import pytest
import yaml
from hypothesis import assume, example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from tests.test_yaml_values import DOCUMENTS, SCALARS
from wsss_mm.choosing.tuning.values import read_grid
from wsss_mm.encoders.catalogue import read_encoders
from wsss_mm.errors import InputError
from wsss_mm.settings import load_params
from wsss_mm.vocabulary import read_vocabulary
from wsss_mm.yaml_places import _collect, parse
from wsss_mm.yaml_values import YAMLError, marked

LEAVES = st.one_of(st.sampled_from([*SCALARS.split(), "a: b", "# a", "two\nlines\n"]), st.integers(), st.none())
NESTED = st.recursive(LEAVES, lambda inner: st.one_of(st.lists(inner), st.dictionaries(LEAVES, inner)), max_leaves=20)
WRITTEN = st.builds(
    lambda head, value, style, width: head + yaml.safe_dump(value, default_flow_style=style, width=width),
    st.sampled_from(["", "# a\n\n", "---\n", "\ufeff"]),
    NESTED,
    st.sampled_from([True, False, None]),
    st.sampled_from([5, 80]),
)


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


def by_ruamel(text):
    """Lines as ruamel.yaml knows them, which keeps all that a text says."""
    found = {(): 1}
    _collect(YAML(pure=True).load(text), (), found)
    return found


@given(st.one_of(WRITTEN, DOCUMENTS))
@example("-\n- a\n-\n\n  b\n? a\n")
@example("? a\n: - b\n  -\n    - c\n")
@example("- - a: 1\n    b:\n  -\n-\n  c: |\n\n   x\n  d: 1\n")
@example("{a: [b,\n  {c: d, e:\n f}],\n g: }\n")
def test_each_place_has_the_line_that_ruamel_yaml_gives_it(text):
    try:
        document = parse(text)
    except YAMLError:
        assume(False)
    assert list(document.lines.items()) == list(by_ruamel(text).items())


def test_only_what_needs_ruamel_yaml_waits_for_it(project_root):
    for name in (
        "params.yaml",
        "gates.yaml",
        "encoders.yaml",
        "sources.yaml",
        "tune.yaml",
        "vocabularies/lung.yaml",
    ):
        assert marked((project_root / name).read_text(encoding="utf-8")) is not None, name
    assert marked("a: &a {b: 1}\nc: *a\n") is None
    assert parse("a: &a\n  b: 1\nc: *a\n").line(("c", "b")) == 2
