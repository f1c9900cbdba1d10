"""What a stage must be; every one in dvc.yaml and every one that can be run is asked."""

import inspect
from importlib import import_module

import pytest
import yaml

from pipelines.__main__ import STAGES
from tests.contracts.registered import ROOT
from wsss_mm.gates import GATES

START = 'if __name__ == "__main__":\n    runpy.run_module("pipelines", run_name="__main__")\n'
DECLARED = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def test_what_can_be_run_is_declared():
    assert set(DECLARED) == set(STAGES)
    assert list(DECLARED["gate"]["foreach"]) == list(GATES)


@pytest.mark.parametrize("name", DECLARED)
def test_its_module(name):
    stage = DECLARED[name].get("do", DECLARED[name])
    assert stage["cmd"].split(" $")[0] == f"python -m pipelines.{name}"
    source = (ROOT / f"pipelines/{name}.py").read_text(encoding="utf-8")
    assert source.endswith(START), "started, it would do nothing, and say nothing"
    parameters = inspect.signature(import_module(f"pipelines.{name}").main).parameters
    assert set(parameters) <= {"params", "tracker"} | ({"name"} if name == "gate" else set())
    assert "params" in parameters
    assert stage["desc"]


@pytest.mark.parametrize("name", [name for name in DECLARED if name != "gate"])
def test_its_outs_outlive_a_failure(name):
    """A stage replaces what it made when all is made: DVC deletes outs beforehand unless they persist."""
    stage = DECLARED[name].get("do", DECLARED[name])
    outs = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    assert outs
    assert all(isinstance(item, dict) and next(iter(item.values())).get("persist") for item in outs), outs
