"""Examples in docstrings run and give what they say, and those of what strangers call first are there."""

import doctest
import re
from importlib import import_module

import pytest

from scripts.docs_site import FIRST

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples(name):
    """The examples of an object by its dotted name, of its methods too."""
    module, _, attribute = name.rpartition(".")
    found = import_module(module)
    tests = doctest.DocTestFinder(exclude_empty=True).find(getattr(found, attribute), name, found)
    return [test for test in tests if test.examples]


@pytest.mark.parametrize("name", FIRST)
def test_the_example_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tests = examples(name)
    assert tests, f"{name} has no example"
    said = []
    for test in tests:
        doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append)
    assert not said, "".join(said)


def test_no_other_docstring_has_one(project_root):
    """Which would not be run."""
    modules = {name.rpartition(".")[0].replace(".", "/") + ".py" for name in FIRST}
    found = {
        path.relative_to(project_root).as_posix()
        for path in (project_root / "wsss_mm").rglob("*.py")
        if re.search(r"^ +>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert found == modules
