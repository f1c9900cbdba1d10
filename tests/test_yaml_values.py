"""YAML is read as DVC reads it, whichever library does: the same values, or one error."""

from functools import partial

import pytest
import yaml
from dvc.utils.serialize import loads_yaml
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from wsss_mm import yaml_values
from wsss_mm.dvc_files import locked_entries, pipeline_stages, tracked_md5
from wsss_mm.errors import InputError
from wsss_mm.settings import load_params
from wsss_mm.settings.profiles import profiles_of_params, render_gates, render_profile
from wsss_mm.tracking.evidence import read_evidence
from wsss_mm.vocabulary import read_vocabulary
from wsss_mm.yaml_values import YAMLError, dumped, values

SCALARS = "on off yes no y n true TRUE tRUE ~ null NULL Null 12:30 12:30.5 010 -010 0o10 0x1F 0b1 1e-4 1E4 1e+4 .5 1. "
SCALARS += "1_000 1_0.5 +1 -0 -0.0 .inf -.inf .NaN .5e3 .5e+3 -.5 = << 2026-11-27 2026-13-45 0777 08 + - . -- 1e999 a#b"
SCALARS += " +.Inf .INF .nan .inF -.nan"
SAID = ["a", "b: ", "- ", "\n", "\n  ", "\n- ", "\na: ", "\n  - ", "[", "]", "{", "}", ", ", ": ", ":", "'", '"', "\\n"]
SAID += ["|", ">-", "|\n  ", "&a ", "*a", "!!str ", "!x ", "%", "@", "?", "? ", "---", "\n---\n", " #", "#", "\t"]
SAID += ["\r\n", "<<: ", "é", "\x85", "\u2028", "\ufeff", "\x00", "${x.y}", "   \n", "1e-4", "on", "0o7", "null", " "]
DOCUMENTS = st.lists(st.sampled_from(SAID), max_size=16).map("".join)


def outcome(reads, text):
    """What is read, with the type of each value, or that it is none."""
    try:
        return repr(reads(text))
    except Exception:
        return "no YAML"


of_version_1_1 = yaml.safe_load
of_dvc = partial(outcome, YAML(typ="safe", pure=True).load)


@pytest.mark.parametrize("text", SCALARS.split())
@pytest.mark.parametrize("document", ["a: {}", "- {}", "[{}, a]", "{{a: {}}}", "{}: a", "'{}'", "a: '{}'", "{}"])
def test_a_scalar_is_what_dvc_takes_it_for(document, text):
    text = document.format(text)
    assert outcome(values, text) == outcome(loads_yaml, text)


@given(st.text("0123456789+-._eExob:~nulTrfas", max_size=8))
@example("._")
@example("-.__e+1")
@example("1_0.5")
def test_any_scalar_is_what_dvc_takes_it_for(text):
    assert outcome(values, f"a: {text}") == of_dvc(f"a: {text}")


@pytest.mark.parametrize("text", [*SCALARS.split(), "5", "", " x", "a: b", "# a", "Tumour"])
@pytest.mark.parametrize("options", [{}, {"default_flow_style": None}])
def test_a_text_that_is_written_is_that_text_to_readers_of_both_versions(text, options):
    content = {"a": text, text: [text, {"b": text}], "c": [1e-05, 7, True, None, 0.5]}
    written = dumped(content, **options)
    assert values(written) == of_version_1_1(written) == content
    assert repr(values(written)) == repr(content)


@given(st.text("0123456789+-._eExob:~nulTrfas", max_size=8))
@example("._")
@example("-.__e+1")
@example("1_0.5")
def test_any_text_that_is_written_is_that_text(text):
    written = dumped({"a": text})
    assert values(written) == of_version_1_1(written) == {"a": text}


@given(DOCUMENTS)
@example("a: b\t")
@example("&a: b\n")
@example("|\n#")
@example("a: >-\n  \n    ---")
@example("- >-#  `")
@example("a: &a [*a]")
@example("a: &a 1\nb: &a 2\nc: *a\n")
def test_the_fast_reader_reads_as_dvc_or_not_at_all(text):
    try:
        fast = repr(yaml_values._plain(text))
    except Exception:
        return
    assert fast == of_dvc(text)


@pytest.mark.skipif(yaml_values._PARSER is None, reason="PyYAML has no libyaml here")
def test_the_files_of_the_project_are_read_fast(project_root):
    files = ["dvc.yaml", "params.yaml", "gates.yaml", "encoders.yaml", "sources.yaml", "tune.yaml"]
    for path in [*(project_root / name for name in files), *(project_root / "vocabularies").glob("*.yaml")]:
        text = path.read_text(encoding="utf-8")
        assert repr(yaml_values._plain(text)) == of_dvc(text)


def test_without_libyaml_all_is_the_same(monkeypatch):
    monkeypatch.setattr(yaml_values, "_PARSER", None)
    assert values("a: [1e-4, on, 010, 0o10]\n") == {"a": [1e-4, "on", 10, 8]}


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "- " * 100_000, "a: !!bool x", "a: !!int ''", "a: !!float _", "a: 2026-13-45", "? " * 9000],
    ids=lambda text: text[:20],
)
def test_what_makes_a_library_fail_is_no_yaml(text):
    with pytest.raises(YAMLError):
        values(text)


def test_aliases_may_not_multiply():
    text = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    for before, name in zip("abcdef", "bcdefg", strict=True):
        text += f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    with pytest.raises(YAMLError, match="more than 10000 values, aliases counted"):
        values(text)
    many = "".join(f"a{number}: {number}\n" for number in range(20_000))  # as a long dvc.lock has
    assert len(values(many)) == 20_000


LOCK = """schema: '2.0'
stages:
  patches:
    cmd: python -m pipelines.patches
    deps:
    - path: pretrained/a.pth
      md5: 6a774e354255be9ad7453b5aa2ae3f39
      size: 763
    params:
      params.yaml:
        seed: 1e-4
    outs:
    - path: data/patches
      md5: 285a05b2a378d3cd21ea6029813f5f82.dir
      size: 10
      nfiles: 3
"""
TRACKED = "outs:\n- md5: 285a05b2a378d3cd21ea6029813f5f82\n  path: file\n"
CLASSES = "classes:\n  - {code: A, name: a, color: [1, 2, 3]}\n"
NAMED = {"params.yaml": render_profile("phantom"), "gates.yaml": render_gates("phantom"), "dvc.lock": LOCK}
NAMED |= {"file.dvc": TRACKED, "classes.yaml": CLASSES}


def read_one(folder, name):
    """Whatever reads a file of that name."""
    if name in ("params.yaml", "gates.yaml"):
        load_params(folder / "params.yaml")
        profiles_of_params((folder / "params.yaml").read_text(errors="replace"))
    elif name == "classes.yaml":
        read_vocabulary(folder / name)
    elif name == "file.dvc":
        tracked_md5(folder / "file")
    else:
        pipeline_stages((folder / name).read_bytes(), folder / name)
        locked_entries((folder / name).read_bytes(), "deps", name=folder / name)
        read_evidence(folder)


@st.composite
def damaged(draw):
    """A file with a part cut off, taken out, doubled or overwritten, by bytes, marks of a merge or another file."""
    name = draw(st.sampled_from(sorted(NAMED)))
    content = NAMED[name].encode()
    start = draw(st.integers(0, len(content)))
    end = draw(st.one_of(st.just(len(content)), st.integers(start, min(len(content), start + 40))))
    marks = b"<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> x\n"
    inner = draw(st.sampled_from([b"", marks, content[:500], b"\xff\x00", b"- ", b"{", "\u2028".encode(), b": ["]))
    return name, content[:start] + draw(st.one_of(st.just(inner), st.binary(max_size=20))) + content[end:]


@given(damaged())
def test_a_damaged_file_is_one_line_that_names_it(tmp_path_factory, file):
    name, content = file
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    for other, text in NAMED.items():
        (folder / other).write_text(text, encoding="utf-8")
    (folder / name).write_bytes(content)
    try:
        read_one(folder, name)
    except InputError as error:
        assert "\n" not in str(error)
        assert str(folder) in str(error)


def test_a_merge_that_stopped_and_a_key_given_twice_are_named_with_their_lines(tmp_path):
    path = tmp_path / "dvc.lock"
    for text, says in {
        LOCK.replace("    outs", "<<<<<<< HEAD\n    outs"): "line 12: a merge stopped here; take one side",
        f"{LOCK}  patches: {{}}\n": "not valid YAML: .*duplicate key .*line 17",
    }.items():
        with pytest.raises(InputError, match=f"dvc.lock: {says}"):
            pipeline_stages(text, path)


def test_what_a_lock_says_is_read_as_dvc_wrote_it():
    assert locked_entries(LOCK)["data/patches"]["nfiles"] == 3
    assert pipeline_stages(LOCK, "dvc.lock")["patches"]["params"]["params.yaml"]["seed"] == 1e-4
