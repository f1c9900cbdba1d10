"""Values of a run in as many calls as the store takes, and what the line is made from as data sets."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wsss_mm.tracking.store import adding

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

_PER_CALL = {"metrics": 1000, "params": 100, "tags": 100}  # the server's limits


def log_values(client: "MlflowClient", run_id: str, **values: Sequence[Any]) -> None:
    """Log any number of `params`, `metrics` and `tags`, in as many calls as the server's limits ask for."""
    for kind, items in values.items():
        for start in range(0, len(items), _PER_CALL[kind]):
            part: dict[str, Any] = {kind: items[start : start + _PER_CALL[kind]]}
            client.log_batch(run_id, **part)


def add_inputs(client: "MlflowClient", run_id: str, digests: Mapping[str, str]) -> None:
    """Log DVC's inputs as data sets; a digest may have 36 characters, exactly those of a folder's md5."""
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    found = []
    for path, md5 in digests.items():
        source = CodeDatasetSource(tags={"dvc.path": path, "dvc.md5": md5})
        data = MetaDataset(source, name=path, digest=md5)  # ty: ignore[abstract-class-instantiation]  it has no profile
        told = data.to_dict()
        dataset = Dataset(told["name"], told["digest"], told["source_type"], told["source"], told.get("schema"))
        found.append(DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, "training")]))
    add_missing(client, client.get_run(run_id), found)


def add_missing(client: "MlflowClient", there: "Run", wanted: "Sequence[DatasetInput]") -> None:
    """Give a run the data sets that it lacks."""
    known = {(item.dataset.name, item.dataset.digest) for item in (there.inputs.dataset_inputs if there.inputs else ())}
    missing = [item for item in wanted if (item.dataset.name, item.dataset.digest) not in known]
    if missing:
        adding(client.log_inputs, there.info.run_id, missing)
