"""What MLflow may lack, as its types say: a version's run, a run's inputs, an experiment that somebody deletes."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from mlflow.entities import Dataset, DatasetInput, RunInputs
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS

from wsss_mm.errors import InputError
from wsss_mm.tracking.batches import add_missing
from wsss_mm.tracking.changes import run_of
from wsss_mm.tracking.store import experiment_in

DATA = DatasetInput(Dataset("patches", "abc", "local", "{}"), [])


@pytest.mark.parametrize("run_id", [None, ""])
def test_a_version_without_a_run_is_named(run_id):
    version = SimpleNamespace(name="lung", version="3", run_id=run_id)
    with pytest.raises(InputError, match=r"^lung version 3: was registered without a run, .*register it again: dvc"):
        run_of(version)
    assert run_of(SimpleNamespace(run_id="abc")) == "abc"


@pytest.mark.parametrize(
    ("of_run", "there", "sent"),
    [
        (None, None, []),
        (None, RunInputs([DATA]), []),
        (RunInputs([DATA]), None, [DATA]),
        (RunInputs([DATA]), RunInputs([DATA]), []),
    ],
)
def test_a_run_may_have_no_inputs(of_run, there, sent):
    client = Mock()
    target = SimpleNamespace(inputs=there, info=SimpleNamespace(run_id="b"))
    add_missing(client, target, of_run.dataset_inputs if of_run else ())
    assert [call.args for call in client.log_inputs.call_args_list] == ([("b", sent)] if sent else [])


def test_an_experiment_that_was_there_and_is_gone_is_mlflows_error():
    """Deleted for good: the name is taken, and nobody has it."""
    taken = MlflowException("taken", error_code=RESOURCE_ALREADY_EXISTS)
    store = Mock(get_experiment_by_name=Mock(return_value=None), create_experiment=Mock(side_effect=taken))
    with pytest.raises(MlflowException, match="taken"):
        experiment_in(store, "line", None)
    store.get_experiment_by_name.side_effect = [None, SimpleNamespace(experiment_id="7")]
    assert experiment_in(store, "line", None) == "7"  # someone else was faster
