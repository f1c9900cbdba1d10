"""The process that has its libraries does what a new one would."""

import pytest
from dvc.utils.serialize import dumps_yaml, loads_yaml
from ruamel.yaml import YAML, YAMLError

from tests import warm_yaml

STAGE = """\
    cmd: python -m pipelines.{name}
    deps:
    - path: data/{name}
      hash: md5
      md5: {md5}.dir
      size: 12
    params:
      params.yaml:
        classifier.lr: 0.0007
        classifier.layer: '12:30'
        classifier.scales: [0.75, 1.0]
        classifier.weights:
        classifier.text: "{long} ä\\n"
        classifier.small: 1e-05
        classifier.more: 0o12
"""
LOCK = "schema: '2.0'\nstages:\n" + "".join(
    f"  {name}:\n" + STAGE.format(name=name, md5=number * 32, long=f"{name}, " * 30)
    for name, number in (("gate@cohort", "1"), ("patches", "e"), ("123", "2"))
)


@pytest.fixture
def remembering(tmp_path, monkeypatch):
    monkeypatch.setattr(YAML, "load", YAML.load)
    monkeypatch.setattr(YAML, "dump", YAML.dump)
    warm_yaml.remember(tmp_path / "yaml")


def written_again(text):
    """As DVC changes a lock."""
    return dumps_yaml(loads_yaml(text, typ="rt"))


def test_yaml_that_was_read_before_is_the_same(request):
    texts = [LOCK, "a: [12:30, 0o12, 1_0, 2026-11-28]\nb: {c: 7e-4, 1: off}\n", LOCK.replace("0.0007", "7e-4"), ""]
    before = [loads_yaml(text) for text in texts]
    request.getfixturevalue("remembering")
    for _ in range(2):
        assert [repr(loads_yaml(text)) for text in texts] == list(map(repr, before))
    read = loads_yaml(LOCK)
    read["stages"]["patches"]["cmd"] = "other"  # of his own
    assert loads_yaml(LOCK) == before[0]


def test_a_lock_that_was_written_before_has_the_same_bytes(request):
    clean = dumps_yaml(loads_yaml(LOCK))
    content = {**loads_yaml(LOCK)}
    changed = {**content, "stages": {**content["stages"], "patches": {"cmd": "b", "outs": [{"path": "x", "size": 3}]}}}
    before = [written_again(clean), dumps_yaml(content), dumps_yaml(changed), dumps_yaml({"a": 1})]
    request.getfixturevalue("remembering")
    for _ in range(2):
        assert [written_again(clean), dumps_yaml(content), dumps_yaml(changed), dumps_yaml({"a": 1})] == before


@pytest.mark.parametrize("end", ["    - : [", "  patches:\n    cmd: twice\n", "<<<<<<< HEAD\n", "x: 1\n"])
def test_a_lock_that_is_wrong_is_read_as_ever(request, end):
    def outcome():
        try:
            return loads_yaml(LOCK + end)
        except YAMLError as error:
            return str(error)

    before = outcome()
    request.getfixturevalue("remembering")
    assert outcome() == before
