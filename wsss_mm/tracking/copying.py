"""What is copied from one MLflow store to another: lists of what there is, and values in as many calls as it takes."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from wsss_mm.tracking.store import adding

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_PER_CALL = {"metrics": 1000, "params": 100, "tags": 100}  # the server's limits
_PAGE = 1000


def all_runs(client: "MlflowClient") -> list["Run"]:
    """Every run of a store that is not deleted, oldest first."""
    experiments = pages(lambda token: client.search_experiments(page_token=token))
    ids = [item.experiment_id for item in experiments]
    runs = pages(lambda token: client.search_runs(ids, max_results=_PAGE, page_token=token)) if ids else []
    return sorted(runs, key=lambda run: run.info.start_time)


def log_values(client: "MlflowClient", run_id: str, **values: Sequence[Any]) -> None:
    """Log any number of `params`, `metrics` and `tags`, in as many calls as the server's limits ask for."""
    for kind, items in values.items():
        for start in range(0, len(items), _PER_CALL[kind]):
            part: dict[str, Any] = {kind: items[start : start + _PER_CALL[kind]]}
            client.log_batch(run_id, **part)


def log_missing_inputs(run: "Run", there: "Run", client: "MlflowClient") -> None:
    """Give a run the data sets of another one that it lacks."""
    there_already = there.inputs.dataset_inputs if there.inputs else ()
    known = {(item.dataset.name, item.dataset.digest) for item in there_already}
    wanted = run.inputs.dataset_inputs if run.inputs else ()
    inputs = [item for item in wanted if (item.dataset.name, item.dataset.digest) not in known]
    if inputs:
        adding(client.log_inputs, there.info.run_id, inputs)


def pages(search: Any) -> list[Any]:
    """All items of a search that comes in pages."""
    items: list[Any] = []
    token = None
    while True:
        page: Iterable[Any] = search(token)
        items += page
        token = getattr(page, "token", None)
        if not token:
            return items
